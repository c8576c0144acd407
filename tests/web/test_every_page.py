"""Each page of the book opens from a file, without a network, with every formula set."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page

TOC = yaml.safe_load((Path(__file__).resolve().parents[2] / "_toc.yml").read_text(encoding="utf8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
UNSET = "[...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container')).map(m => m.textContent)"
WRONG = "[...document.querySelectorAll('mjx-container')].filter(m => m.querySelector('[fill=red], [data-mjx-error]'))"


@pytest.mark.parametrize("name", PAGES)
def test_opens_without_an_error(page: Page, url: Callable[[str], str], name: str):
    page.goto(url(name))
    assert page.locator("article h1").first.inner_text()
    page.wait_for_function(f"{UNSET}.length === 0")
    assert page.evaluate(f"{WRONG}.map(m => m.textContent)") == []

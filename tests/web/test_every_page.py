"""Each page of the book opens from a file, without a network, with every formula set."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page

TOC = yaml.safe_load((Path(__file__).resolve().parents[2] / "_toc.yml").read_text(encoding="utf8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
UNSET = """[...document.querySelectorAll('.math')].filter(m => {
    const set = m.querySelector('math'), size = set?.getBoundingClientRect();
    return !set || set.querySelector('merror') || (m.checkVisibility() && (size.width < 2 || size.height < 2));
}).map(m => m.textContent)"""


@pytest.mark.parametrize("name", PAGES)
def test_opens_without_an_error(page: Page, url: Callable[[str], str], name: str):
    page.goto(url(name))
    assert page.locator("article h1").first.inner_text()
    assert page.evaluate(UNSET) == []
    hidden = "[...document.querySelectorAll('figcaption')].filter(c => getComputedStyle(c).display == 'none').length"
    assert page.evaluate(hidden) == 0, "a caption that nobody sees"

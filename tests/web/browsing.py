"""What every test in a browser shares: the pages, two sizes of a screen, and how a page is watched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from playwright.sync_api import Browser, Page, Request

TOC = yaml.safe_load((Path(__file__).resolve().parents[2] / "_toc.yml").read_text(encoding="utf8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
CHAPTERS = [name for name in PAGES if name.startswith("notebooks/0")]
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def watched(browser: Browser) -> Iterator[tuple[Callable[..., Page], list[str]]]:
    """How to open an empty page without a network, and what goes wrong on the pages that were opened."""
    problems, contexts = [], []

    def watch(page: Page, scripts: bool) -> None:
        def lost(request: Request) -> None:
            given_up = request.failure == "net::ERR_ABORTED"  # as the page moved on, before it was there
            # without scripts, what the page announces is not loaded
            if not given_up and (scripts or request.resource_type != "script"):
                problems.append(f"{page.url}: {request.url} was not found ({request.failure})")

        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        page.on("console", lambda message: message.type == "error" and problems.append(f"{page.url}: {message.text}"))
        page.on("requestfailed", lost)

    def open_page(**options) -> Page:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        context.on("page", lambda page: watch(page, options.get("java_script_enabled", True)))
        page = context.new_page()
        page.set_default_timeout(20_000)
        return page

    yield open_page, problems
    for context in contexts:
        context.close()

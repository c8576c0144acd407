"""The built book in a browser: Debian's Chromium, driven by Playwright, reading files without a network.

A test asks for `page` (one empty page of a desktop), or for `new_page` to choose: `new_page(color_scheme="dark")`,
`new_page(viewport=PHONE)`, `new_page(java_script_enabled=False)`; the arguments are those of
Playwright's `Browser.new_context`. `url("notebooks/03_gru_cell")` is the address of a built page. A test fails when one
of its pages reports an error of a script, asks for a file that is not there, or asks for anything outside the book.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from browsing import DESK, watched
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def book(root: Path) -> Path:
    """The folder of the built book."""
    folder = root / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.fail("The book is not built: run `make book` first.", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def url(book: Path) -> Callable[[str], str]:
    """The address of a page of the built book, by its name in `_toc.yml`."""

    def address(name: str) -> str:
        return (book / f"{name}.html").as_uri()

    return address


def find_chromium() -> str | None:
    """The browser that `CHROMIUM` names, or one on the path."""
    return next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), *NAMES))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; on a Debian without one it is installed where that is allowed."""
    if not find_chromium() and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], **quiet)
    program = find_chromium()
    if program is None:
        pytest.fail(
            "No Chromium was found: install it (on Debian, as root: apt-get install chromium) or name the program in "
            "the variable CHROMIUM.",
            pytrace=False,
        )
    return program


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an empty page without a network; the test fails in the end when one of its pages reported an error."""
    with watched(browser) as (open_page, problems):
        yield open_page
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script, from the package that brings it."""
    return (Path(find_spec("axe_playwright_python").origin).parent / "axe.min.js").read_text(encoding="utf8")


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """An empty page as on a desktop."""
    return new_page(viewport=DESK)

"""The page itself: weight, widths, folded parts, previews, search, print, the dark, accessibility."""

import urllib.request
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
CHAPTER = "notebooks/02_lstm_cell"
PHONE = {"width": 390, "height": 844}
# A page with the scripts, styles and pictures that it loads, in bytes; sounds are loaded when they are played.
HEAVIEST = 2_000_000
# Of axe-core's rules, those that other programs' markup violates, and why they stay.
ALLOWED = {
    "aria-required-children": "Sphinx marks the list of citations so",
    "aria-allowed-role": "Sphinx gives the entries of the bibliography doc-biblioentry",
    "aria-deprecated-role": "the same entries",
    "region": "the theme's search dialogue and button to the top lie outside its landmarks",
}
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("name", PAGES)
def test_weight(page: Page, url: Callable[[str], str], name: str):
    loaded = []
    page.on("requestfinished", lambda request: loaded.append(request.url))
    page.goto(url(name))
    files = {Path(urllib.request.url2pathname(address.split("?")[0].removeprefix("file://"))) for address in loaded}
    sizes = {file.name: file.stat().st_size for file in files if file.suffix != ".mp3"}
    assert sum(sizes.values()) < HEAVIEST, Counter(sizes).most_common(5)


@pytest.mark.parametrize("name", PAGES)
def test_fits_a_phone_and_a_desktop(new_page: Callable[..., Page], url: Callable[[str], str], name: str):
    for viewport in (PHONE, {"width": 1280, "height": 900}):
        page = new_page(viewport=viewport)
        page.goto(url(name))
        assert page.evaluate(WIDER) <= 0


def test_headings_step_down_on_a_phone(new_page: Callable[..., Page], url: Callable[[str], str]):
    page = new_page(viewport=PHONE)
    page.goto(url(CHAPTER))
    sizes = [
        page.evaluate(f"parseFloat(getComputedStyle(document.querySelector('article {tag}')).fontSize)")
        for tag in ("h1", "h2", "h3", "p")
    ]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4


@pytest.mark.parametrize("name", PAGES)
def test_no_id_occurs_twice(page: Page, url: Callable[[str], str], name: str):
    page.goto(url(name))
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(tag => tag.id)")
    assert [name for name, times in Counter(ids).items() if times > 1] == []


def test_a_term_and_an_equation_show_a_preview(page: Page, url: Callable[[str], str]):
    page.goto(url(CHAPTER))
    page.locator("article a:has(.std-term)").first.hover()
    page.locator(".preview:visible strong").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".preview:visible").count() == 0
    equation = page.locator("article p a[href^='#equation-']").first
    equation.scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    equation.hover()
    page.locator(".preview:visible math").first.wait_for()


def test_what_scrolls_can_be_reached(new_page: Callable[..., Page], url: Callable[[str], str]):
    page = new_page(viewport=PHONE)
    page.goto(url("notebooks/06_results"))
    page.wait_for_timeout(500)
    stuck = """[...document.querySelectorAll('article :is(.scroll, .formula, pre)')].filter(
        box => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1 && box.tabIndex < 0).length"""
    assert page.evaluate("document.querySelectorAll('article .scroll[tabindex]').length") > 0
    assert page.evaluate(stuck) == 0


def test_folded_code_says_what_it_is(page: Page, url: Callable[[str], str]):
    page.goto(url(CHAPTER))
    summary = page.locator("details.hide > summary").first
    assert summary.inner_text().strip().startswith("Show code: ")
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.inner_text().strip().startswith("Hide code: ")


def test_search_from_a_file_shows_excerpts(page: Page, url: Callable[[str], str]):
    page.goto(url("search") + "?q=forget+gate")
    page.locator("#search-results li p.context").first.wait_for()
    texts = page.locator("#search-results li p.context").all_inner_texts()
    assert any("forget gate" in text.lower() for text in texts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_is_light_complete_and_numbered(new_page: Callable[..., Page], url: Callable[[str], str], scheme: str):
    page = new_page(color_scheme=scheme)
    page.goto(url(CHAPTER))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    color = "getComputedStyle(document.querySelector('article section > p')).color"
    assert page.evaluate(f"{color}.match(/\\d+/g).every(part => part < 80)")
    assert page.locator("article details:not(.hide):not([open])").count() == 0
    assert page.locator("article h1").inner_text().startswith("2. ")
    cut = """[...document.querySelectorAll('article pre')].filter(
        code => code.checkVisibility() && code.scrollWidth > code.clientWidth + 1).length"""
    assert page.evaluate(cut) == 0
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.locator("article details.dropdown[open]").count() == 0


def test_the_landing_page_introduces_itself(page: Page, url: Callable[[str], str]):
    page.goto(url("index"))
    assert page.title() == "Gated recurrent networks, executed"
    for name in ("meta[name=description]", "meta[property='og:title']", "link[rel~=icon]"):
        assert page.locator(name).count() == 1
    assert page.locator(".verdicts li").count() == 4
    assert page.locator(".cards li a").count() == 6


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script, from the package that brings it."""
    return (Path(find_spec("axe_playwright_python").origin).parent / "axe.min.js").read_text(encoding="utf8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, "search"])
def test_accessible(new_page: Callable[..., Page], url: Callable[[str], str], axe: str, name: str, scheme: str):
    page = new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page.goto(url(name))
    page.evaluate("document.querySelectorAll('details').forEach(details => (details.open = true))")
    page.evaluate(axe)
    found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html]))")
    assert [violation for violation in found if violation[0] not in ALLOWED] == []

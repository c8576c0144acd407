"""The page itself: folded parts, previews, what scrolls, search, print, the landing page."""

from collections.abc import Callable

import pytest
from browsing import CHAPTERS, DESK, PHONE
from playwright.sync_api import Page

CHAPTER = "notebooks/02_lstm_cell"


def test_headings_step_down_on_a_phone(new_page: Callable[..., Page], url: Callable[[str], str]):
    page = new_page(viewport=PHONE)
    page.goto(url(CHAPTER))
    sizes = [
        page.evaluate(f"parseFloat(getComputedStyle(document.querySelector('article {tag}')).fontSize)")
        for tag in ("h1", "h2", "h3", "p")
    ]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_term_and_an_equation_show_a_preview(page: Page, url: Callable[[str], str], name: str):
    page.goto(url(name))
    shown = 0
    for links, content in (("a:has(.std-term)", "strong"), ("a[href*='#equation-']", "math")):
        for link in page.locator(f"article {links}:visible").all()[:1]:
            for reach in (link.hover, lambda link=link: (page.keyboard.press("Tab"), link.focus())):
                page.evaluate("scrollTo(0, 0)")  # so that reaching the link scrolls, with the preview on its way
                reach()
                preview = page.locator(f".preview:visible:has({content})")
                preview.wait_for()
                page.wait_for_timeout(300)
                top, size = link.bounding_box()["y"], preview.bounding_box()
                assert 0 <= size["y"] < 900 and size["y"] - 60 < top and top < size["y"] + size["height"] + 60
                page.keyboard.press("Escape")
                assert page.locator(".preview:visible").count() == 0
                page.mouse.move(1, 1)
                shown += 1
    assert shown >= 2


def test_what_scrolls_can_be_reached(new_page: Callable[..., Page], url: Callable[[str], str]):
    page = new_page(viewport=PHONE)
    page.goto(url("notebooks/appendix_reproduction"))
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


def test_a_mark_unfolds_the_check_that_it_leads_to(page: Page, url: Callable[[str], str]):
    page.goto(url(CHAPTER))
    mark = page.locator("sup.checked > a").first
    assert mark.get_attribute("aria-label") in ("checked below", "checked above")
    check = page.locator(f'[id="{mark.get_attribute("href").removeprefix("#")}"]')
    assert "# Checked" in check.text_content() and not check.is_visible()
    mark.click()
    check.wait_for(state="visible")
    page.goto(page.url)  # an address with the anchor opens the check as well
    check.wait_for(state="visible")
    page.emulate_media(media="print")
    assert page.locator("sup.checked:visible").count() == 0


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


@pytest.mark.parametrize(("width", "beside"), [(1280, True), (1000, False), (390, False)])
def test_an_aside_stands_in_the_margin_where_there_is_one(
    new_page: Callable[..., Page], url: Callable[[str], str], width: int, beside: bool
):
    page = new_page(viewport={"width": width, "height": 900})
    page.goto(url("notebooks/05_experiments"))
    note = page.locator("aside.margin").first
    note.scroll_into_view_if_needed()
    text, own = page.locator("article section > p").first.bounding_box(), note.bounding_box()
    assert (own["x"] > text["x"] + text["width"]) == beside and own["x"] + own["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("viewport", "columns"), [(DESK, 2), (PHONE, 1)], ids=["desk", "phone"])
def test_answers_with_a_sentence_have_room_for_it(
    new_page: Callable[..., Page], url: Callable[[str], str], viewport: dict, columns: int
):
    page = new_page(viewport=viewport)
    page.goto(url("notebooks/06_results"))
    answers = page.locator(".verdicts.said li")
    assert len({answer.bounding_box()["x"] for answer in answers.all()}) == columns
    gaps = "all => all.map(b => b.nextElementSibling.offsetTop - b.offsetTop - b.offsetHeight)"
    assert max(page.locator(".verdicts.said b").evaluate_all(gaps)) < 20


def test_a_wide_table_leaves_its_caption_in_sight(new_page: Callable[..., Page], url: Callable[[str], str]):
    page = new_page(viewport=PHONE)
    page.goto(url("notebooks/appendix_reproduction"))
    edges = page.locator("article caption:visible").evaluate_all(
        "all => all.map(caption => { const r = document.createRange(); r.selectNodeContents(caption);"
        " return r.getBoundingClientRect().right; })"
    )
    assert edges and max(edges) <= PHONE["width"]


def test_figures_have_no_frame_in_the_dark(new_page: Callable[..., Page], url: Callable[[str], str]):
    page = new_page(color_scheme="dark")
    page.goto(url(CHAPTER))
    looks = "all => [...new Set(all.map(e => getComputedStyle(e).padding + getComputedStyle(e).backgroundColor))]"
    assert page.locator("article img.only-dark").evaluate_all(looks) == ["0pxrgba(0, 0, 0, 0)"]


@pytest.mark.parametrize(("viewport", "columns"), [(DESK, 3), (PHONE, 1)], ids=["desk", "phone"])
def test_the_three_units_stand_side_by_side_or_below_each_other(
    new_page: Callable[..., Page], url: Callable[[str], str], viewport: dict, columns: int
):
    page = new_page(viewport=viewport)
    page.goto(url("index"))
    boxes = [box.bounding_box() for box in page.locator(".units > div").all()]
    assert len(boxes) == 3 and len({round(box["y"] + box["height"]) for box in boxes}) == 4 - columns
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"] for box in boxes)


def test_the_landing_page_introduces_itself(page: Page, url: Callable[[str], str]):
    page.goto(url("index"))
    assert page.title() == "Gated recurrent networks, executed"
    for name in ("meta[name=description]", "meta[property='og:title']", "link[rel~=icon]"):
        assert page.locator(name).count() == 1
    assert page.locator(".verdicts li").count() == 4
    assert page.locator(".cards li a").count() == 8


def test_something_plays_in_the_first_screen(page: Page, url: Callable[[str], str]):
    page.goto(url("index"))
    panel = page.locator(".panel[data-panel=listen]")
    assert panel.locator(".choices button").all_inner_texts() == ["Bach", "tanh", "GRU", "LSTM"]
    play = panel.get_by_role("button", name="Play Bach")
    assert play.bounding_box()["y"] < 900
    play.click()
    page.wait_for_function("document.querySelector('.panel audio').currentTime > 0.3")
    assert float(panel.locator(".cursor").evaluate("line => parseFloat(line.style.left)")) > 0

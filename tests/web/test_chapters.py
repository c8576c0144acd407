"""What a reader can operate in each chapter: every panel by keys and by touch, its state kept in the address."""

from collections.abc import Callable

import pytest
from browsing import CHAPTERS, PHONE
from playwright.sync_api import Page

# The kinds of panels of each page, and the choices that its sliders and menus must offer.
PANELS = {
    "index": ({"listen"}, set()),
    "notebooks/01_vanilla_rnn": ({"listen", "stepper", "slider"}, {"scale of U"}),
    "notebooks/02_lstm_cell": ({"listen", "stepper", "gates", "slider"}, {"f", "i", "o"}),
    "notebooks/03_gru_cell": ({"listen", "stepper", "gates", "slider"}, {"z"}),
    "notebooks/04_discussion": ({"slider"}, set()),
    "notebooks/05_experiments": ({"listen", "slider"}, set()),
    "notebooks/06_results": ({"listen", "explorer", "slider"}, {"data", "average", "column", "clock"}),
    "notebooks/07_components": ({"slider"}, {"taken away"}),
}
# Whatever a panel shows: its readout, where its cursors stand, its drawing.
SHOWN = """e => [...e.querySelectorAll('.panel-readout, .clock, .plot, .strip, .eq, .choices')].map(part =>
    part.textContent + (part.querySelector('.cursor')?.style.left || '')
    + [...part.querySelectorAll('path')].map(p => p.getAttribute('d')).join('')).join('|')"""
KEPT = """id => location.hash === '#p=' + id + ':'
    + Object.entries(panels.apis[id].get()).map(([key, value]) => key + '=' + encodeURIComponent(value))"""
OUTSIDE = """[...document.querySelectorAll('.panel, .quiz')].flatMap(box => {
    const edge = box.getBoundingClientRect();
    return [...box.querySelectorAll('button, select, input, svg.cell-diagram, .plot')].filter(part => {
        const own = part.getBoundingClientRect();
        return own.width && (own.right > edge.right + 1 || own.left < edge.left - 1);
    }).map(part => part.outerHTML.slice(0, 80));
})"""


def moved(page: Page, panel, act: Callable[[], None]) -> None:
    """A panel shows something else after `act`."""
    before = panel.evaluate(SHOWN)
    act()
    page.wait_for_function("([e, before]) => (" + SHOWN + ")(e) != before", arg=[panel.element_handle(), before])


@pytest.mark.parametrize("name", PANELS)
def test_a_page_has_its_panels_and_each_answers_to_keys(page: Page, url: Callable[[str], str], name: str):
    page.goto(url(name))
    kinds, labels = PANELS[name]
    panels = page.locator(".panel[data-panel]").all()
    assert {panel.get_attribute("data-panel") for panel in panels} == kinds
    assert labels <= set(page.locator(".panel .control label").all_inner_texts())
    for panel in panels:
        own = panel.get_attribute("id")
        back = "Shift"
        for control in panel.locator("input, select").all():
            page.keyboard.press(back)  # the one before returns, so that each control moves from the panel's start
            control.focus()
            last = control.evaluate("e => e.value == (e.max ?? e.length - 1)")
            key, back = ("ArrowLeft", "ArrowRight") if last else ("ArrowRight", "ArrowLeft")
            moved(page, panel, lambda key=key: page.keyboard.press(key))
        page.wait_for_function(KEPT, arg=own)
        state = page.evaluate("id => panels.apis[id].get()", own)
        page.reload()
        assert page.evaluate("id => panels.apis[id].get()", own) == state
        assert page.locator(f"#{own}").evaluate("e => e.getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize("name", PANELS)
def test_each_panel_answers_to_touch_and_fits_a_phone(
    new_page: Callable[..., Page], url: Callable[[str], str], name: str
):
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto(url(name))
    assert page.evaluate(OUTSIDE) == []
    for panel in page.locator(".panel[data-panel]").all():
        control = panel.locator("input").first
        if control.count():
            control.scroll_into_view_if_needed()
            box = control.bounding_box()
            near = 0.2 if control.evaluate("e => e.value / e.max") > 0.5 else 0.8
            spot = (box["x"] + near * box["width"], box["y"] + min(20, box["height"] / 2))
            moved(page, panel, lambda spot=spot: page.touchscreen.tap(*spot))
        for button in panel.locator(".choices button[aria-pressed=false]").all()[:1]:
            moved(page, panel, button.tap)


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_question_tells_its_answer_and_stays_told(page: Page, url: Callable[[str], str], name: str):
    page.goto(url(name))
    quizzes = page.locator(".quiz").all()
    assert quizzes
    for quiz in quizzes:
        first = quiz.locator(".quiz-choice").first
        beside = "e => e.querySelector('input').offsetTop < e.querySelector('.quiz-text').offsetTop + 20"
        assert first.evaluate(beside) and first.locator(".quiz-text").evaluate("e => e.offsetLeft > 20")
        for choice in quiz.locator(".quiz-choice.right input").all():
            choice.focus()
            page.keyboard.press("Space")
        check = quiz.get_by_role("button", name="Check")
        if check.count():
            check.press("Enter")
        assert quiz.locator(".quiz-verdict").inner_text() == "Right."
        assert quiz.locator(".quiz-why:visible").count() == quiz.locator(".quiz-choice").count()
    page.reload()
    done = f"{len(quizzes)} of {len(quizzes)} answered on this page, {len(quizzes)} right at once"
    assert set(page.locator(".quiz-progress").all_inner_texts()) == {done}


@pytest.mark.parametrize("name", PANELS)
def test_without_script_and_on_paper_each_panel_is_its_picture(
    new_page: Callable[..., Page], url: Callable[[str], str], name: str
):
    for page in (new_page(java_script_enabled=False), new_page(color_scheme="dark")):
        page.goto(url(name))
        if page.evaluate("'panels' in window"):
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            page.emulate_media(media="print")
        empty = """[...document.querySelectorAll('.panel .plot > svg')].filter(svg => !svg.checkVisibility()
            || svg.getBoundingClientRect().height < 50 || !svg.querySelector('path, line, image')).length"""
        assert page.locator(".panel .plot > svg").count() and page.evaluate(empty) == 0
        assert page.locator(".quiz-why:not(:visible)").count() == 0
        told = """[...document.querySelectorAll('.panel')].filter(panel => panel.textContent.includes('"controls":')
            && ![...panel.querySelectorAll('.setting, .control output')].some(e => e.checkVisibility())).length"""
        assert page.evaluate(told) == 0

"""Every panel moves what it should and agrees with the data it was fed; on a page of its own, without the book."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from gatedrnn.panels import charts, gates, markup
from gatedrnn.panels.words import as_json, number, phrase

sys.path.insert(0, str(Path(__file__).parent))
import examples
from browsing import DESK, PHONE

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"
# All elements of a drawing, each as its name, its attributes and its own text.
DRAWING = """svg => [...svg.querySelectorAll('*')].map(e => [e.tagName,
  Object.fromEntries([...e.attributes].map(a => [a.name, a.value])), e.children.length ? '' : e.textContent])"""


@pytest.fixture(scope="module")
def made():
    return examples.make()


@pytest.fixture
def show(new_page, made, tmp_path):
    """Open a page with some panels, by name (without names: all, and two questions)."""

    def show(*names: str, theme: str = "light", script: bool = True, address: str = "", viewport=DESK) -> Page:
        body = "".join(made[name]._repr_html_() for name in names or made)
        file = tmp_path / "panels.html"
        file.write_text(examples.page(body + examples.quiz(1) + examples.quiz(2), STATIC, theme))
        page = new_page(viewport=viewport, java_script_enabled=script)
        page.goto(file.as_uri() + address)
        return page

    return show


def data(panel) -> dict:
    return json.loads(as_json(panel.data))


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", text)]


def same_drawing(one: list, other: list) -> None:
    """Equal but for rounding in the last digit."""
    assert len(one) == len(other)
    for (tag, attributes, words), (tag_2, attributes_2, words_2) in zip(one, other, strict=True):
        assert (tag, words, attributes.keys()) == (tag_2, words_2, attributes_2.keys())
        for key, value in attributes.items():
            assert re.sub(r"[\d.]+", "#", value) == re.sub(r"[\d.]+", "#", attributes_2[key])
            assert np.allclose(numbers(value), numbers(attributes_2[key]), atol=1.01 if key == "d" else 0.02)


def test_script_and_package_draw_alike(show, made):
    names = [name for name, panel in made.items() if panel.kind in ("slider", "explorer")]
    page, still = show(*names), show(*names, script=False)
    for name in names:
        page.evaluate("n => panels.apis[n].set(panels.apis[n].get())", name)
        live = page.locator(f"#{name} .plot > svg").evaluate(DRAWING)
        same_drawing(still.locator(f"#{name} .plot > svg").evaluate(DRAWING), live)
        assert (
            page.locator(f"#{name} .panel-readout").inner_text()
            == still.locator(f"#{name} .panel-readout").inner_text()
        )


def test_script_and_package_write_and_divide_alike(show):
    page = show("recall")
    values = [0, 0.5, -3, 1e-7, -2.5e-4, 123456, 99999, 3e8, 1 / 3]
    assert page.evaluate("v => v.map(x => panels.number(x))", values) == [number(v) for v in values]
    for low, high, log in [
        (0, 1, False),
        (-7.3, 2.2, False),
        (0.012, 0.013, False),
        (0.3, 40, True),
        (1e-9, 100, True),
    ]:
        assert np.allclose(page.evaluate("a => panels.ticks(...a)", [low, high, log]), markup.ticks(low, high, log))
    words = {"a": 0.12345, "b": None, "c": "x", "d": -4.2e-9}
    template = "{a:.2f} {a:.0%} {a:.1e} {b:.1f} {c} {d} {d:.2e} {a}"
    assert page.evaluate("a => panels.phrase(...a)", [template, words]) == phrase(template, words)


def test_a_player_plays_with_its_playhead_and_alone(show):
    page = show("listen-to-two", "a-waveform")
    one, two = page.locator("#listen-to-two"), page.locator("#a-waveform")
    left = "e => parseFloat(e.querySelector('.cursor').style.left)"
    assert one.locator(".voice:visible").count() == 1 and not one.locator("audio:visible").count()
    one.get_by_role("button", name="Play Bach").click()
    page.wait_for_function("document.querySelector('#listen-to-two audio').currentTime > 0.4")
    before = one.evaluate(left)
    assert before > 100 * 0.2 / 4.8
    one.get_by_role("button", name="GRU", exact=True).click()  # the other voice goes on where the first one was
    page.wait_for_function("document.querySelectorAll('#listen-to-two audio')[1].currentTime > 0.6")
    assert one.evaluate(left) > before and one.locator(".voice:visible").count() == 1
    playing = "[...document.querySelectorAll('audio')].map((a, k) => a.paused ? -1 : k).filter(k => k >= 0)"
    assert page.evaluate(playing) == [1]
    two.get_by_role("button", name="Play speaker").click()
    page.wait_for_function("document.querySelectorAll('audio')[2].currentTime > 0.1")
    assert page.evaluate(playing) == [2]


def test_seeking_by_pointer_and_by_keys(show):
    page = show("listen-to-two")
    cover = page.get_by_role("slider", name="Position")
    box = cover.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    assert (
        page.locator(".clock").inner_text() == "2.4 / 4.8 s"
        and cover.get_attribute("aria-valuetext") == "step 25 of 48"
    )
    cover.press("ArrowRight")
    assert page.locator(".clock").inner_text() == "2.5 / 4.8 s"
    cover.press("Home")
    cover.press("Space")
    page.wait_for_function("document.querySelector('audio').currentTime > 0.2")
    cover.press("Space")
    assert page.evaluate("document.querySelector('audio').paused")
    assert page.get_by_text("given").first.is_visible() and page.get_by_text("continued").first.is_visible()


def test_blind_mode_hides_the_names_until_one_has_guessed(show, made):
    voices = made["which-is-bach"].data["voices"]
    answer = voices.index("Bach")
    for guess in (answer, (answer + 1) % 3):
        page = show("which-is-bach")
        names = page.locator(".choices button")
        assert names.all_inner_texts() == ["Voice A", "Voice B", "Voice C"]
        names.nth(guess).click()
        page.get_by_role("button", name="This one is Bach").click()
        readout = page.locator(".panel-readout").inner_text()
        assert readout.startswith("Yes, this is Bach" if guess == answer else f"No: this is {voices[guess]}. Bach is")
        assert names.all_inner_texts() == voices and not page.get_by_role("button", name="This one is").count()


@pytest.mark.parametrize("name", ["one-gru", "one-lstm", "one-tanh-unit"])
def test_a_stepper_shows_the_numbers_of_each_step_and_part(show, made, name):
    page, fed = show(name), data(made[name])
    panel = page.locator(f"#{name}")
    for unit in range(len(fed["units"])):
        for step in (0, 1, 20, 47):
            for part in fed["parts"]:
                state = {"step": str(step + 1), "part": part, "unit": fed["units"][unit].split()[1]}
                page.evaluate("([n, s]) => panels.apis[n].set(s)", [name, state])
                assert page.evaluate("n => panels.apis[n].get()", name) == state
                shown = panel.locator(f".eq.part-{part} .numbers").inner_text()
                assert shown == gates.with_numbers(fed["numbers"][part], fed, unit, step)
                value = f"{fed['series'][part][unit][step]:.2f}".replace("-", "−")
                assert panel.locator(f".strip.part-{part} text").nth(1).text_content() == value
                lit = panel.locator(".eq.lit, .strip.lit").evaluate_all(
                    "all => all.map(e => e.className.baseVal || e.className)"
                )
                assert len(lit) == 2 and all(f"part-{part} " in f"{classes} " for classes in lit)
                assert f"lit-{part}" in panel.locator(".cell-diagram").get_attribute("class").split()


def test_a_stepper_by_keys_and_buttons(show):
    page = show("one-gru")
    state = "panels.apis['one-gru'].get()"
    page.get_by_role("button", name="Next part").press("Enter")
    assert page.evaluate(state) == {"step": "1", "part": "r", "unit": "0"}
    for _ in range(3):
        page.get_by_role("button", name="Next part").click()
    assert page.evaluate(state) == {"step": "2", "part": "z", "unit": "0"}
    cover = page.get_by_role("slider", name="Step")
    cover.press("ArrowRight")
    cover.press("ArrowDown")
    assert page.evaluate(state) == {"step": "3", "part": "r", "unit": "0"}
    before = page.locator(".strip.part-h path").get_attribute("d")
    page.get_by_label("Hidden unit").select_option("unit 5")
    assert page.locator(".strip.part-h path").get_attribute("d") != before and page.evaluate(state)["unit"] == "5"


def test_a_slider_shows_the_curve_of_its_setting(show):
    page = show("how-far-a-gradient-reaches")
    slider = page.get_by_role("slider", name="scale of U")
    for scale in examples.SCALES[3:]:
        slider.press("ArrowRight")
        left = phrase("{v:.1e}", {"v": float(f"{scale**40:.6g}")})
        words = f"With U scaled by {number(scale)}, {left} of the gradient is left after 40 steps."
        assert page.locator(".panel-readout").inner_text() == words
        x, y = (page.evaluate(f"panels.place({{lim: {lim}, log: {log}}}, {v})") for lim, log, v in axes(page, scale))
        ends = page.locator(".plot svg svg path").get_attribute("d").rsplit("L", 1)[1].split()
        assert np.allclose([float(v) for v in ends], [10 * x, 1000 - 10 * y], atol=1.01)


def axes(page, scale):
    """Limits, scale and the last point of both axes."""
    spec = json.loads(page.locator(".panel script").text_content())["chart"]
    return (spec["x"]["lim"], "false", 40), (spec["y"]["lim"], "true", scale**40)


def test_the_latch_computes_what_the_package_computes(show):
    page = show("three-gates-and-a-memory")
    for f, i, o in ((1.0, 0.0, 0.0), (0.9, 0.0, 0.5), (0.95, 0.3, 1.0)):
        page.evaluate(
            "s => panels.apis['three-gates-and-a-memory'].set(s)", {"f": f"{f:g}", "i": f"{i:g}", "o": f"{o:g}"}
        )
        c, h = charts.run_latch(examples.OFFERS, [4, 24], [12, 20, 36], f, i, o)
        assert page.locator(".panel-readout").inner_text().endswith(f"last memory {c[-1]:.3f}".replace("-", "−"))
        model = json.loads(page.locator(".panel script").text_content())["model"]
        assert np.allclose(page.evaluate("a => panels.latch(...a)", [model, f, i, o]), [c, h], atol=1e-9)


def test_the_explorer_shows_every_place_of_its_table(show, made):
    page, fed = show("results"), data(made["results"])
    for a, dataset in enumerate(("JSB Chorales", "Nottingham")):
        page.get_by_label("data set").select_option(dataset)
        for b, column in enumerate(("paper", "best")):
            page.get_by_label("column").select_option(column)
            rows, _, words = charts.explored(fed, [a, b])
            assert page.locator(".panel-readout").inner_text() == words
            assert page.locator(".plot circle").count() == sum(row["value"] is not None for row in rows)
            assert page.locator(".plot").get_by_text("no record").count() == sum(row["value"] is None for row in rows)
            assert page.locator(".plot path").count() == page.locator(".plot circle").count()  # the references


def test_the_gate_map_reads_what_is_under_the_cursor(show, made):
    page, fed = show("gates-of-a-gru"), data(made["gates-of-a-gru"])
    values, _ = examples.cell("gru", examples.chorale())
    page.wait_for_selector("#gates-of-a-gru[data-ready]")
    plot = page.locator(".plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    for step, row in ((0, 0), (31, 5), (47, 11)):
        x = box["x"] + box["width"] * (step + 0.5) / 48
        page.mouse.move(x, box["y"] + fed["tops"][1] + fed["tall"] * (row + 0.5) / 12)
        shown = page.locator(".panel-readout").inner_text()
        unit = fed["order"][row]
        found = re.match(
            r"step (\d+), unit (\d+); z = ([\d.]+); r = ([\d.]+); time constant ([\d.]+) steps", shown
        ).groups()
        assert found[:2] == (str(step + 1), str(unit)) and float(found[4]) == pytest.approx(fed["tau"][row], rel=0.01)
        assert [float(v) for v in found[2:4]] == pytest.approx([values[g][step, unit] for g in "zr"], abs=0.0051)
    cover = page.get_by_role("slider")
    cover.press("ArrowUp")
    cover.press("ArrowLeft")
    assert page.locator(".panel-readout").inner_text().startswith(f"step 47, unit {fed['order'][10]};")


def test_a_quiz_says_why_and_keeps_count(show):
    page = show("recall")
    one = page.locator("#quiz-1")
    assert not one.locator(".quiz-why:visible").count()
    one.get_by_role("radio", name="a) first").check()
    assert one.locator(".quiz-why:visible").all_inner_texts() == ["Wrong. Reason 0."]
    assert "Not this one" in one.locator(".quiz-verdict").inner_text()
    one.get_by_role("radio", name="b) second").check()
    assert one.locator(".quiz-why:visible").count() == 3 and one.locator(".quiz-verdict").inner_text() == "Right."
    page.locator("#quiz-2").get_by_text("b) second").click()
    progress = "2 of 2 answered on this page, 1 right at once"
    assert page.locator(".quiz-progress").all_inner_texts() == [progress] * 2
    page.reload()
    assert page.locator(".quiz-progress").first.inner_text() == progress
    one.get_by_role("button", name="Again").click()
    assert (
        not one.locator(".quiz-why:visible").count() and "1 of 2" in page.locator(".quiz-progress").first.inner_text()
    )


def test_a_quiz_by_keys(show):
    page = show("recall")
    page.locator("#quiz-1").get_by_role("radio").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#quiz-1 .quiz-verdict").inner_text() == "Right."


STATES = {
    "listen-to-two": "voice=1,t=1.5",
    "one-gru": "step=12,part=h,unit=3",
    "how-far-a-gradient-reaches": "scale-of-u=1.1",
    "recall": "start=zero",
    "results": "data-set=Nottingham,column=best",
    "gates-of-a-gru": "step=9,unit=7",
}


@pytest.mark.parametrize("name", STATES)
def test_the_address_holds_the_state(show, name):
    page = show(address=f"#p={name}:{STATES[name]}")
    page.wait_for_function("window.panels")
    expected = dict(pair.split("=") for pair in STATES[name].split(","))
    assert page.evaluate("n => panels.apis[n].get()", name) == expected
    assert page.locator(f"#{name}").evaluate("e => e.getBoundingClientRect().top < innerHeight")


def test_moving_a_panel_changes_the_address_and_nothing_else_does(show):
    page = show()
    page.wait_for_timeout(300)
    assert "#" not in page.url
    page.get_by_role("slider", name="scale of U").press("ArrowRight")
    page.wait_for_url("**#p=how-far-a-gradient-reaches:scale-of-u=1")
    page.goto(page.url.split("#")[0] + "#p=nothing:a=1")  # a link to what is not there does no harm
    page.goto(page.url.split("#")[0] + "#p=recall:start=%E0%A4,x")
    assert page.evaluate("panels.apis.recall.get()") == {"start": "informed"}


def test_without_script_the_pictures_the_players_and_the_answers_are_there(show, made):
    page = show(script=False)
    assert page.locator(".plot > svg:visible").count() == sum(
        len(p.picture.split('class="plot"')) - 1 for p in made.values()
    )
    assert page.locator("audio:visible").count() == 7 and page.locator(".voice-name:visible").count() == 7
    assert page.locator(".quiz-why:visible").count() == 6 and page.locator(".eq .numbers:visible").count() == 11
    assert not page.locator("button, input, select").count()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_paper_everything_is_open_dark_on_white(show, theme):
    page = show(theme=theme)
    page.emulate_media(media="print")
    assert page.locator(".voice:visible").count() == 7 and page.locator(".quiz-why:visible").count() == 6
    assert not page.locator(
        "button:visible, .cover:visible, select:visible, audio:visible, .quiz input:visible"
    ).count()
    colors = page.locator(".panel, .panel-title, .panel .plot svg, .quiz-why").evaluate_all(
        "all => [...new Set(all.map(e => getComputedStyle(e).color))]"
    )
    assert colors == ["rgb(17, 17, 17)"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_sticks_out_and_fingers_find_the_buttons(show, theme, viewport):
    page = show(theme=theme, viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    small = "all => all.filter(e => e.offsetParent && e.offsetHeight < 32).map(e => e.outerHTML)"
    assert page.locator("button, select, .control input").evaluate_all(small) == []
    sizes = page.locator(".plot > svg").evaluate_all("all => [...new Set(all.map(e => getComputedStyle(e).fontSize))]")
    assert sizes == ["14px"]
    named = "e => e.labels?.length || e.hasAttribute('aria-label') || e.hasAttribute('aria-labelledby')"
    assert page.evaluate(f"[...document.querySelectorAll('input, select')].every({named})")


def test_scripts_and_styles_are_small_and_read_nothing_from_elsewhere():
    sys.path.insert(0, str(STATIC.parent / "_ext"))
    from shipped import SLIM

    files = {f.name: SLIM[f.suffix](f.read_text()) for f in STATIC.iterdir() if f.suffix in SLIM}
    assert files.keys() == {"book.css", "book.js", "panels.css", "panels.js"}
    sizes = {name: len(text.encode()) for name, text in files.items()}
    assert sum(sizes.values()) < 40_000, sizes
    assert not re.search(r"fetch\(|import\(|XMLHttpRequest|https?://(?!www\.w3\.org)", "".join(files.values()))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_panels_are_accessible(show, axe, theme):
    page = show(theme=theme)
    page.get_by_role("radio").first.check()
    page.evaluate(axe)
    found = page.evaluate("axe.run({preload: false}).then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
    assert found == []

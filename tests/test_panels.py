import base64
import json
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from gatedrnn import panels
from gatedrnn.panels import charts, gates, listening, markup
from gatedrnn.panels.words import as_json
from gatedrnn.sound import mp3
from gatedrnn.units import SIGMOID_GATES, UNITS


@pytest.fixture(scope="module")
def examples(load_script):
    return load_script("tests/web/examples.py")


@pytest.fixture(scope="module")
def made(examples):
    return examples.make()


def soup(panel):
    return BeautifulSoup(panel._repr_html_(), "html.parser")


def data(panel):
    return json.loads(soup(panel).find("script").string)


def path_points(d):
    return np.array([[float(v) for v in pair.split()] for pair in re.split("[ML]", d)[1:]])


def test_every_panel_is_a_named_picture_with_its_data(made):
    assert {panel.kind for panel in made.values()} == {"listen", "stepper", "slider", "explorer", "gates"}
    for name, panel in made.items():
        page = soup(panel)
        root = page.find("div", class_="panel")
        assert root["id"] == name and root["aria-label"] == panel.title and root["data-panel"] == panel.kind
        assert all(svg["aria-label"].strip() for svg in page.select("svg[role=img]")) and page.select("svg[role=img]")
        assert data(panel) == json.loads(as_json(panel.data))
        assert "\n" not in repr(panel) and name in repr(panel) and panel.summary in repr(panel)
        assert len(panel._repr_html_()) < 80_000


def test_the_same_data_make_the_same_panel(examples, made):
    assert {n: p._repr_html_() for n, p in examples.make().items()} == {n: p._repr_html_() for n, p in made.items()}


def test_text_is_escaped_and_json_cannot_end_the_script():
    panel = panels.slider([0, 1], {"</script><b>": [[0, 1]]}, {"a<b": ["</script>"]}, title="<i>", alt='"', caption="&")
    page = soup(panel)
    assert page.find("b") is None and page.find("i") is None and len(page.find_all("script")) == 1
    assert data(panel)["controls"][0] == {"label": "a<b", "options": ["</script>"], "menu": True}
    assert page.find(class_="panel-caption").text == "&"


@pytest.mark.parametrize("title, name", [("1st", ""), ("", ""), ("a", "A b"), ("…", "")])
def test_a_name_that_cannot_stand_in_an_address_is_refused(title, name):
    with pytest.raises(ValueError, match="set name"):
        panels.Panel("slider", title, "", {}, name=name)


def test_the_notes_drawn_are_the_notes_of_the_roll(examples, made):
    roll = examples.chorale()
    low, high = markup.pitch_span([roll, examples.chorale(7)])
    first = soup(made["listen-to-two"]).find(class_="voice")
    drawn = np.zeros_like(roll)
    for path in first.find_all("path"):
        for x, y, width in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v", path["d"]):
            start, column = round(float(x) - 0.06), high - round(float(y) - 0.08)
            drawn[start : start + round(float(width) + 0.12), column] = 1
    assert np.array_equal(drawn, roll) and low < np.flatnonzero(roll.any(0))[0]
    given = first.find("path", class_="given")
    assert max(float(x) for x in re.findall(r"M([\d.]+)", given["d"])) < 16


def test_a_sound_is_inside_the_output(examples):
    roll = examples.chorale(steps=4)
    audio = soup(panels.listen({"Bach": roll}, step_seconds=0.25)).find("audio")
    assert base64.b64decode(audio["src"].split(",")[1]) == mp3(roll, step_seconds=0.25)
    assert audio.has_attr("controls") and audio["aria-label"] == "Bach" and audio["preload"] == "none"


def test_blind_mode_mixes_the_voices_and_knows_the_answer(made, examples):
    blind = data(made["which-is-bach"])
    assert sorted(blind["voices"]) == ["Bach", "GRU", "tanh"] and blind["voices"][blind["answer"]] == "Bach"
    assert data(made["listen-to-two"])["answer"] is None
    roll, first = examples.chorale(steps=2), set()
    for title in "abcdefgh":
        first.add(data(panels.listen({"Bach": roll, "GRU": roll}, blind=True, title=title))["answer"])
    assert first == {0, 1}  # the place of the answer does not tell it


@pytest.mark.parametrize("opening", [-1, 5])
def test_an_opening_longer_than_the_roll_is_refused(examples, opening):
    with pytest.raises(ValueError, match="opening must be between 0"):
        panels.listen({"Bach": examples.chorale(steps=4)}, opening=opening)


def test_nothing_to_listen_to_is_refused():
    for function in (panels.listen, panels.listen_wave):
        with pytest.raises(ValueError, match="nothing to listen to"):
            function({})
    for wave in ([2.0, 0], [[0.0]], [], [np.nan]):
        with pytest.raises(ValueError, match="between -1 and 1"):
            panels.listen_wave({"a": np.array(wave)})
    with pytest.raises(ValueError, match="opening must lie"):
        panels.listen_wave({"a": np.zeros(16000)}, opening=1.1)


def test_an_envelope_reaches_the_highest_and_the_lowest_sample():
    wave = np.zeros(4000)
    wave[1234], wave[3000] = 0.8, -0.5
    d = listening.envelope(wave, 0, 4000, 1.0, "red")
    heights = [float(v) for v in re.findall(r"L[\d.]+ (-?[\d.]+)", d)]
    assert min(heights) == pytest.approx(-0.8 * 96 - 0.4, abs=0.1) and max(heights) == pytest.approx(48.4, abs=0.1)


@pytest.mark.parametrize("unit", ["tanh", "gru", "lstm"])
def test_the_terms_of_a_sum_give_the_gate(examples, unit):
    x = examples.chorale()
    values, weights = examples.cell(unit, x)
    terms = gates.summands(unit, values, x, weights)
    for part in {term.split(":")[0] for term in terms}:
        total = sum(v for term, v in terms.items() if term.startswith(f"{part}:"))
        squash = (lambda a: 1 / (1 + np.exp(-a))) if part in SIGMOID_GATES else np.tanh
        assert np.allclose(squash(total), values[part])
    assert {t.split(":")[0] for t in terms} == set(UNITS[unit].parts) - ({"h"} if unit != "tanh" else set()) - {"c"}


@pytest.mark.parametrize("unit", ["tanh", "gru", "lstm"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_numbers_in_an_equation_give_its_result(examples, unit, weighted):
    x = examples.chorale()
    values, weights = examples.cell(unit, x)
    made = data(panels.stepper(unit, values, x, weights=weights if weighted else None, units=[4]))
    known = {"tanh": np.tanh, "σ": lambda a: 1 / (1 + np.exp(-a))}
    for part in made["parts"]:
        for step in (0, 7, 47):
            left, _, right = gates.with_numbers(made["numbers"][part], made, 0, step).rpartition(" = ")
            python = left.replace("−", "-").replace("·", "*")
            assert eval(python, known) == pytest.approx(float(right.replace("−", "-")), abs=0.02)
            assert float(right.replace("−", "-")) == pytest.approx(values[part][step, 4], abs=0.0051)


def test_a_stepper_takes_tensors_with_a_batch_axis_and_a_cell_without_peepholes_or_bias(examples):
    torch = pytest.importorskip("torch")
    x = examples.chorale()
    values, weights = examples.cell("lstm", x)
    tensors = {k: torch.tensor(v[:, None], requires_grad=True) for k, v in values.items()}
    plain = panels.stepper("lstm", values, x)._repr_html_()
    assert panels.stepper("lstm", tensors, torch.tensor(x)[:, None])._repr_html_() == plain
    less = {k: v for k, v in weights.items() if k[0] not in "bV"} | {"V_i": None}
    formulas = soup(panels.stepper("lstm", values, x, weights=less)).select(".symbolic")
    assert formulas[0].text == "it = σ(Wi xt + Ui ht−1)" and "V" not in "".join(f.text for f in formulas)
    assert "bc" not in formulas[2].text
    full = soup(panels.stepper("lstm", values, x, weights=weights)).select(".symbolic")
    assert full[4].text == "ot = σ(Wo xt + Uo ht−1 + Vo ⊙ ct + bo)"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"unit": "rnn"}, "unknown unit"),
        ({"part": "o"}, "unknown part"),
        ({"units": [12]}, "units lie between 0 and 11"),
        ({"units": []}, "units lie"),
        ({"start": 48}, "start between 0 and 47"),
        ({"x": np.zeros((47, 88))}, "must have the same 48 steps"),
        ({"gates": {"h": np.zeros((48, 12))}}, "gates lacks"),
        ({"weights": {}}, "weights lacks W_z"),
    ],
)
def test_a_stepper_says_what_does_not_fit(examples, change, message):
    x = examples.chorale()
    values, _ = examples.cell("gru", x)
    with pytest.raises(ValueError, match=message):
        panels.stepper(**{"unit": "gru", "gates": values, "x": x} | change)


def test_a_heat_map_is_a_png_that_holds_the_data(examples):
    values = np.random.default_rng(0).uniform(-1, 1, (5, 9))
    png = markup.heat_map(values, "#0072B2", "#CC79A7")
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        chunks[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            png[at + 4 : at + 8 + length]
        )
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 10)[:, 1:]
    assert np.abs((rows.astype(float) - 100) / 100 - values).max() <= 0.005 + 1e-12
    assert chunks[b"PLTE"][-3:] == bytes.fromhex("0072B2") and chunks[b"tRNS"][100] == 0 and chunks[b"tRNS"][0] == 255


def test_units_of_a_gate_map_stand_by_their_time_constants(examples, made):
    values, _ = examples.cell("gru", examples.chorale())
    tau = -1 / np.log(1 - values["z"]).mean(0)
    shown = data(made["gates-of-a-gru"])
    assert shown["order"] == list(np.argsort(-tau)) and np.allclose(shown["tau"], np.sort(tau)[::-1], rtol=1e-3)
    with pytest.raises(ValueError, match="gates lacks o"):
        panels.gate_map("lstm", {"f": values["z"]}, examples.chorale(), parts=["f", "o"])
    with pytest.raises(ValueError, match="gates lacks r, z"):
        panels.gate_map("gru", {}, examples.chorale())


def test_the_curve_drawn_is_the_curve_given(examples, made):
    panel = made["step-response"]
    path = next(p for p in soup(panel).select("path") if p.get("stroke") == "#0072B2")
    points = path_points(path["d"])
    low, high = data(panel)["chart"]["x"]["lim"]
    state = 1 - 0.8 ** np.arange(31)
    assert np.allclose(points[:, 0], 1000 * (np.arange(31) - low) / (high - low), atol=0.51)
    assert np.allclose(points[:, 1], 1000 * (1 - state / 1.05), atol=0.51)
    assert "time constant 4.5 steps" in panel.readout


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sliders": {}}, "at least one slider"),
        ({"curves": {"a": [[1, 2]]}}, "must have shape"),
        ({"x": [[1, 2]]}, "x must have shape"),
        ({"start": {"u": 5}}, "no value 5"),
        ({"start": {"v": 1}}, "start names v"),
        ({"readout": "{w}"}, "readout names 'w'"),
        ({"curves": {"a": np.full((2, 2), np.nan)}}, "nothing to draw"),
        ({"curves": {"a": -np.ones((2, 2))}, "log": "y"}, "nothing to draw"),
    ],
)
def test_a_slider_says_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        panels.slider(**{"x": [0, 1], "curves": {"a": [[1, 2], [3, 4]]}, "sliders": {"u": [0, 1]}} | arguments)


def test_the_latch_keeps_what_is_written_and_shows_it_when_asked(examples):
    c, h = charts.run_latch(examples.OFFERS, [4, 24], [12], 1.0, 0.0, 0.0)
    assert (c[4:24] == 0.6).all() and (c[24:] == -0.8).all() and np.flatnonzero(h).tolist() == [12]
    c, h = charts.run_latch(np.ones(50), [], [], 0.9, 0.5, 1.0)
    assert c[-1] == pytest.approx(5, rel=0.01) and np.allclose(h, np.tanh(c))
    wrong = {"one axis": {"offers": [[1.0]]}, "between 0 and 0": {"write": [1]}}
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match=message):
            panels.latch(**{"offers": [1.0]} | arguments)


def test_an_explorer_shows_what_its_table_says(examples, made):
    table = data(made["results"])
    rows, _, words = charts.explored(table, [1, 1])
    assert rows[0]["value"] is None and words == "GRU: 3.80 (3.73 to 3.85); LSTM: 3.92 (3.85 to 3.97). Lowest: GRU."
    assert table["controls"][0] == {"label": "data set", "options": ["JSB Chorales", "Nottingham"], "menu": True}
    rows = examples.results()
    with pytest.raises(ValueError, match="stand for the same place"):
        panels.explorer([*rows, rows[0]], ("data", "column"))
    with pytest.raises(ValueError, match="needs the column 'clock'"):
        panels.explorer(rows, ("data", "clock"))
    with pytest.raises(ValueError, match="no rows"):
        panels.explorer([], ())
    with pytest.raises(ValueError, match="best must be"):
        panels.explorer(rows, ("data", "column"), best="most")


@pytest.mark.parametrize("low, high", [(0, 1), (-3.2, 7.9), (0.05, 0.06), (1000, 90000), (0, 47)])
def test_ticks_are_round_and_few(low, high):
    t = markup.ticks(low, high)
    assert 3 <= len(t) <= 7 and low - 1e-9 <= t[0] and t[-1] <= high + 1e-9
    assert np.allclose(np.diff(t), t[1] - t[0])


def test_a_logarithmic_axis_has_ticks_over_a_decade_and_over_many():
    assert np.allclose(markup.ticks(1.5, 60, True), [2, 5, 10, 20, 50])
    assert 3 <= len(markup.ticks(1e-12, 1e3, True)) <= 7


def test_panels_need_no_torch():
    code = "import sys, gatedrnn.panels; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


FRAME = pd.DataFrame({"GRU": [8.471, 3.0, None], "LSTM": [8.474, 2.5, 1.0]}, index=["JSB", "Nottingham", "<other>"])


def test_a_table_is_set_with_its_caption_and_what_is_missing():
    tree = BeautifulSoup(panels.table(FRAME, digits={"GRU": 3}, caption="a < b")._repr_html_(), "html.parser")
    assert tree.caption.string == "a < b"
    assert [cell.string for cell in tree.tbody.find_all("th")] == list(FRAME.index)
    assert [cell.get_text() for cell in tree.find_all("td")] == ["8.471", "8.47", "3.000", "2.50", "–", "1.00"]


def test_a_table_says_what_is_wrong():
    with pytest.raises(ValueError, match="no column tanh: it has GRU, LSTM"):
        panels.table(FRAME, digits={"tanh": 3})


def test_answers_have_the_colour_of_their_kind_and_safe_text():
    shown = panels.answers([("mixed", "A < B?", "It depends", "By 0.1 & more."), ("yes", "Faster?", "Yes", "")])
    html = shown._repr_html_()
    assert html.startswith('<ul class="verdicts said"><li class="mixed"><span>A &lt; B?</span><b>It depends</b>')
    assert "<small>By 0.1 &amp; more.</small>" in html and html.count("<li") == 2
    assert repr(shown).splitlines()[0] == "A < B? It depends. By 0.1 & more."
    with pytest.raises(ValueError, match="not perhaps"):
        panels.answers([("perhaps", "", "", "")])

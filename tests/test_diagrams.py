"""The diagrams of the units: what is lit, what the lines join, and that nothing lies on anything else."""

from itertools import combinations

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from gatedrnn.diagrams import DIM, DIM_TEXT, INK, cell_diagram
from gatedrnn.units import UNITS


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def color_of(ax, part_of_text: str) -> str:
    (text,) = (t for t in ax.texts if t.get_text() == part_of_text)
    return to_hex(text.get_color()).upper()


def dashed(ax) -> list:
    return [line for line in ax.lines if line.is_dashed()]


def arrow_tips(ax) -> list[tuple[float, float]]:
    return [tuple(p._posA_posB[1]) for p in ax.patches if isinstance(p, FancyArrowPatch)]


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_lit_is_everything_at_full_strength(unit):
    ax = cell_diagram(unit)
    assert {to_hex(text.get_color()).upper() for text in ax.texts} == {INK}
    assert {to_hex(line.get_color()).upper() for line in ax.lines} == {INK}
    assert sum("=" in text.get_text() for text in ax.texts) == len(UNITS[unit].parts)


@pytest.mark.parametrize(("unit", "part"), [(unit, part) for unit in UNITS for part in UNITS[unit].parts])
def test_a_lit_part_takes_its_equation_with_it_and_dims_the_rest(unit, part):
    ax = cell_diagram(unit, [part])
    equations = [text for text in ax.texts if "=" in text.get_text()]
    colors = [to_hex(text.get_color()).upper() for text in equations]
    assert colors == [INK if name == part else DIM_TEXT for name in UNITS[unit].parts]
    lines = {to_hex(line.get_color()).upper() for line in ax.lines}
    assert lines == ({INK} if unit == "tanh" else {INK, DIM})


def test_the_colour_of_the_unit_marks_what_is_lit():
    boxes = [p for p in cell_diagram("gru", ["z"]).patches if isinstance(p, FancyBboxPatch)]
    edges = [to_hex(box.get_edgecolor()).upper() for box in boxes]
    assert edges.count(UNITS["gru"].color) == 1  # the update gate; the frame and the other boxes are dim
    boxes = [p for p in cell_diagram("gru").patches if isinstance(p, FancyBboxPatch)]
    assert [to_hex(box.get_edgecolor()).upper() for box in boxes].count(UNITS["gru"].color) == 3


def test_peepholes_are_dashed_and_can_be_left_out():
    with_peepholes, without = cell_diagram("lstm"), cell_diagram("lstm", peepholes=False)
    assert len(dashed(with_peepholes)) == 4 and not dashed(without) and not dashed(cell_diagram("gru"))
    assert sum("V_" in text.get_text() for text in with_peepholes.texts) == 3
    assert not any("V_" in text.get_text() for text in without.texts)
    assert len(with_peepholes.texts) == len(without.texts)


def test_input_and_forget_gate_see_the_old_memory_and_the_output_gate_the_new():
    ax = cell_diagram("lstm")
    centre = {text.get_text(): text.get_position() for text in ax.texts}
    sums = [line.get_xdata().mean() for line in ax.lines if line.get_linewidth() == 1.9]  # the strokes of the "+"
    starts = sorted(line.get_xdata()[0] for line in dashed(ax) if line.get_ydata()[0] == 5.2)  # on the memory's line
    assert len(starts) == 2 and starts[0] < centre["$f_t$"][0] < sums[0] < starts[1]
    ends = sorted(line.get_xdata()[-1] for line in dashed(ax) if line.get_ydata()[-1] < 3)
    for end, gate in zip(ends, ("$f_t$", "$i_t$", "$o_t$"), strict=True):
        assert abs(end - centre[gate][0]) < 1.15 / 2  # over the gate's box


def test_the_reset_gate_acts_before_the_matrix_product():
    ax = cell_diagram("gru")
    centre = {text.get_text(): text.get_position() for text in ax.texts}
    product = (6.0, 2.2)
    tips = arrow_tips(ax)
    assert (5.76, 2.2) in tips and (6.0, 1.96) in tips  # r and the old state go into the product ...
    assert product[0] < centre["$U$"][0] < centre[r"$\tilde{h}_t$"][0]  # ... and U stands on the arrow that leaves it
    assert centre["$r_t$"][0] < product[0]


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_touches_another_or_leaves_the_figure(unit):
    ax = cell_diagram(unit)
    ax.figure.canvas.draw()
    frame = ax.figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in ax.texts]
    for text, box in boxes:
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1, text
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)
    assert min(text.get_fontsize() for text in ax.texts) >= 10


def test_a_diagram_can_be_drawn_on_axes_that_are_there():
    _, axes = plt.subplots(1, 2)
    assert cell_diagram("lstm", ["f", "c"], axes[1]) is axes[1]
    assert not axes[0].texts and axes[1].texts


def test_what_is_unknown_is_refused_with_what_is_known():
    with pytest.raises(ValueError, match="unknown unit 'rnn': the known units are tanh, gru, lstm"):
        cell_diagram("rnn")
    with pytest.raises(ValueError, match="unknown part f of gru: the known parts are z, r, h_tilde, h"):
        cell_diagram("gru", ["f", "z"])

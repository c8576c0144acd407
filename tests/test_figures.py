"""The plots: what is drawn is what was given, in the unit's colour, with every axis named."""

import base64
import io
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from gatedrnn import figures
from gatedrnn.figures import (
    COLORS,
    gate_map,
    gradient_flow_plot,
    learning_curves,
    piano_roll,
    use_style,
)


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


@pytest.fixture
def roll() -> np.ndarray:
    """C4 for six steps, G4 for the first two and the last one, E5 in the middle."""
    notes = np.zeros((8, 88), dtype=np.uint8)
    notes[1:7, 39] = notes[:2, 46] = notes[7:, 46] = notes[3:5, 55] = 1
    return notes


def rectangles(ax, of: int = 0) -> list[tuple[float, float, float]]:
    """(column, start, end) of each bar in a collection, in order."""
    boxes = [path.get_extents() for path in ax.collections[of].get_paths()]
    return sorted((round((b.y0 + b.y1) / 2), round(b.x0, 6), round(b.x1, 6)) for b in boxes)


def test_the_style_is_readable():
    sizes = [plt.rcParams[key] for key in ("font.size", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")]
    assert min(sizes) >= 9 and max(sizes) < 12  # points: a little below the page's text, which has 12
    assert plt.rcParams["axes.unicode_minus"] and plt.rcParams["svg.hashsalt"]
    assert plt.rcParams["figure.facecolor"] == "white" and plt.rcParams["figure.constrained_layout.use"]


def test_unit_colours_stand_out_on_white_and_from_one_another():
    def luminance(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    assert all(1.05 / (luminance(color) + 0.05) >= 3 for color in COLORS.values())  # WCAG 2: graphical objects
    assert len(set(figures.MARKERS.values())) == 3  # and shape tells them apart without colour


def test_a_bar_for_each_held_note_and_named_pitches(roll):
    ax = piano_roll(roll)
    assert rectangles(ax, 1) == [(39, 1.06, 6.94), (46, 0.06, 1.94), (46, 7.06, 7.94), (55, 3.06, 4.94)]
    assert dict(zip(ax.get_yticks(), (t.get_text() for t in ax.get_yticklabels()), strict=True)) == {
        39: "C4",
        46: "G4",
        51: "C5",
    }
    assert ax.get_xlabel() == "step $t$" and ax.get_ylabel() == "pitch" and ax.get_xlim() == (0, 8)
    first = ax.get_xticks()[0], ax.get_xticklabels()[0].get_text()
    assert first == (0.5, "1")  # step 1 is the first column, marked in its middle


def test_an_opening_is_set_apart_from_its_continuation(roll):
    ax = piano_roll(roll, opening=4, color=COLORS["gru"], title="GRU")
    assert rectangles(ax, 0) == [(39, 1.06, 3.94), (46, 0.06, 1.94), (55, 3.06, 3.94)]
    assert rectangles(ax, 1) == [(39, 4.06, 6.94), (46, 7.06, 7.94), (55, 4.06, 4.94)]
    assert to_hex(ax.collections[1].get_facecolor()[0]).upper() == COLORS["gru"]
    assert to_hex(ax.collections[0].get_facecolor()[0]).upper() != COLORS["gru"]
    assert [text.get_text() for text in ax.texts] == ["opening", "continuation"]
    assert ax.get_title(loc="left") == "GRU"


def test_a_silent_roll_is_an_empty_picture_and_nonsense_is_refused(roll):
    assert not rectangles(piano_roll(np.zeros((5, 88))), 1)
    with pytest.raises(ValueError, match="opening must be between 0 and"):
        piano_roll(roll, opening=9)
    with pytest.raises(ValueError, match="piano roll"):
        piano_roll(roll[:, :5])


def test_gate_maps_lie_under_the_roll_on_one_time_axis(roll):
    rng = np.random.default_rng(0)
    gates = {"z": rng.random((8, 5)), "r": rng.random((8, 5)), "h": rng.random((8, 5)) - 0.5}
    figure = gate_map(gates, roll)
    music, *maps = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert len(maps) == 3 and all(ax.get_xlim() == music.get_xlim() == (0, 8) for ax in maps)
    order = gates["z"].mean(0).argsort()
    for ax, (name, values) in zip(maps, gates.items(), strict=True):
        (image,) = ax.images
        np.testing.assert_array_equal(np.asarray(image.get_array()), values[:, order].T)
        assert image.get_clim() == ((-1, 1) if name == "h" else (0, 1))
        assert image.get_cmap().name == ("signed" if name == "h" else "gate")
    assert [ax.get_ylabel() for ax in figure.axes[-3:]] == ["$z_t$", "$r_t$", "$h_t$"]  # the colour bars
    assert [ax.get_xlabel() for ax in maps] == ["", "", "step $t$"]


def test_the_colours_of_a_memory_end_where_a_tenth_lies_further_out(roll):
    memory = np.linspace(-30, 30, 40).reshape(8, 5)
    (image,) = gate_map({"c": memory}, roll).axes[1].images
    np.testing.assert_array_equal(np.asarray(image.get_array()), memory.T)
    low, high = image.get_clim()
    assert low == -high == pytest.approx(-np.quantile(np.abs(memory), 0.9))


def test_gradient_flow_has_a_line_a_unit_in_its_colour():
    lags = np.arange(20)
    flows = {"tanh": 2 * 0.5**lags, "gru": 3 * 0.9**lags, "lstm": np.where(lags == 7, 0, 0.9**lags)}
    ax = gradient_flow_plot(flows)
    assert [line.get_label() for line in ax.lines] == ["tanh", "GRU", "LSTM"]
    assert [line.get_color() for line in ax.lines] == [COLORS[unit] for unit in flows]
    assert ax.get_yscale() == "log" and "lag" in ax.get_xlabel()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), 2 * 0.5**lags)
    assert np.isnan(ax.lines[2].get_ydata()[7])
    assert flows["lstm"][7] == 0  # what was given is left as it was


def history(values, seconds=1.0):
    """A learning curve with an entry for the untrained model, as `training.History` has one."""
    epochs = list(range(len(values) + 1))
    valid = [60.0, *values]
    return SimpleNamespace(
        epoch=epochs,
        update=[10 * e for e in epochs],
        seconds=[seconds * e for e in epochs],
        train=[float("nan"), *(v - 0.5 for v in values)],
        valid=valid,
    )


def test_learning_curves_show_mean_band_and_end_with_the_first_member():
    histories = {"tanh": [history([12, 10, 9.5])], "gru": [history([11, 9, 8, 7]), history([13, 10, 9])]}
    ax = learning_curves(histories)
    solid, dashed = ax.lines[2], ax.lines[3]
    assert solid.get_color() == dashed.get_color() == COLORS["gru"] and dashed.is_dashed()
    np.testing.assert_allclose(solid.get_ydata(), [60, 12, 9.5, 8.5])
    np.testing.assert_allclose(dashed.get_ydata(), [np.nan, 11.5, 9, 8])
    (band,) = ax.collections  # a single member has none
    extents = band.get_paths()[0].get_extents()
    assert (extents.x0, extents.x1, extents.y0) == (0, 3, 8)
    edge = {(x, y) for x, y in band.get_paths()[0].vertices if x == 3}
    assert {(3, 8), (3, 9)} <= edge  # from the best member to the worst, not to their mean
    low, high = ax.get_ylim()
    assert low < 8 and 13 < high < 20  # the untrained model's 60 nats are cut
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["tanh", "GRU"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "NLL, nats a step")


def test_learning_curves_by_seconds_meet_at_common_times():
    ax = learning_curves({"lstm": [history([12, 10], 1.0), history([12, 10, 8], 2.0)]}, by="seconds", train=False)
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xdata(), [0, 1, 2])
    np.testing.assert_allclose(line.get_ydata(), [60, (12 + 36) / 2, (10 + 12) / 2])
    with pytest.raises(ValueError, match="epoch, update or seconds, not 'hours'"):
        learning_curves({}, by="hours")


def test_a_figure_is_drawn_on_the_axes_that_are_given(roll):
    _, axes = plt.subplots(3, 1)
    number = len(plt.get_fignums())
    assert piano_roll(roll, axes[0]) is axes[0]
    assert gradient_flow_plot({"gru": np.ones(3)}, axes[1]) is axes[1]
    assert learning_curves({"gru": [history([1, 2])]}, axes[2]) is axes[2]
    assert len(plt.get_fignums()) == number


def test_a_figure_is_the_same_file_every_time(roll):
    def drawn() -> str:
        stream = io.StringIO()
        gate_map({"z": np.linspace(0, 1, 40).reshape(8, 5)}, roll).savefig(
            stream, format="svg", metadata={"Date": None}
        )
        return stream.getvalue()

    assert drawn() == drawn()
    picture = re.search(r'<image[^>]*base64,([^"]+)"', drawn())[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (8, 5)  # a pixel a value

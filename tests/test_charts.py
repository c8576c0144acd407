"""The plots of results: what is drawn is what the records say, in the units' colours."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from gatedrnn import charts, claims, comparison
from gatedrnn.figures import COLORS, use_style
from gatedrnn.palette import BAD, GOOD, UNSURE
from gatedrnn.statistics import Estimate, interval


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def bars(ax) -> dict[float, tuple[float, float, float, str]]:
    """y -> (mean, low, high, colour) of each error bar."""
    drawn = {}
    for container in ax.containers:
        point, _, (line,) = container.lines
        (low, y), (high, _) = line.get_segments()[0]
        drawn[round(float(y), 6)] = (float(point.get_xdata()[0]), low, high, to_hex(point.get_color()).upper())
    return drawn


def test_intervals_stand_in_rows_with_their_seeds():
    values, estimate = np.array([0.1, 0.2, 0.3]), Estimate(-0.2, 0.05, 4)
    ax = charts.interval_plot({"Nottingham": {"tanh - GRU": values, "LSTM - GRU": estimate}}, margin=0.1)
    (_, gru), (_, both) = sorted(bars(ax).items())
    mean, half = interval(values)
    assert gru[:3] == pytest.approx((mean, mean - half, mean + half)) and gru[3] == COLORS["gru"]
    assert both[:3] == pytest.approx((-0.2, -0.2 - estimate.half, -0.2 + estimate.half))
    seeds = [line for line in ax.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3]
    assert len(seeds) == 1 and list(seeds[0].get_xdata()) == values.tolist()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["Nottingham"]


def test_the_forest_shows_ours_beside_the_papers(made):
    frame = comparison.table([made(), made("tanh"), made(column="best"), made(data="speech_a")])
    figure = charts.forest(frame)
    music, speech = figure.axes
    assert (music.get_title(loc="left"), speech.get_title(loc="left")) == ("JSB Chorales", "Speech A")
    assert sorted(mean for mean, *_ in bars(music).values()) == pytest.approx([8.5, 8.5, 8.5])  # per seq., after first
    stars = [line.get_xdata()[0] for line in music.lines if line.get_marker() == "*"]
    assert sorted(stars) == [8.54, 8.54, 9.1] and not [line for line in speech.lines if line.get_marker() == "*"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["paper", "best", "the paper's figure"]
    with pytest.raises(ValueError, match="choose some"):
        charts.forest(comparison.table([made(column=name) for name in "abcde"]))


def test_costs_stand_in_common_rows_with_a_marker_a_data_set():
    small, large = Estimate(0.05, 0.01, 4), Estimate(3.0, 0.2, 60)
    reset, forget = ("gru", "r = 1"), ("lstm", "f = 1")
    figure = charts.cost_panels({
        "retrained": {reset: {"nottingham": small, "jsb_chorales": small}, forget: {"jsb_chorales": small}},
        "at once": {reset: {"jsb_chorales": large}},
    })  # fmt: skip
    trained, at_once = figure.axes
    assert [text.get_text() for text in trained.get_yticklabels()] == ["GRU, r = 1", "LSTM, f = 1"]
    drawn = bars(trained)
    assert len(drawn) == 3 and [y > 0.5 for y in sorted(drawn)] == [False, False, True]
    mean, low, high, color = drawn[max(drawn)]
    assert (mean, low, high) == pytest.approx((0.05, 0.05 - small.half, 0.05 + small.half))
    assert color == COLORS["lstm"]
    ((mean, low, high, color),) = bars(at_once).values()
    assert (mean, low, high) == pytest.approx((3.0, 3 - large.half, 3 + large.half)) and color == COLORS["gru"]
    assert trained.get_xlim() == at_once.get_xlim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Nottingham", "JSB Chorales"]
    wide = {"gain": {reset: {"nottingham": Estimate(-0.9, 0.1, 4)}}, "loss": {reset: {"nottingham": large}}}
    assert [mark for mark in charts.cost_panels(wide, linear=0.2).axes[0].get_xticks() if mark < 0] == [-1]
    beyond = charts.cost_panels({"": {forget: {"jsb_chorales": Estimate(21.0, 0.2, 60)}}}).axes[0]
    assert not bars(beyond) and [line.get_xdata()[0] for line in beyond.lines if line.get_marker() == ">"] == [20.0]
    with pytest.raises(ValueError, match="choose some"):
        charts.cost_panels({"": {reset: dict.fromkeys("abcdefg", small)}})


def test_learning_curves_stand_side_by_side(made):
    runs = {name: {"gru": claims.histories(made(data=name))} for name in ("jsb_chorales", "speech_a", "nottingham")}
    figure = charts.small_multiples(runs, by="update")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["JSB Chorales", "Speech A", "Nottingham"]
    assert list(figure.axes[0].lines[0].get_xdata()) == [0, 10, 20, 30]
    low, high = figure.axes[0].get_ylim()
    assert low < 8.3 < 8.5 <= high + 1e-9 and figure._supxlabel.get_text() == "updates"


def test_claims_are_cells_with_a_sign_and_a_colour():
    judged = {
        "GRU better": {"nottingham": claims.SUPPORTED, "speech_a": claims.AGAINST},
        "alike": {"nottingham": claims.OPEN, "speech_a": claims.MISSING},
        "all": {"nottingham": claims.MIXED},
    }
    ax = charts.claim_matrix(judged, {"alike": {"nottingham": "+0.02 ± 0.05"}})
    colors = [to_hex(patch.get_facecolor()).upper() for patch in ax.patches]
    assert colors == [GOOD, BAD, UNSURE, "#FFFFFF", UNSURE, "#FFFFFF"]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["+", "−", "?", "+0.02 ± 0.05", "±"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["Nottingham", "Speech\nA"]


def test_the_plane_has_every_network_and_the_papers(made):
    variant = made(variant="reset_after", size="same_hidden")  # no network of a whole unit
    found = {comparison.place(record): record for record in (made(), made("lstm"), made(column="best"), variant)}
    (ax,) = charts.train_test_plane(found, ["jsb_chorales"], ["paper", "best"]).axes
    stars = {(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "*"}
    assert stars == {(6.94, 8.54), (8.15, 8.67)}
    circles = [line for line in ax.lines if line.get_marker() == "s"]
    assert sorted(line.get_fillstyle() for line in circles) == ["full", "none"]
    for line in circles:
        assert line.get_xdata().tolist() == pytest.approx([7.3, 7.5, 7.7])

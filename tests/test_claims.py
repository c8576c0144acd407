"""The rules of the verdicts, on small records made here and on those of the study."""

import math
from pathlib import Path

import numpy as np
import pytest

from gatedrnn import claims as c
from gatedrnn import comparison
from gatedrnn.statistics import Estimate

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"


@pytest.mark.parametrize(
    "values, is_better, is_alike",
    [
        ((0.30, 0.31, 0.32), c.SUPPORTED, c.AGAINST),
        ((-0.30, -0.31, -0.32), c.AGAINST, c.AGAINST),
        ((0.04, 0.05, 0.06), c.SUPPORTED, c.SUPPORTED),  # a difference, and a small one
        ((-0.01, 0.0, 0.01), c.OPEN, c.SUPPORTED),
        ((-0.4, 0.1, 0.5), c.OPEN, c.OPEN),
    ],
)
def test_a_verdict_is_where_the_interval_lies(values, is_better, is_alike):
    assert c.better(values) == is_better
    assert c.alike(values) == c.alike([-v for v in values]) == is_alike


def test_arrival_is_the_first_time_at_the_level_on_straight_lines(made):
    curve = made(valid=(9.0, 8.5, 8.3, 8.6, 8.2), pace=2.0)["runs"][0]["curve"]
    assert np.allclose([c.arrival(curve, 8.4, by) for by in ("epoch", "update", "seconds")], [1.5, 15, 3.0])
    assert c.arrival(curve, 8.5) == 10 and c.arrival(curve, 8.1) == math.inf and c.arrival(curve, 9.5) == 0
    assert c.arrival(curve | {"valid": [9.0, None, 8.0, 8.0, 8.0]}, 8.5, "epoch") == 2  # null: not finite


def test_lead_is_timed_to_just_above_the_slow_units_best(made):
    slow = made("tanh", valid=(9.0, 8.9, 8.7, 8.55, 8.5))  # within 0.05 of 8.5 after 3 epochs
    assert np.allclose(c.lead(slow, made(valid=(9.0, 8.55, 8.3))), math.log(3))
    assert np.allclose(c.lead(slow, made(valid=(9.0, 8.55, 8.3), pace=4.0), "seconds"), math.log(3 / 4))
    assert (c.lead(slow, made(valid=(9.0, 8.6, 8.56))) == -math.inf).all()
    assert np.allclose(c.lead(slow, slow), 0)
    still = made("tanh", valid=(9.0, 9.2, 9.1))  # never better than its start
    assert (c.lead(still, slow) == math.inf).all() and (c.lead(still, still) == -math.inf).all()
    at_once = made(valid=(8.5, 8.4, 8.3))  # better before its first update
    assert (c.lead(slow, at_once) == math.inf).all()


def test_a_unit_that_never_left_its_start_is_the_same_by_every_clock(made):
    """The first validation takes time, too: seconds do not begin at 0."""
    still, fast = made("tanh", valid=(9.0, 9.2, 9.1)), made(valid=(9.0, 8.8, 8.3))
    for record in (still, fast):
        for run in record["runs"]:
            run["curve"]["seconds"] = [1.5 + second for second in run["curve"]["seconds"]]
    for by in ("epoch", "update", "seconds"):
        assert (c.lead(still, fast, by) == math.inf).all() and (c.lead(still, still, by) == -math.inf).all()
    assert c.faster(c.lead(still, fast, "seconds")) == c.SUPPORTED


def test_the_best_epoch_of_a_curve_that_was_validated_now_and_then(made):
    slow, fast = made("tanh", valid=(9.0, 8.9, 8.7, 8.55, 8.5)), made(valid=(9.0, 8.55, 8.3))
    for record, every in ((slow, 5), (fast, 3)):
        for run in record["runs"]:
            curve = run["curve"]
            curve["epoch"], curve["best_epoch"] = [every * k for k in curve["epoch"]], every * curve["best_epoch"]
    assert np.allclose(c.lead(slow, fast, "epoch"), math.log(3 * 5 / 3))
    assert c.seconds_a_step(slow) == pytest.approx(1 / 5 / 100)


def test_a_verdict_from_an_estimate_is_from_its_interval():
    sure, open_ = Estimate(0.3, 0.05, 8), Estimate(0.3, 0.2, 8)
    assert c.better(sure) == c.SUPPORTED and c.alike(sure) == c.AGAINST
    assert c.better(open_) == c.alike(open_) == c.OPEN


def test_faster_needs_every_curve_to_arrive():
    assert c.faster([0.5, 0.6, 0.7]) == c.SUPPORTED
    assert c.faster([0.5, 0.6, -math.inf]) == c.OPEN
    assert c.faster([0.5, -math.inf, -math.inf]) == c.AGAINST
    assert c.faster([-0.5, -0.6, -0.7]) == c.AGAINST
    assert c.faster([0.5, math.inf, math.inf]) == c.SUPPORTED
    assert c.faster([-math.inf, math.inf, math.inf]) == c.OPEN


def study(made, gru_pace: float, other_pace: float):
    """Two data sets; the GRU arrives after a third of the tanh unit's epochs."""
    found = {}
    for name, pace in (("jsb_chorales", gru_pace), ("nottingham", other_pace)):
        found["paper", name, "tanh"] = made("tanh", (9.0, 9.1, 9.2), (9.0, 8.9, 8.7, 8.5), data=name)
        found["paper", name, "gru"] = made("gru", (8.0, 8.1, 8.2), (9.0, 8.5, 8.3), pace, data=name)
    return found


def test_the_clock_is_what_both_clocks_say(made):
    data = ("jsb_chorales", "nottingham")
    found = study(made, 2, 5)
    assert c.price(found, found["paper", "nottingham", "gru"], data) == 0.02
    found["paper", "jsb_chorales", "gru"]["environment"]["device"] = "another"
    assert c.price(found, found["paper", "nottingham", "gru"], data) == 0.05
    assert c.faster_by_clock(found, "paper", data[0], "gru", data) == c.OPEN
    assert c.faster_by_clock(study(made, 2, 2), "paper", data[0], "gru", data) == c.SUPPORTED
    assert c.faster_by_clock(study(made, 9, 9), "paper", data[0], "gru", data) == c.AGAINST
    assert c.faster_by_clock(study(made, 9, 2), "paper", data[0], "gru", data) == c.OPEN  # slow here, cheap elsewhere


def test_verdicts_name_what_is_not_there(made):
    claims = c.verdicts(study(made, 2, 2), "paper", "jsb_chorales", ("jsb_chorales", "nottingham"))
    assert claims["GRU better than tanh"] == claims["GRU faster, by updates"] == c.SUPPORTED
    assert {claims[name] for name in claims if "LSTM" in name} == {c.MISSING}
    assert set(c.verdicts({}, "paper", "jsb_chorales", ()).values()) == {c.MISSING}


def test_clearest_needs_intervals_that_do_not_overlap():
    small, large, wide = (0.1, 0.11, 0.12), (2.0, 2.1, 2.2), (-1.0, 1.0, 3.0)
    assert c.clearest([large], [small, small]) == c.SUPPORTED
    assert c.clearest([small], [large, small]) == c.AGAINST
    assert c.clearest([large, small], [small]) == c.clearest([wide], [small]) == c.OPEN
    assert c.clearest([], [small]) == c.MISSING
    alone = (5.0,)  # of a single seed nothing says how sure it is
    for here, elsewhere in (([alone], [small]), ([small], [alone]), ([large, alone], [small])):
        assert c.clearest(here, elsewhere) == c.clearest(here[::-1], elsewhere) == c.OPEN
    assert c.clearest([small], [large, alone]) == c.clearest([small], [alone, large]) == c.AGAINST


def test_overall_is_the_majority_without_contradiction():
    yes, no, undecided, missing = c.SUPPORTED, c.AGAINST, c.OPEN, c.MISSING
    assert c.overall([yes, yes, undecided]) == c.overall([yes, missing]) == yes
    assert c.overall([no, no, undecided]) == no
    assert c.overall([yes, yes, no]) == c.overall([yes, no, no, undecided]) == c.MIXED
    assert c.overall([yes, undecided]) == undecided
    assert c.overall([missing]) == missing


def test_the_committed_records_can_be_compared():
    found = comparison.read(RESULTS)
    music = [name for name in ("jsb_chorales", "nottingham", "muse_data", "piano_midi")
             if all(("paper", name, unit) in found for unit in ("tanh", "gru"))]  # fmt: skip
    assert music
    for name in music:
        claims = c.verdicts(found, "paper", name, music)
        assert claims["GRU better than tanh"] in (c.SUPPORTED, c.AGAINST, c.OPEN)
        history = c.histories(found["paper", name, "gru"])[0]
        assert math.isnan(history.train[0]) and history.best_valid == min(history.valid)


def test_halving_is_replayed_on_full_curves():
    slow, fast, bad = [9.0, 8.9, 8.0, 7.0], [9.0, 8.0, 7.9, 7.9], [9.0, 9.5, 9.5, 9.5]
    assert c.would_keep([slow, fast, bad], ((1, 2), (2, 1))) == (1, 3 + 2)
    assert c.would_keep([slow, fast, bad], ((1, 2), (3, 1))) == (0, 3 + 4)


def test_summary_counts_the_sets_and_keeps_its_rows_in_order(made):
    found = study(made, 2, 2)
    frame = c.summary(found, "paper")
    assert frame.loc["GRU better than tanh"].tolist() == [c.SUPPORTED, "N J", "–", "–"]
    assert frame.loc["LSTM better than tanh", "verdict"] == c.MISSING
    assert frame.loc["clearest on speech", "verdict"] == c.MISSING
    fast = ["faster" in claim for claim in frame.index]
    assert fast == sorted(fast)
    assert c.judged(found, "paper")["GRU better than tanh"]["muse_data"] == c.MISSING


def test_order_joins_what_cannot_be_told_apart(made):
    found = {("paper", "x", "tanh"): made("tanh", (9.0, 9.1, 9.2)), ("paper", "x", "gru"): made("gru", (8.0, 8.1, 8.2)),
             ("paper", "x", "lstm"): made("lstm", (8.1, 7.9, 8.4))}  # fmt: skip
    assert c.order(found, "paper", "x") == "GRU ≈ LSTM < tanh"
    assert c.printed_order("nottingham") == "tanh < LSTM < GRU"
    del found["paper", "x", "lstm"]
    assert c.order(found, "paper", "x") == "GRU < tanh" and c.order(found, "best", "x") == c.MISSING


def test_curves_at_the_quiet_price_begin_at_0_and_cost_the_same_everywhere(made):
    data = ("jsb_chorales", "nottingham")
    found = study(made, 2, 5)
    (run, *_) = c.at_quiet_price(found, found["paper", "nottingham", "gru"], data)
    steps = found["paper", "nottingham", "gru"]["runs"][0]["scores"]["train"]["steps"]
    assert run.seconds == pytest.approx([0.02 * steps * epoch for epoch in run.epoch])


def test_verdicts_are_from_the_test_scores_pooled(made):
    """Others would be given by training scores and by another average, were they looked at."""
    tanh, gru = made("tanh", (9.0, 9.1, 9.2)), made("gru", (8.0, 8.1, 8.2))
    for run in tanh["runs"]:
        run["scores"]["train"]["pooled"] = run["scores"]["test"]["per_sequence"] = 1.0
    found = {("paper", "nottingham", "tanh"): tanh, ("paper", "nottingham", "gru"): gru}
    assert c.verdicts(found, "paper", "nottingham", ("nottingham",))["GRU better than tanh"] == c.SUPPORTED

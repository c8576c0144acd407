"""Intervals over seeds, pieces and choices, held against closed forms and simulations with a known answer."""

import numpy as np
import pytest
from scipy import stats

from gatedrnn.statistics import Group, estimate, holm, interval, over_pieces


def test_the_interval_is_students():
    values = [8.0, 8.2, 8.4, 8.1]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert np.isnan(interval([1.0])[1])


def test_without_pieces_an_estimate_is_students_and_a_difference_is_welchs():
    a, b = np.array([8.0, 8.2, 8.4, 8.1]), np.array([7.9, 8.5, 8.1])
    alone, apart = estimate([(1, Group(a))]), estimate([(1, Group(a)), (-1, Group(b))])
    assert (alone.mean, alone.half) == pytest.approx(interval(a))
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert apart.p == pytest.approx(welch.pvalue) and apart.freedom == pytest.approx(welch.df)
    low, high = welch.confidence_interval()
    assert (apart.mean - apart.half, apart.mean + apart.half) == pytest.approx((low, high))
    assert set(apart.shares) == {"seeds"}


def test_a_single_seed_has_no_interval():
    one = estimate([(1, Group(np.array([8.0])))])
    assert one.mean == 8.0 and np.isnan(one.half) and np.isnan(one.p)


def test_no_difference_at_all_is_not_a_sure_one():
    """A lesion of what a network does not use costs 0 on every piece."""
    assert over_pieces([0.0, 0.0, 0.0], [3, 4, 5]).p == 1
    assert over_pieces([3.0, 4.0, 5.0], [3, 4, 5]).p == pytest.approx(0)


def simulated(random, seeds=5, pieces=60, seed_sd=0.05, piece_sd=0.0, shift=0.0, steps=None, ease=None):
    """Networks that differ by seed_sd, on pieces whose difficulty differs from group to group by piece_sd."""
    steps = np.full(pieces, 50.0) if steps is None else steps
    mean = 8 + shift + seed_sd * random.standard_normal((seeds, 1)) + piece_sd * random.standard_normal(pieces)
    nll = (mean + (0 if ease is None else ease)) * steps
    return Group(nll.sum(1) / steps.sum(), nll)


def test_what_all_groups_share_on_a_piece_cancels_and_what_they_do_not_counts():
    random = np.random.default_rng(1)
    steps, ease = random.integers(20, 90, 60).astype(float), 2 * random.standard_normal(60)
    a, b = (simulated(random, steps=steps, ease=ease) for _ in range(2))
    same = estimate([(1, a), (-1, b)], steps)
    assert same.shares["pieces"] < 0.05 * same.shares["seeds"]  # hard pieces are hard for both
    a, b = (simulated(random, steps=steps, ease=ease, piece_sd=1.0) for _ in range(2))
    apart = (a.nll - b.nll).mean(0) / steps  # a piece's own
    weighted = (apart - np.average(apart, weights=steps)) * steps / steps.mean()
    pooled, per_sequence = (estimate([(1, a), (-1, b)], steps, per_sequence) for per_sequence in (False, True))
    assert pooled.shares["pieces"] == pytest.approx(weighted.var(ddof=1) / 60, rel=0.1)
    assert per_sequence.shares["pieces"] == pytest.approx(apart.var(ddof=1) / 60, rel=0.1)


@pytest.mark.parametrize("seeds", [3, 5])
def test_95_of_100_intervals_hold_the_truth(seeds):
    random = np.random.default_rng(2)
    steps = np.full(40, 50.0)
    trials = [
        estimate([(1, simulated(random, seeds, 40, 0.05, 0.2)), (-1, simulated(random, seeds, 40, 0.05, 0.2))], steps)
        for _ in range(300)
    ]
    assert 0.92 <= np.mean([abs(trial.mean) <= trial.half for trial in trials]) <= 0.98
    assert 0.02 <= np.mean([trial.p < 0.05 for trial in trials]) <= 0.08


def test_pieces_of_one_network_add_to_the_seeds_of_many():
    random = np.random.default_rng(3)
    whole = simulated(random, piece_sd=1.0)
    first = Group(whole.scores, whole.nll[:1])
    steps = np.full(60, 50.0)
    both, one = estimate([(1, whole)], steps), estimate([(1, first)], steps)
    assert one.shares["seeds"] == both.shares["seeds"] and one.shares["pieces"] == pytest.approx(1 / 60, rel=0.5)
    assert one.error == pytest.approx(both.error, rel=0.1)


def test_the_same_values_give_the_same_interval_and_other_pieces_are_refused():
    random = np.random.default_rng(4)
    a = simulated(random, piece_sd=1.0)
    steps = np.full(60, 50.0)
    assert estimate([(1, a)], steps) == estimate([(1, a)], steps)
    with pytest.raises(ValueError, match="same test pieces"):
        estimate([(1, a), (-1, simulated(random, pieces=59))], steps)


def test_a_choice_between_near_equals_widens_the_interval_and_a_clear_one_does_not():
    scores = np.array([8.0, 8.1, 8.2])
    plain = estimate([(1, Group(scores))])
    clear = (np.array([8.0, 8.01, 8.02]), np.array([9.0, 9.1, 9.2]))
    close = (np.array([8.0, 8.3, 8.6]), np.array([8.1, 8.35, 8.6]))
    assert estimate([(1, Group(scores, choose=clear))]).half == pytest.approx(plain.half)
    wide = estimate([(1, Group(scores, choose=close))])
    assert 0 < wide.shares["choice"] <= (0.05 / 2) ** 2 + 1e-12 and wide.error > plain.error


def test_holm_is_as_in_its_definition():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1] and holm([]).size == 0
    assert holm([0.05]) == pytest.approx([0.05])

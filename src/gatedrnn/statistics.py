"""How sure a mean is: intervals over seeds, test pieces and the choice of hyperparameters.

Three layers. `interval` is Student's, over one value a seed. `over_pieces` is for one network, over the test pieces.
`estimate` is for a sum of groups with coefficients, such as full - ablated, and covers what else could have come out
otherwise:

* seeds: each group's networks were trained from seeds of their own;
* pieces: all groups were scored on the same test pieces, a sample of the music;
* choice: with other seeds in the middle stage another candidate would have been chosen.

Seeds and pieces are drawn anew together (a nested bootstrap), n - 1 out of n with replacement, which makes the variance
of a mean come out unbiased (Rao and Wu, 1988). The interval is Student's around the estimate, with the standard error
of those draws and the degrees of freedom of Satterthwaite (1946), of seeds and pieces. The draws have a fixed seed: the
same values give the same interval, always.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .extras import Extra

with Extra("records"):
    from scipy.stats import t as student

DRAWS = 4000


def interval(values: "ArrayLike | Estimate") -> tuple[float, float]:
    """Mean and half-width of its 95 % confidence interval (Student's t) of one value a seed; nan for a single value.

    Of an `Estimate`, its own.

    >>> [round(number, 3) for number in interval([8.0, 8.2, 8.4])]
    [8.2, 0.497]
    """
    of = values if isinstance(values, Estimate) else estimate([(1, Group(np.asarray(values, dtype=float)))])
    return of.mean, of.half


@dataclass(frozen=True)
class Group:
    """Networks that differ by their seed only.

    scores : (n,), the NLL of each in nats a step. nll : (n, m), the total NLL in nats of each network, or of the first
    only (1, m), on each of m test pieces; None if not known. choose : for each candidate of the middle stage, the
    validation NLL of its seeds; the first candidate is the one that was chosen.
    """

    scores: np.ndarray
    nll: np.ndarray | None = None
    choose: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference in nats a step: its standard error, degrees of freedom, and what the error is made of.

    shares : variance by source, "seeds", "pieces", "choice"; a source that is not known is not in it.
    """

    mean: float
    error: float
    freedom: float
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def half(self) -> float:
        """Half-width of the 95 % interval; nan if nothing tells how sure the mean is."""
        return float(student.ppf(0.975, self.freedom) * self.error) if self.freedom > 0 else math.nan

    @property
    def p(self) -> float:
        """Two-sided p-value of a mean of 0; nan as for `half`, 1 where there is neither a difference nor an error."""
        if not self.freedom > 0:
            return math.nan
        if not self.error:
            return float(self.mean == 0)
        return float(2 * student.sf(abs(self.mean) / self.error, self.freedom))


def estimate(
    terms: Sequence[tuple[float, Group]], steps: ArrayLike | None = None, per_sequence: bool = False
) -> Estimate:
    """The sum of coefficient x group mean, over seeds, pieces and choices.

    steps : (m,), the length of each test piece, the same for all groups. Without it, or where a group has no `nll`, the
    pieces have no share. per_sequence : average over pieces, not pooled over their steps. Raises ValueError for pieces
    that do not fit together.

    >>> one, two = Group(np.array([8.0, 8.2, 8.4])), Group(np.array([8.1, 8.2, 8.3]))
    >>> round(estimate([(1, one), (-1, two)]).half, 3)
    0.416
    """
    mean = float(sum(c * group.scores.mean() for c, group in terms))
    counts = [len(group.scores) for _, group in terms]
    if min(counts) < 2:
        return Estimate(mean, math.nan, 0)
    by_group = [c**2 * group.scores.var(ddof=1) / n for (c, group), n in zip(terms, counts, strict=True)]
    shares, freedom = {"seeds": float(sum(by_group))}, 0.0
    freedom += sum(v**2 / (n - 1) for v, n in zip(by_group, counts, strict=True))
    scored = [group.nll for _, group in terms if group.nll is not None]
    if steps is not None and len(scored) == len(terms):
        steps = np.asarray(steps, dtype=float)
        both = float(_draws([c for c, _ in terms], scored, steps, per_sequence).var())
        drawn_too = sum(v for v, nll in zip(by_group, scored, strict=True) if len(nll) > 1)
        shares["pieces"] = max(both - float(drawn_too), 0.0)
        freedom += shares["pieces"] ** 2 / (len(steps) - 1)
    freedom = sum(shares.values()) ** 2 / freedom if freedom else math.inf
    if any(len(group.choose) > 1 for _, group in terms):  # makes the interval wider, never surer
        shares["choice"] = float(sum(c**2 * _choice(group.choose) for c, group in terms))
    return Estimate(mean, math.sqrt(sum(shares.values())), freedom, shares)


def over_pieces(nll: ArrayLike, steps: ArrayLike) -> Estimate:
    """The pooled mean of what one network loses or gains on each of m pieces, over the pieces alone.

    nll : (m,), nats in all on each piece; steps : (m,), its length. The error is that of a ratio of two sums. With a
    single piece nothing tells how sure the mean is.

    >>> one = over_pieces([2.0, 6.0, 5.0], [10, 20, 20])
    >>> round(one.mean, 3), round(one.error, 3)
    (0.26, 0.025)
    """
    nll, steps = np.asarray(nll, dtype=float), np.asarray(steps, dtype=float)
    m, mean = len(steps), float(nll.sum() / steps.sum())
    if m < 2:
        return Estimate(mean, math.nan, 0)
    variance = float(((nll - mean * steps) ** 2).sum() * m / (m - 1) / steps.sum() ** 2)
    return Estimate(mean, math.sqrt(variance), m - 1, {"pieces": variance})


def _draws(
    coefficients: Sequence[float], scored: Sequence[np.ndarray], steps: np.ndarray, per_sequence: bool
) -> np.ndarray:
    """The estimate (DRAWS,) on seeds and pieces drawn anew; a group whose pieces are one network's keeps that one."""
    random, m = np.random.default_rng(0), len(steps)
    if m < 2 or any(nll.shape[1] != m for nll in scored):
        raise ValueError(f"every group must be scored on the same test pieces, two at least; steps has {m}")
    drawn = random.multinomial(m - 1, np.full(m, 1 / m), size=DRAWS)  # how often each piece is in a draw
    total = np.zeros(DRAWS)
    for coefficient, nll in zip(coefficients, scored, strict=True):
        pooled = drawn @ nll.T / (drawn @ steps)[:, None]
        of_network = drawn @ (nll / steps).T / (m - 1) if per_sequence else pooled
        n = len(nll)
        weights = random.multinomial(n - 1, np.full(n, 1 / n), size=DRAWS) / (n - 1) if n > 1 else np.ones((DRAWS, 1))
        total += coefficient * (of_network * weights).sum(1)
    return total


def _choice(candidates: Sequence[np.ndarray]) -> float:
    """Variance of the validation NLL of the candidate that is chosen, when each one's seeds are drawn anew."""
    if len(candidates) < 2:
        return 0.0
    random, means = np.random.default_rng(0), np.array([np.mean(values) for values in candidates])
    again = [np.mean(random.choice(values, (DRAWS, max(len(values) - 1, 1))), axis=1) for values in candidates]
    return float(means[np.argmin(again, axis=0)].var())


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values adjusted for their number (Holm, 1979): below 0.05 means sure although so many were looked at.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted

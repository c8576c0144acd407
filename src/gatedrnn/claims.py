"""The paper's claims, judged on the records by rules that are fixed here.

A verdict is SUPPORTED, AGAINST or OPEN; over several data sets also MIXED; MISSING where a record is not there yet. It
comes from an interval. That of a difference between units is `comparison.difference`'s, over seeds and, where a record
has them, test pieces and the choice of hyperparameters. Differences are in nats a step.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .comparison import MUSIC, PAPER_TABLE_2, SETS, SPEECH, Found, difference, scores
from .extras import Extra
from .history import History
from .records import CURVE, best_valid
from .statistics import Estimate, interval
from .units import UNITS

with Extra("records"):
    import pandas as pd

SUPPORTED, AGAINST, OPEN, MISSING = "supported", "not supported", "no conclusion", "no record"
MIXED = "mixed"  # supported on some data sets and not supported on others

ALIKE = 0.1  # nats a step: units that differ by less are alike; the likelihood of a step then differs by less than 11 %
NEAR = 0.05  # nats a step: a curve that comes so near to the tanh unit's best has arrived
LETTERS = dict(zip(SETS, "NJMPAB", strict=True))  # of the data sets, in a narrow table

Differences = Sequence[float] | np.ndarray | Estimate  # one value a seed, or an estimate


def better(differences: Differences) -> str:
    """Is the second of a pair better? Yes if the interval lies above 0, not so if it lies below.

    >>> better([0.3, 0.31, 0.32]), better([-0.4, 0.1, 0.5])
    ('supported', 'no conclusion')
    """
    mean, half = interval(differences)
    return SUPPORTED if mean > half else AGAINST if mean < -half else OPEN


def alike(differences: Differences, margin: float = ALIKE) -> str:
    """Are two units alike? Yes if the whole interval is nearer to 0 than the margin, not so if all of it is further."""
    mean, half = interval(differences)
    return SUPPORTED if abs(mean) + half < margin else AGAINST if abs(mean) - half > margin else OPEN


def arrival(curve: Mapping, level: float, by: str = "update") -> float:
    """When a learning curve first comes down to a validation NLL, by "epoch", "update" or "seconds"; inf if never.

    Between two epochs the curve is taken as straight.
    """
    nll = np.array([math.inf if value is None else value for value in curve["valid"]])
    if not (nll <= level).any():
        return math.inf
    end = int(np.argmax(nll <= level))
    if end == 0 or not math.isfinite(nll[end - 1]):
        return float(curve[by][end])
    part = (nll[end - 1] - level) / (nll[end - 1] - nll[end])
    return float(curve[by][end - 1] + part * (curve[by][end] - curve[by][end - 1]))


def lead(slow: dict, fast: dict, by: str = "update") -> np.ndarray:
    """log(arrival of `slow` / arrival of `fast`), a value a seed: above 0 where `fast` is faster.

    The level is NEAR above the best of the slow unit's own run with that seed: the slow one arrives by construction.
    -inf where the fast one never arrives; inf where it is there from its start, or where the slow one never left its
    start, whatever the clock shows then, and the fast one did.
    """
    curves = [(one["curve"], other["curve"]) for one, other in zip(slow["runs"], fast["runs"], strict=True)]
    levels = [best_valid(one) + NEAR for one, _ in curves]
    first, second = (
        np.array([arrival(pair[k], level, by) for pair, level in zip(curves, levels, strict=True)]) for k in (0, 1)
    )
    start, other_start = (np.array([float(pair[k][by][0]) for pair in curves]) for k in (0, 1))
    moved = np.array([other["best_epoch"] > 0 for _, other in curves])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(first) - np.log(np.where(second > other_start, second, 0.0))
    return np.where(first > start, ratios, np.where(moved, np.inf, -np.inf))


def faster(ratios: Sequence[float] | np.ndarray) -> str:
    """Is a unit faster? By the interval of its log ratios if every curve arrives; not so if most never do.

    Yes if no curve fails to arrive and most of those it is held against never left their start.
    """
    never, always = np.isneginf(ratios), np.isposinf(ratios)
    if never.any():
        return AGAINST if never.mean() > 0.5 else OPEN
    if always.any():
        return SUPPORTED if always.mean() > 0.5 else OPEN
    return better(ratios)


def seconds_a_step(record: dict) -> float:
    """Seconds of computing for a time step of training one network, with its share of the validation after each epoch.

    The median over the epochs of all runs: what the machine gave at the time, with whatever else it was doing.
    """
    steps = record["runs"][0]["scores"]["train"]["steps"]
    paces = [np.diff(run["curve"]["seconds"]) / np.diff(run["curve"]["epoch"]) for run in record["runs"]]
    return float(np.median(np.concatenate(paces))) / steps


def machine(record: dict) -> tuple:
    """Processor, cores, device and engine: seconds are compared within one machine only."""
    there = record["environment"]
    return there["processor"], there["cores"], there["device"], there.get("engine") or "torch"


def price(found: Found, like: dict, data: Iterable[str]) -> float:
    """The least `seconds_a_step` over data sets, for the unit, column and machine of a record: the least disturbed."""
    same = [found.get((like["column"], name, like["unit"])) for name in data]
    return min(seconds_a_step(record) for record in [like, *same] if record and machine(record) == machine(like))


def at_quiet_price(found: Found, record: dict, data: Iterable[str]) -> list[History]:
    """The `histories` of a record with seconds as if every epoch had been computed at its least disturbed `price`."""
    epoch = price(found, record, data) * record["runs"][0]["scores"]["train"]["steps"]
    runs = histories(record)
    for run in runs:
        run.seconds = [epoch * number for number in run.epoch]
    return runs


def faster_by_clock(found: Found, column: str, name: str, unit: str, data: Iterable[str]) -> str:
    """Is a unit faster than the tanh unit in time? What two clocks agree on; OPEN if they do not, or on two machines.

    One is the recorded seconds, which other work on the machine disturbs; the other counts updates, each at the unit's
    `price` over the data sets `data`, whose models have the same size.
    """
    slow, fast = found[column, name, "tanh"], found[column, name, unit]
    if machine(slow) != machine(fast):
        return OPEN
    ratio = price(found, slow, data) / price(found, fast, data)
    verdicts = {faster(lead(slow, fast, "seconds")), faster(lead(slow, fast) + math.log(ratio))}
    return verdicts.pop() if len(verdicts) == 1 else OPEN


def verdicts(found: Found, column: str, name: str, data: Iterable[str]) -> dict[str, str]:
    """Claim -> verdict on one data set. data : the sets with models of the same size, for the clock."""
    tanh, gru, lstm = (found.get((column, name, unit)) for unit in ("tanh", "gru", "lstm"))
    claims: dict[str, str] = {}
    for unit, gated in (("gru", gru), ("lstm", lstm)):
        three = (MISSING, MISSING, MISSING)
        if tanh and gated:
            by_clock = faster_by_clock(found, column, name, unit, data)
            three = (better(difference(tanh, gated)), faster(lead(tanh, gated)), by_clock)
        said = ("better than tanh", "faster, by updates", "faster, by the clock")
        claims |= {f"{UNITS[unit].title} {claim}": verdict for claim, verdict in zip(said, three, strict=True)}
    return claims | {"GRU and LSTM alike": alike(difference(lstm, gru)) if gru and lstm else MISSING}


def clearest(here: Iterable[Differences], elsewhere: Iterable[Differences]) -> str:
    """Is an advantage larger on every data set here than on any elsewhere? By intervals that do not overlap."""
    here, elsewhere = ([interval(values) for values in group] for group in (here, elsewhere))
    if not here or not elsewhere:
        return MISSING
    (ours, half), (theirs, other) = np.transpose(here), np.transpose(elsewhere)  # half: nan where nothing says how sure
    if np.min(ours - half) > np.max(theirs + other):
        return SUPPORTED
    return AGAINST if np.max(ours + half) < np.fmax.reduce(theirs - other) else OPEN


def overall(several: Iterable[str]) -> str:
    """One verdict over the data sets recorded: what more than half of them say, MIXED if they contradict, else OPEN."""
    known = [verdict for verdict in several if verdict != MISSING]
    if SUPPORTED in known and AGAINST in known:
        return MIXED
    for verdict in (SUPPORTED, AGAINST):
        if known.count(verdict) > len(known) / 2:
            return verdict
    return OPEN if known else MISSING


def judged(found: Found, column: str) -> dict[str, dict[str, str]]:
    """Claim -> data set -> verdict, on every set of the paper's table."""
    claims: dict[str, dict[str, str]] = {}
    for name in SETS:
        for claim, verdict in verdicts(found, column, name, MUSIC if name in MUSIC else SPEECH).items():
            claims.setdefault(claim, {})[name] = verdict
    return claims


def summary(found: Found, column: str) -> pd.DataFrame:
    """One row a claim: the verdict over all sets, and on which of them (LETTERS) it holds, does not, or stays open."""
    rows = {}
    for claim, by_set in judged(found, column).items():
        where = [" ".join(LETTERS[name] for name, v in by_set.items() if v == word) for word in
                 (SUPPORTED, AGAINST, OPEN)]  # fmt: skip
        rows[claim] = [overall(by_set.values()), *(letters or "–" for letters in where)]
    ahead = [
        [difference(found[column, name, "tanh"], found[column, name, unit])
         for name in group for unit in ("gru", "lstm")
         if (column, name, "tanh") in found and (column, name, unit) in found]
        for group in (SPEECH, MUSIC)
    ]  # fmt: skip
    rows["clearest on speech"] = [clearest(*ahead), "", "", ""]
    frame = pd.DataFrame.from_dict(rows, "index", columns=["verdict", "yes", "no", "open"])
    return frame.sort_index(key=lambda index: index.str.contains("faster"), kind="stable")


def order(found: Found, column: str, name: str) -> str:
    """The recorded units by their mean test NLL, best first; "≈" where the interval of neighbours holds 0."""
    there = [unit for unit in UNITS if (column, name, unit) in found]
    if not there:
        return MISSING
    ranked = sorted(there, key=lambda unit: scores(found[column, name, unit]).mean())
    line = UNITS[ranked[0]].title
    for one, two in itertools.pairwise(ranked):
        apart = better(difference(found[column, name, two], found[column, name, one])) == SUPPORTED
        line += (" < " if apart else " ≈ ") + UNITS[two].title
    return line


def printed_order(name: str) -> str:
    """The units by the paper's test figure on one of its data sets, best first.

    >>> printed_order("ubisoft_a")
    'LSTM < GRU < tanh'
    """
    return " < ".join(UNITS[unit].title for unit in sorted(UNITS, key=lambda unit: PAPER_TABLE_2[name][unit][1]))


def would_keep(curves: Sequence[Sequence[float]], rungs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Which of some full validation curves successive halving would have chosen, and the epochs it would have taken."""
    alive, epochs, last = list(range(len(curves))), 0, 0
    for epoch, k in rungs:
        epochs += sum(max(min(len(curves[m]) - 1, epoch) - last, 0) for m in alive)
        alive = sorted(alive, key=lambda m: min(curves[m][: epoch + 1]))[:k]
        last = epoch
    return alive[0], epochs


def histories(record: dict) -> list[History]:
    """The curves of a record's runs as `figures.learning_curves` draws them; what is not finite is nan."""
    found = []
    for run in record["runs"]:
        numbers = {name: [math.nan if y is None else y for y in run["curve"][name]] for name in CURVE}
        found.append(History(record["search"]["chosen"], run["seed"], **run["curve"] | numbers))
    return found

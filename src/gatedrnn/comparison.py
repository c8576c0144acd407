"""What the records of the study say about the units: differences, speeds, and verdicts by rules that are fixed here.

A verdict is SUPPORTED, AGAINST or OPEN; over several data sets also MIXED; MISSING where a record is not there yet. It
comes from one value a seed, their mean and its 95 % interval (`records.interval`). Differences are in nats a step,
between runs of the same seed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from . import records
from .training import History
from .units import UNITS

SUPPORTED, AGAINST, OPEN, MISSING = "supported", "not supported", "no conclusion", "no record"
MIXED = "mixed"  # supported on some data sets and not supported on others

AVERAGE = "pooled"  # decides between units; early stopping looks at it, too
PRINTED = "per_sequence_after_first"  # is held against the paper's figures
ALIKE = 0.1  # nats a step: units that differ by less are alike; the likelihood of a step then differs by less than 11 %
NEAR = 0.05  # nats a step: a curve that comes so near to the tanh unit's best has arrived

Found = Mapping[tuple[str, str, str], dict]  # (column, data, unit) -> record


def read(folder: Path) -> Found:
    """Every record under a folder, by column, data set and unit."""
    return {(r["column"], r["data"], r["unit"]): r for r in records.read_all(folder)}


def scores(record: dict, part: str = "test", average: str = AVERAGE) -> np.ndarray:
    """One NLL a seed, in the order of the seeds."""
    return np.array([run["scores"][part][average] for run in record["runs"]])


def paired(a: dict, b: dict, part: str = "test", average: str = AVERAGE) -> np.ndarray:
    """a minus b for each seed: positive where b is better. Raises RecordError if the seeds differ."""
    seeds = [[run["seed"] for run in record["runs"]] for record in (a, b)]
    if seeds[0] != seeds[1]:
        raise records.RecordError(f"the seeds {seeds[0]} and {seeds[1]} cannot be paired")
    return scores(a, part, average) - scores(b, part, average)


def better(differences: Sequence[float]) -> str:
    """Is the second of a pair better? Yes if the interval lies above 0, not so if it lies below."""
    mean, half = records.interval(differences)
    return SUPPORTED if mean > half else AGAINST if mean < -half else OPEN


def alike(differences: Sequence[float], margin: float = ALIKE) -> str:
    """Are two units alike? Yes if the whole interval is nearer to 0 than the margin, not so if all of it is further."""
    mean, half = records.interval(differences)
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
    -inf where the fast one never arrives; inf where the slow one never left its start and the fast one did.
    """
    ratios = []
    for one, other in zip(slow["runs"], fast["runs"], strict=True):
        curve = one["curve"]
        level = curve["valid"][curve["best_epoch"]] + NEAR
        first, second = arrival(curve, level, by), arrival(other["curve"], level, by)
        if first == 0:
            ratios.append(math.inf if other["curve"]["best_epoch"] > 0 else -math.inf)
        else:
            ratios.append(math.log(first / second) if 0 < second < math.inf else -math.inf if second else math.inf)
    return np.array(ratios)


def faster(ratios: Sequence[float]) -> str:
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
    """Seconds of computing for one time step of training one model, with its share of the validation after each epoch.

    The median over the epochs of all runs: what the machine gave at the time, with whatever else it was doing.
    """
    steps = record["runs"][0]["scores"]["train"]["steps"]
    return float(np.median(np.concatenate([np.diff(run["curve"]["seconds"]) for run in record["runs"]]))) / steps


def machine(record: dict) -> tuple:
    """Processor, cores and device: seconds are compared within one machine only."""
    return tuple(record["environment"][name] for name in ("processor", "cores", "device"))


def price(found: Found, like: dict, data: Iterable[str]) -> float:
    """The least `seconds_a_step` over data sets, for the unit, column and machine of a record: the least disturbed."""
    same = [found.get((like["column"], name, like["unit"])) for name in data]
    return min(seconds_a_step(record) for record in [like, *same] if record and machine(record) == machine(like))


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
    there = {unit: found.get((column, name, unit)) for unit in UNITS}
    tanh, claims = there["tanh"], {}
    for unit, title in (("gru", "GRU"), ("lstm", "LSTM")):
        known = tanh and there[unit]
        claims[f"{title} better than tanh"] = better(paired(tanh, there[unit])) if known else MISSING
        claims[f"{title} faster, by updates"] = faster(lead(tanh, there[unit])) if known else MISSING
        claims[f"{title} faster, by the clock"] = faster_by_clock(found, column, name, unit, data) if known else MISSING
    known = there["gru"] and there["lstm"]
    return claims | {"GRU and LSTM alike": alike(paired(there["lstm"], there["gru"])) if known else MISSING}


def clearest(here: Iterable[Sequence[float]], elsewhere: Iterable[Sequence[float]]) -> str:
    """Is an advantage larger on every data set here than on any elsewhere? By intervals that do not overlap."""
    here, elsewhere = ([records.interval(values) for values in group] for group in (here, elsewhere))
    if not here or not elsewhere:
        return MISSING
    if min(mean - half for mean, half in here) > max(mean + half for mean, half in elsewhere):
        return SUPPORTED
    overlap = max(mean + half for mean, half in here) >= max(mean - half for mean, half in elsewhere)
    return OPEN if overlap else AGAINST


def overall(several: Iterable[str]) -> str:
    """One verdict over the data sets recorded: what more than half of them say, MIXED if they contradict, else OPEN."""
    known = [verdict for verdict in several if verdict != MISSING]
    if SUPPORTED in known and AGAINST in known:
        return MIXED
    for verdict in (SUPPORTED, AGAINST):
        if known.count(verdict) > len(known) / 2:
            return verdict
    return OPEN if known else MISSING


def would_keep(curves: Sequence[Sequence[float]], rungs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Which of some full validation curves successive halving would have chosen, and the epochs it would have taken."""
    alive, epochs, last = range(len(curves)), 0, 0
    for epoch, k in rungs:
        epochs += sum(max(min(len(curves[m]) - 1, epoch) - last, 0) for m in alive)
        alive = sorted(alive, key=lambda m: min(curves[m][: epoch + 1]))[:k]
        last = epoch
    return alive[0], epochs


def histories(record: dict) -> list[History]:
    """The curves of a record's runs, as `figures.learning_curves` draws them."""
    curves = [run["curve"] | {"train": [math.nan, *run["curve"]["train"][1:]]} for run in record["runs"]]
    seeds = record["settings"]["seeds"]
    return [History(record["search"]["chosen"], seed, **one) for seed, one in zip(seeds, curves, strict=True)]

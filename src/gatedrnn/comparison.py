"""What the records of the study say about one another and about the paper: differences, contrasts, Table 2.

NLL in nats a step. Two kinds of interval, each 95 %:

* beside the paper's figure, over seeds: both were scored on the same test pieces, so these are not drawn anew;
* of a difference between units or variants, over seeds, test pieces and, where a middle stage chose among candidates,
  that choice (`statistics.estimate`): it says what to expect on other music of the kind.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from . import records, statistics
from .extras import Extra
from .records import AVERAGES, FULL, variant_name
from .statistics import Estimate, Group
from .units import UNITS

with Extra("records"):
    import pandas as pd

# Table 2 of Chung et al. (2014): average negative log-probability (train, test), by data set and unit.
PAPER_TABLE_2 = {
    "nottingham": {"tanh": (3.22, 3.13), "gru": (2.79, 3.23), "lstm": (3.08, 3.20)},
    "jsb_chorales": {"tanh": (8.82, 9.10), "gru": (6.94, 8.54), "lstm": (8.15, 8.67)},
    "muse_data": {"tanh": (5.64, 6.23), "gru": (5.06, 5.99), "lstm": (5.18, 6.23)},
    "piano_midi": {"tanh": (5.64, 9.03), "gru": (4.93, 8.82), "lstm": (6.49, 9.03)},
    "ubisoft_a": {"tanh": (6.29, 6.44), "gru": (2.31, 3.59), "lstm": (1.44, 2.70)},
    "ubisoft_b": {"tanh": (7.61, 7.62), "gru": (0.38, 0.88), "lstm": (0.80, 1.26)},
}
MUSIC = {
    "nottingham": "Nottingham",
    "jsb_chorales": "JSB Chorales",
    "muse_data": "MuseData",
    "piano_midi": "Piano-midi.de",
}
SPEECH = {"speech_a": "Speech A", "speech_b": "Speech B"}
SETS = MUSIC | SPEECH
PAIRS = (("tanh", "gru"), ("tanh", "lstm"), ("lstm", "gru"))

AVERAGE = "pooled"  # decides between units; early stopping looks at it, too
PRINTED = "per_sequence_after_first"  # is held against the paper's figures

Found = Mapping[tuple[str, ...], dict]  # place -> record


def place(record: dict) -> tuple[str, ...]:
    """(column, data, unit) of a whole unit; of a variant, its name comes fourth."""
    variant = variant_name(record)
    return (record["column"], record["data"], record["unit"]) + (() if variant == FULL else (variant,))


def read(folder: Path) -> Found:
    """Every record under a folder, by its place."""
    return {place(record): record for record in records.read_all(folder)}


def scores(record: dict, part: str = "test", average: str = AVERAGE) -> np.ndarray:
    """One NLL a seed, in the order of the seeds."""
    return np.array([run["scores"][part][average] for run in record["runs"]])


def paired(a: dict, b: dict, part: str = "test", average: str = AVERAGE) -> np.ndarray:
    """a minus b for each seed: positive where b is better. Raises RecordError if the seeds differ."""
    seeds = [[run["seed"] for run in record["runs"]] for record in (a, b)]
    if seeds[0] != seeds[1]:
        raise records.RecordError(f"the seeds {seeds[0]} and {seeds[1]} cannot be paired")
    return scores(a, part, average) - scores(b, part, average)


def combination(terms: Sequence[tuple[float, dict]], average: str = AVERAGE) -> Estimate:
    """The sum of coefficient x mean test NLL of records of one data set, over seeds, test pieces and choices.

    Pieces have a share where every record has them (`with_pieces` adds those of the first seed's kept network). An
    average without the first frame takes the share of the same average with it. Raises RecordError for records whose
    test pieces differ.
    """
    groups: list[tuple[float, Group]] = []
    lengths: set[tuple] = set()
    for coefficient, record in terms:
        pieces = np.array([run["pieces"]["test"] for run in record["runs"] if "test" in run.get("pieces", {})])
        nll = pieces[:, :, 0] if pieces.size else None  # (networks, pieces)
        lengths |= {tuple(steps) for steps in pieces[:, :, 1]} if pieces.size else {()}
        groups.append((coefficient, Group(scores(record, average=average), nll, _chosen_from(record))))
    if len(lengths - {()}) > 1:
        raise records.RecordError("only records with the same test pieces can be compared")
    steps = lengths.pop() if len(lengths) == 1 else ()
    return statistics.estimate(groups, steps if len(steps) > 1 else None, average.startswith("per_sequence"))


def _chosen_from(record: dict) -> tuple[np.ndarray, ...]:
    """The validation NLL of each candidate of the last heat, a value a seed."""
    candidates: dict[str, list[float]] = {}
    last = max((one.get("heat", 1) for one in record.get("choose", ())), default=1)
    for one in (one for one in record.get("choose", ()) if one.get("heat", 1) == last):
        candidates.setdefault(str(sorted(one["hyperparameters"].items())), []).append(records.best_valid(one["curve"]))
    return tuple(np.array(values) for values in candidates.values())


def difference(a: dict, b: dict, average: str = AVERAGE) -> Estimate:
    """a minus b: positive where b is better. The seeds of the two are taken as independent, the pieces as the same."""
    return combination([(1, a), (-1, b)], average)


def apart(found: Found, column: str, data: Iterable[str] = SETS, average: str = AVERAGE) -> pd.DataFrame:
    """The difference of every recorded pair of units: data, pair, difference (an `Estimate`), p, and holm, adjusted.

    A pair "tanh - GRU" is the first's test NLL minus the second's: above 0 the second is better.
    """
    rows = []
    for name, (one, two) in itertools.product(data, PAIRS):
        if (column, name, one) in found and (column, name, two) in found:
            of = difference(found[column, name, one], found[column, name, two], average)
            rows.append([name, f"{UNITS[one].title} - {UNITS[two].title}", of, of.p])
    frame = pd.DataFrame(rows, columns=["data", "pair", "difference", "p"])
    return frame.assign(holm=statistics.holm(frame["p"]))


def contrasts(
    found: Found, primary: Iterable[tuple[str, str, str, str]] | None = None, average: str = AVERAGE
) -> pd.DataFrame:
    """Full - ablated in test NLL for each variant whose whole unit is recorded in the same column: below 0, it helps.

    Columns: column, data, unit, variant, difference, half, p, and holm, p adjusted for all rows that are `primary`
    (places that were declared beforehand; all, unless given), nan for the others. A declared place that is not recorded
    yet counts as p = 1, so that nothing becomes sure because something else is missing.
    """
    rows = []
    for where, record in sorted(found.items()):
        whole = found.get(where[:3])
        if len(where) == 4 and whole:
            of = difference(whole, record, average)
            rows.append([*where, of.mean, of.half, of.p])
    frame = pd.DataFrame(rows, columns=["column", "data", "unit", "variant", "difference", "half", "p"])
    there = {tuple(row[:4]) for row in rows}
    declared = there if primary is None else set(primary)
    chosen = [tuple(row[:4]) in declared for row in rows]
    p = [*frame.loc[chosen, "p"], *[1.0] * len(declared - there)]
    frame["holm"] = np.nan
    frame.loc[chosen, "holm"] = statistics.holm(p)[: sum(chosen)]
    return frame


def interaction(found: Found, column: str, data: str, unit: str, one: str, other: str, both: str) -> Estimate:
    """full - one - other + both: 0 if taking both away costs what each costs alone, below 0 if it costs less.

    one, other, both : variants, e.g. the reset gate held at 1, the update gate constant, and both. Raises RecordError
    where one of the four is not recorded.
    """
    whole = (column, data, unit)
    places = [whole, *((*whole, variant) for variant in (one, other, both))]
    if missing := [at for at in places if at not in found]:
        raise records.RecordError(f"there is no record of {'/'.join(missing[0])}: run `gatedrnn study`")
    return combination(list(zip((1, -1, -1, 1), (found[at] for at in places), strict=True)))


def train_test(several: Iterable[dict], average: str = PRINTED) -> pd.DataFrame:
    """(train, test) of every network, a row a seed, and of the paper's tables: column "printed", without a seed."""
    several = list(several)
    columns = ["column", "data", "unit", "seed", "train", "test"]
    rows = [
        [record["column"], record["data"], record["unit"], run["seed"]]
        + [run["scores"][part][average] for part in ("train", "test")]
        for record in several
        for run in record["runs"]
    ]
    shown = dict.fromkeys((record["data"], record["unit"]) for record in several if record["data"] in PAPER_TABLE_2)
    rows += [["printed", data, unit, None, *PAPER_TABLE_2[data][unit]] for data, unit in shown]
    return pd.DataFrame(rows, columns=columns)


def table(several: Iterable[dict]) -> pd.DataFrame:
    """Table 2 of the paper from records: a row for each column, data set, unit and variant, in the paper's order.

    For train and test, in four averages: mean and half-width over seeds. Where the paper has a figure (the music sets,
    whole units): paper and paper_train, as printed; gap and gap_train, ours minus the paper's in the average PRINTED;
    verdict, "below", "above", or "equal" where our test interval holds the paper's figure.
    """
    rows = []
    for record in sorted(several, key=_order):
        row = {name: record[name] for name in ("column", "data", "unit")}
        row |= {"variant": variant_name(record), "seeds": len(record["runs"])}
        for part in ("train", "test"):
            for average in AVERAGES:
                choice = _chosen_from(record) if part == "test" else ()
                of = statistics.estimate([(1, Group(scores(record, part, average), choose=choice))])
                row |= {f"{part}_{average}": of.mean, f"{part}_{average}_ci": of.half}
        printed = PAPER_TABLE_2.get(record["data"], {}).get(record["unit"])
        if printed and row["variant"] == FULL:
            gap, half = row[f"test_{PRINTED}"] - printed[1], row[f"test_{PRINTED}_ci"]
            row |= {"paper_train": printed[0], "gap_train": row[f"train_{PRINTED}"] - printed[0]}
            row |= {"paper": printed[1], "gap": gap}
            row |= {"verdict": "equal" if abs(gap) <= half else "below" if gap < 0 else "above"}
        rows.append(row)
    return pd.DataFrame(rows)


def _order(record: dict) -> list[tuple[int, str]]:
    """Where a record stands: by column, data set, unit and variant; names that the paper's table does not have last."""
    orders = {"column": ["paper", "best", "adam"], "data": list(PAPER_TABLE_2), "unit": list(UNITS), "variant": [FULL]}
    values = {name: record.get(name, FULL) for name in orders}
    return [(([*known, values[name]]).index(values[name]), values[name]) for name, known in orders.items()]


def inside(frame: pd.DataFrame) -> tuple[int, int]:
    """In how many rows our test interval holds the paper's figure, of how many: a miss counts on either side."""
    verdicts = frame.get("verdict", pd.Series(dtype=object)).dropna()
    return int((verdicts == "equal").sum()), len(verdicts)


def text(mean: float, half: float, sign: str = "") -> str:
    """A mean with its interval, kept on one line; `sign` "+" shows the sign.

    >>> text(0.5, 0.25, "+").replace("\\xa0", " ")
    '+0.50 ± 0.25'
    """
    return f"{mean:{sign}.2f}\u00a0±\u00a0{half:.2f}"


def measured(row: pd.Series, score: str) -> str:
    """One cell of a table as text: `score` is a part and an average, such as "test_pooled"."""
    return text(row[score], row[f"{score}_ci"])


def against_paper(frame: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """The rows of a table that have a figure of the paper, as text: ours, the paper's, the gap (of test with its
    verdict), and ours pooled."""
    end = "" if part == "test" else "_train"
    rows = {
        f"{SETS[row['data']]}, {UNITS[row['unit']].title}": [
            measured(row, f"{part}_{PRINTED}"),
            f"{row['paper' + end]:.2f}",
            f"{row['gap' + end]:+.2f}" + (f" {row['verdict']}" if part == "test" else ""),
            measured(row, f"{part}_pooled"),
        ]
        for _, row in frame[frame["paper"].notna()].iterrows()
    }
    return pd.DataFrame.from_dict(rows, "index", columns=["per sequence, after first", "paper", "gap", "pooled"])


def shown(frame: pd.DataFrame, lost: pd.DataFrame | None = None, markdown: bool = False) -> str:
    """A table in short, for a terminal or as Markdown; columns that no row has anything for are left out.

    lost : the `contrasts` of its variants.
    """
    heads = {f"{p}_{a}": f"{p} {a.replace('_', ' ').replace('sequence', 'seq.')}" for p in ("train", "test")
             for a in AVERAGES[:2]} | {f"test_{PRINTED}": "test per seq. after first"}  # fmt: skip
    costs = {tuple(row[:4]): row for row in (lost if lost is not None else pd.DataFrame()).itertuples(index=False)}
    rows = []
    for _, row in frame.iterrows():
        line = {name: str(row[name]) for name in ("column", "data", "unit", "variant", "seeds")}
        line |= {head: measured(row, score) for score, head in heads.items()}
        if pd.notna(row.get("paper")):
            line |= {"paper test": f"{row['paper']:.2f}", "gap": f"{row['gap']:+.2f}", "verdict": row["verdict"]}
        if cost := costs.get((row["column"], row["data"], row["unit"], row["variant"])):
            line |= {"full - this": text(cost.difference, cost.half, "+"), "p": f"{cost.p:.3f}"}
            line |= {"p (Holm)": f"{cost.holm:.3f}"} if pd.notna(cost.holm) else {}
        rows.append(line)
    lines = pd.DataFrame(rows).fillna("–")
    if (frame["variant"] == FULL).all():
        lines = lines.drop(columns="variant")
    cells = [list(lines.columns), *lines.to_numpy().tolist()]
    if markdown:
        return "\n".join("| " + " | ".join(line) + " |" for line in [cells[0], ["---"] * len(cells[0]), *cells[1:]])
    cells = [[cell.replace("\u00a0", " ") for cell in line] for line in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)

"""What a finished cell of the study leaves: one JSON file, written and read here only, and the tables made from it.

A record (schema 1) holds

    column, data, unit        which cell of the grid
    settings                  hidden size, protocol, learning rates drawn, seeds: all that decides the numbers
    parameters                counts, "recurrent" (what Table 1 of the paper counts) and "all" (with the output layer)
    search                    a curve for each learning rate, and the rate chosen by validation
    runs                      a curve for each seed at the chosen rate, with scores on train, valid and test
    environment               versions, processor, cores, device

A curve has a list entry an epoch: epoch, update, seconds (the member's share of its population's computing time), train
(noise on, pooled; null before the first update), valid and valid_per_sequence (noise off). shrunk counts the updates
whose gradient was not finite and that shrank the parameters instead. Scores are the fields of
`gatedrnn.evaluation.Evaluation`: average negative log-likelihood in nats a step.
"""

import json
import math
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student

from .sources import atomic
from .units import UNITS

SCHEMA = 1
CURVE = ("epoch", "update", "seconds", "train", "valid", "valid_per_sequence")
STOPS = ("patience", "max_epochs", "diverged", "halved", "chosen")

# Table 2 of Chung et al. (2014): average negative log-probability (train, test), by data set and unit.
PAPER_TABLE_2 = {
    "nottingham": {"tanh": (3.22, 3.13), "gru": (2.79, 3.23), "lstm": (3.08, 3.20)},
    "jsb_chorales": {"tanh": (8.82, 9.10), "gru": (6.94, 8.54), "lstm": (8.15, 8.67)},
    "muse_data": {"tanh": (5.64, 6.23), "gru": (5.06, 5.99), "lstm": (5.18, 6.23)},
    "piano_midi": {"tanh": (5.64, 9.03), "gru": (4.93, 8.82), "lstm": (6.49, 9.03)},
    "ubisoft_a": {"tanh": (6.29, 6.44), "gru": (2.31, 3.59), "lstm": (1.44, 2.70)},
    "ubisoft_b": {"tanh": (7.61, 7.62), "gru": (0.38, 0.88), "lstm": (0.80, 1.26)},
}


class RecordError(ValueError):
    """A record that is missing, damaged or of another schema; the message says what to do."""


def environment(device: str) -> dict:
    """Versions and hardware, as a record keeps them."""
    versions = {name: version(name) for name in ("gatedrnn", "torch", "numpy")}
    return {
        "versions": versions | {"python": platform.python_version()},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def curve(history) -> dict:
    """The learning curve of a `training.History`, rounded to what matters."""
    rounded = {name: [_round(value) for value in getattr(history, name)] for name in CURVE}
    return rounded | {name: getattr(history, name) for name in ("best_epoch", "shrunk", "stop_reason")}


def _round(value: float) -> float | int | None:
    return None if not math.isfinite(value) else value if isinstance(value, int) else round(value, 4)


def path_of(folder: Path, column: str, data: str, unit: str) -> Path:
    return Path(folder) / column / f"{data}_{unit}.json"


def write(record: dict, folder: Path) -> Path:
    """Check a record and write it to its place under `folder`, whole or not at all. Raises RecordError."""
    check(record)
    path = path_of(folder, record["column"], record["data"], record["unit"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write((json.dumps(record, indent=None, separators=(",", ":"), allow_nan=False) + "\n").encode())
    return path


def read(path: Path) -> dict:
    """One record. Raises RecordError for a missing or damaged file and for another schema."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecordError(f"there is no record {path}: run `gatedrnn study`") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is not a record: delete it and run `gatedrnn study` again") from error
    check(record, str(path))
    return record


def read_all(folder: Path) -> list[dict]:
    """Every record under a folder, in the order of their paths."""
    return [read(path) for path in sorted(Path(folder).glob("*/*.json"))]


def check(record: dict, where: str = "the record") -> None:
    """Raise RecordError unless a record follows the schema: fields, one curve a rate and a seed, equal lengths."""
    try:
        ok = record["schema"] == SCHEMA
        settings, search, runs = record["settings"], record["search"], record["runs"]
        ok &= record["unit"] in UNITS and {"recurrent", "all"} <= record["parameters"].keys()
        ok &= len(search["curves"]) == len(settings["learning_rates"]) and len(runs) == len(settings["seeds"])
        ok &= search["chosen"] in settings["learning_rates"]
        for c in [*search["curves"], *(run["curve"] for run in runs)]:
            ok &= len({len(c[name]) for name in CURVE}) == 1 and c["epoch"] == list(range(len(c["epoch"])))
            ok &= 0 <= c["best_epoch"] < len(c["epoch"]) and c["stop_reason"] in STOPS
        for run, seed in zip(runs, settings["seeds"], strict=True):
            ok &= run["seed"] == seed and {"train", "valid", "test"} == run["scores"].keys()
        ok &= {"versions", "processor", "cores", "device"} <= record["environment"].keys()
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{where} does not follow schema {SCHEMA}: {error!r}") from error
    if not ok:
        raise RecordError(f"{where} does not follow schema {SCHEMA}")


def interval(values) -> tuple[float, float]:
    """Mean and half-width of its 95 % confidence interval (Student's t) of one value a seed."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(half)


def table(records: list[dict]) -> pd.DataFrame:
    """Table 2 of the paper from the records: a row for each column, data set and unit, in the paper's order.

    For train and test, in both averages and with and without the first frame: mean and half-width over seeds. paper :
    the printed figure of the test set (music sets only; the speech sets are not the paper's). gap : ours minus the
    paper's, in the average per sequence without the first frame. verdict : "below", "above", or "equal" where the
    interval holds the paper's figure.
    """
    rows = []
    for record in sorted(records, key=_place):
        row = {name: record[name] for name in ("column", "data", "unit")} | {"seeds": len(record["runs"])}
        for part in ("train", "test"):
            for average in ("pooled", "per_sequence", "pooled_after_first", "per_sequence_after_first"):
                mean, half = interval([run["scores"][part][average] for run in record["runs"]])
                row |= {f"{part}_{average}": mean, f"{part}_{average}_ci": half}
        printed = PAPER_TABLE_2.get(record["data"], {}).get(record["unit"])
        if printed:
            gap, half = row["test_per_sequence_after_first"] - printed[1], row["test_per_sequence_after_first_ci"]
            verdict = "equal" if abs(gap) <= half else "below" if gap < 0 else "above"
            row |= {"paper_train": printed[0], "paper": printed[1], "gap": gap, "verdict": verdict}
        rows.append(row)
    return pd.DataFrame(rows)


def _place(record: dict) -> list[tuple[int, str]]:
    """Where a record stands: by column, data set and unit; names that the paper's table does not have come last."""
    orders = {"column": ["paper", "today"], "data": list(PAPER_TABLE_2), "unit": list(UNITS)}
    return [((known + [record[name]]).index(record[name]), record[name]) for name, known in orders.items()]


def shown(frame: pd.DataFrame, markdown: bool = False) -> str:
    """The table in short, for a terminal or as Markdown: our means with intervals beside the paper's figures."""

    def cell(row, name: str) -> str:
        return f"{row[name]:.2f} ± {row[name + '_ci']:.2f}"

    rows = []
    for _, row in frame.iterrows():
        measured = [
            cell(row, f"{part}_{average}") for part in ("train", "test") for average in ("pooled", "per_sequence")
        ]
        known = "paper" in row and pd.notna(row["paper"])
        compared = [f"{row['paper']:.2f}", f"{row['gap']:+.2f}", row["verdict"]] if known else ["–"] * 3
        measured.append(cell(row, "test_per_sequence_after_first"))
        rows.append([row["column"], row["data"], row["unit"], str(row["seeds"]), *measured, *compared])
    head = ["column", "data", "unit", "seeds", "train pooled", "train per seq.", "test pooled", "test per seq."]
    head += ["test per seq. after first", "paper test", "gap", "verdict"]
    if markdown:
        return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in [head, *rows])

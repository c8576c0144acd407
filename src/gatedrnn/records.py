"""What a finished trial of the study leaves: one JSON file, whose form is fixed here, written and read here only.

A record stays a plain dict, as it stands in its file; the types below say what is in it and are checked by pydantic
whenever one is written or read. NLL and scores are in nats a step. What is marked NotRequired came later: a record
without it is as valid as on the day it was written.
"""

import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from .extras import Extra
from .files import atomic
from .history import History
from .units import check_unit

with Extra("records"):
    from typing import NotRequired

    from annotated_types import Ge, Len
    from pydantic import AfterValidator, ConfigDict, JsonValue, StringConstraints, TypeAdapter, ValidationError
    from typing_extensions import TypedDict

SCHEMA = 1
FULL = "full"  # the variant of a unit that nothing was taken from
CURVE = ("epoch", "update", "seconds", "train", "valid", "valid_per_sequence")
AVERAGES = ("pooled", "per_sequence", "pooled_after_first", "per_sequence_after_first")

CLOSED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # the record's, and so that of all its parts
OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)  # what else a study settles is its own business

Name = Annotated[str, StringConstraints(pattern=r"^\w+$")]  # becomes part of a path
Count = Annotated[int, Ge(0)]


class RecordError(ValueError):
    """A record that is missing, damaged or of another schema; the message says what to do."""


def _a_curve(curve: dict) -> dict:
    epochs = curve["epoch"]
    if len({len(curve[name]) for name in CURVE}) != 1:
        raise ValueError(f"{', '.join(CURVE)} must be lists of one length")
    if not epochs or epochs[0] != 0 or any(b <= a for a, b in itertools.pairwise(epochs)):
        raise ValueError("epoch must begin at 0 and increase")
    if curve["best_epoch"] not in epochs:
        raise ValueError(f"best_epoch {curve['best_epoch']} is not among the epochs")
    return curve


class _Curve(TypedDict):
    """An entry each time the network was validated, the first before its first update."""

    epoch: list[Count]
    update: list[Count]
    seconds: list[float]  # the member's share of its population's computing time
    train: list[float | None]  # pooled, noise on, as it went by; None before the first update, or where not finite
    valid: list[float | None]  # pooled, noise off
    valid_per_sequence: list[float | None]
    best_epoch: int
    shrunk: Count  # updates whose gradient was not finite and that shrank the parameters instead
    stop_reason: Literal["patience", "max_epochs", "max_updates", "diverged", "halved", "chosen"]


Curve = Annotated[_Curve, AfterValidator(_a_curve)]


class Scores(TypedDict):
    """The fields of `evaluation.Evaluation`: NLL in four averages, and over how much."""

    pooled: float
    per_sequence: float
    pooled_after_first: float
    per_sequence_after_first: float
    steps: Count
    sequences: Count


class Parts(TypedDict):
    """Scores on the three parts of a data set."""

    train: Scores
    valid: Scores
    test: Scores


Piece = Annotated[list[float], Len(2, 2)]  # [total NLL in nats, steps]


def _a_run(run: dict) -> dict:
    for part, pieces in run.get("pieces", {}).items():
        steps = sum(steps for _, steps in pieces)
        mean = sum(nll for nll, _ in pieces) / steps if steps else math.nan
        if not math.isclose(mean, run["scores"][part]["pooled"], rel_tol=1e-3, abs_tol=1e-3):
            raise ValueError(f"the pieces of {part} must average to its pooled score; they give {mean:.4f}")
    return run


class _Run(TypedDict):
    """One network, trained from one seed."""

    seed: int
    curve: Curve
    scores: Parts
    hyperparameters: NotRequired[dict[str, float]]
    pieces: NotRequired[dict[Literal["train", "valid", "test"], list[Piece]]]  # in the order of the data set


Run = Annotated[_Run, AfterValidator(_a_run)]


class Choice(TypedDict):
    """A network of a later heat of the search: one of the candidates that were left, to choose by validation."""

    heat: NotRequired[Count]  # from 1; the first heat is the search's
    seed: int
    hyperparameters: dict[str, float]
    curve: Curve


class Search(TypedDict):
    """A curve for each candidate, and the learning rate that was chosen by validation."""

    chosen: float
    curves: list[Curve]
    candidates: NotRequired[list[dict[str, float]]]  # the hyperparameters of each, where they are more than a rate


class Settings(TypedDict):
    """All that decides the numbers; more keys are allowed, here and inside `protocol`."""

    __pydantic_config__ = OPEN  # type: ignore[misc]
    hidden_size: Count
    protocol: dict[str, JsonValue]
    learning_rates: list[float]
    seeds: list[int]


class Parameters(TypedDict):
    """How many; "recurrent" is what Table 1 of the paper counts, "all" has the output layer in it."""

    __pydantic_config__ = OPEN  # type: ignore[misc]
    recurrent: Count
    all: Count


class Environment(TypedDict):
    """What the record was made with and on; engine: which loops over time ran."""

    __pydantic_config__ = OPEN  # type: ignore[misc]
    versions: dict[str, str]
    processor: str
    cores: int | None
    device: str
    engine: NotRequired[str | None]


def _a_record(record: dict) -> dict:
    settings, search = record["settings"], record["search"]
    rates, seeds = settings["learning_rates"], [run["seed"] for run in record["runs"]]
    if len(search["curves"]) != len(rates) or len(search.get("candidates", rates)) != len(rates):
        raise ValueError("search must hold one curve, and one candidate if any, for each of settings.learning_rates")
    if search["chosen"] not in rates:
        raise ValueError("search.chosen must be one of settings.learning_rates")
    if seeds != settings["seeds"]:
        raise ValueError(f"runs must have the seeds of the settings, {settings['seeds']}; they have {seeds}")
    return record


class _Record(TypedDict):
    """One unit on one data set in one column: settings, search, perhaps a choice, and a run a seed."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    schema: Literal[1]
    column: Name
    data: Name
    unit: Annotated[str, AfterValidator(check_unit)]
    variant: NotRequired[Name]  # what was taken from the unit; FULL if absent
    size: NotRequired[str]  # how the hidden size was set: "same_hidden", "same_parameters", ...
    settings: Settings
    parameters: Parameters
    search: Search
    choose: NotRequired[list[Choice]]
    runs: list[Run]
    environment: Environment


Record = Annotated[_Record, AfterValidator(_a_record)]
_ADAPTER = TypeAdapter(Record)


def check(record: Any, where: str = "the record") -> None:
    """Raise RecordError, naming the first field that is wrong, unless a record has the form above."""
    try:
        _ADAPTER.validate_python(record)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        place = ".".join(str(step) for step in first["loc"] if not str(step).startswith("function-"))
        text = first["msg"].removeprefix("Value error, ")
        more = f" (and {len(others)} more)" if others else ""
        raise RecordError(
            f"{where} does not follow schema {SCHEMA}: {place + ': ' if place else ''}{text}{more}"
        ) from error


def variant_name(record: dict) -> str:
    """What was taken from the unit, FULL if nothing."""
    return record.get("variant", FULL)


def path_of(folder: Path, column: str, data: str, unit: str, variant: str = FULL) -> Path:
    """Where a record lies under the folder of all.

    >>> path_of(Path("results"), "paper", "nottingham", "gru").as_posix()
    'results/paper/nottingham_gru.json'
    >>> path_of(Path("results"), "components", "nottingham", "gru", "reset_one").name
    'nottingham_gru_reset_one.json'
    """
    end = "" if variant == FULL else f"_{variant}"
    return Path(folder) / column / f"{data}_{unit}{end}.json"


def write(record: dict, folder: Path) -> Path:
    """Check a record and write it to its place under `folder`, whole or not at all. Raises RecordError."""
    check(record)
    try:
        text = json.dumps(record, indent=None, separators=(",", ":"), allow_nan=False)
    except ValueError as error:  # in a part whose form is open
        raise RecordError(f"the record does not follow schema {SCHEMA}: a number in it is not finite") from error
    path = path_of(folder, record["column"], record["data"], record["unit"], variant_name(record))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write((text + "\n").encode())
    return path


def read(path: Path) -> dict:
    """One record. Raises RecordError for a missing or damaged file and for another schema."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecordError(f"there is no record {path}: run `gatedrnn study`") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not a record: delete it and run `gatedrnn study` again") from error
    check(record, str(path))
    return record


def read_all(folder: Path) -> list[dict]:
    """Every record under a folder, in the order of their paths."""
    return [read(path) for path in sorted(Path(folder).glob("*/*.json"))]


def curve(history: History) -> dict:
    """The learning curve of a member, rounded to what matters."""
    rounded = {name: [round(v, 4) if math.isfinite(v) else None for v in getattr(history, name)] for name in CURVE}
    return rounded | {name: getattr(history, name) for name in ("best_epoch", "shrunk", "stop_reason")}


def best_valid(curve: dict) -> float:
    """The validation NLL that a curve's network was kept for."""
    return curve["valid"][curve["epoch"].index(curve["best_epoch"])]


def pieces(nll: Iterable[float], steps: Iterable[int]) -> list[list[float]]:
    """What a run keeps of each sequence, from its total NLL (N,) in nats and its number of steps (N,)."""
    return [[round(float(total), 4), int(length)] for total, length in zip(nll, steps, strict=True)]

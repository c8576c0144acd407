"""The paper's study (section 4), and what this book adds to it: a grid of trials, declared here.

A trial is one unit (or a variant of it) on one data set in one column, which is a way of training (`gatedrnn.columns`).
It runs in stages: the candidates of the search side by side, in some columns in heats from which fewer and fewer go on;
and then several seeds of what was chosen. `gatedrnn.runner` runs the trials.

Everything that the paper leaves open is decided here, in `columns` and in `protocol.Protocol`; the book's ledger of
departures gives the reasons.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from . import files, records
from .checks import check_sizes
from .columns import COLUMNS, SEARCH_SEED, SPEECH_RUNGS
from .datasets import load
from .evaluation import Evaluation, evaluate
from .model import MODELS, SequenceModel, music_model
from .protocol import Protocol
from .sources import source
from .units import UNITS
from .variants import VARIANTS, apply_variant, same_parameters, variant_of, without_held

# Caps: (epochs, patience) by data set. The more steps an epoch has, the fewer epochs can be afforded.
EPOCHS = {
    "bach_chorales": (150, 20),
    "jsb_chorales": (150, 20),
    "piano_midi": (100, 15),
    "nottingham": (100, 10),
    "muse_data": (60, 10),
    "speech_a": (15, 4),
    "speech_b": (10, 4),
} | dict.fromkeys(RECALL := ("recall_10", "recall_30", "recall_100"), (32, 32))
# A fixed length instead, at the end of which the rate is 0: (batch size, epochs) by data set; a batch of music has 500
# to 2,000 steps. The lengths were set by probes on validation with one seed.
BUDGET = {
    "bach_chorales": (8, 100),
    "jsb_chorales": (8, 100),
    "piano_midi": (2, 60),
    "nottingham": (4, 50),
    "muse_data": (4, 32),
    "speech_a": (16, 20),
    "speech_b": (16, 20),
} | dict.fromkeys(RECALL, (8, 32))
PAPER_MUSIC = ("jsb_chorales", "nottingham", "muse_data", "piano_midi")
SPEECH = ("speech_a", "speech_b")
SIZES = ("same_hidden", "same_parameters")
ALL_VARIANTS = tuple(dict.fromkeys(name for known in VARIANTS.values() for name in known))


@dataclass(frozen=True)
class Trial:
    """One unit on one data set in one column. Raises ValueError, listing what is known, for an unknown name.

    variant : a part taken away, see `variants.VARIANTS`, and size : at the same number of hidden units or of
    recurrent parameters. max_epochs : a lower cap than the study's, for a try.
    """

    column: str
    data: str
    unit: str
    variant: str = "full"
    size: str = "same_hidden"
    max_epochs: int | None = None

    def __post_init__(self):
        for value, known in ((self.column, COLUMNS), (self.data, EPOCHS), (self.unit, UNITS), (self.size, SIZES)):
            if value not in known:
                raise ValueError(f"the study has no {value!r}: it knows {', '.join(known)}")
        variant_of(self.unit, self.variant)
        chosen = COLUMNS[self.column].chosen
        if chosen and (self.data, self.unit) not in chosen:
            known = ", ".join(dict.fromkeys(data for data, _ in chosen))
            raise ValueError(
                f"the column {self.column} takes what was chosen on {known}: it has nothing for {self.data}"
            )
        if self.max_epochs is not None:
            check_sizes(max_epochs=self.max_epochs)

    @classmethod
    def of(cls, record: dict) -> "Trial":
        """The trial that a record is of."""
        variant, size = record.get("variant", "full"), record.get("size", SIZES[0])
        return cls(record["column"], record["data"], record["unit"], variant.removesuffix(f"_{SIZES[1]}"), size)

    @property
    def model(self) -> SequenceModel:
        column, unit = COLUMNS[self.column], UNITS[self.unit]
        kind = source(self.data).kind
        size = unit.speech_size if kind == "speech" else unit.music_size
        model = MODELS[kind](self.unit, hidden_size=column.hidden or column.widen * size)
        return (apply_variant if self.size == "same_hidden" else same_parameters)(model, self.variant)

    @property
    def protocol(self) -> Protocol:
        return self.shortened(1)

    def shortened(self, share: float) -> Protocol:
        """The protocol with a share of the column's fixed number of epochs, as in a heat of the search."""
        column, (batch_size, budget) = COLUMNS[self.column], BUDGET[self.data]
        rule = column.protocol
        epochs, patience = (column.stretch * number for number in EPOCHS[self.data])
        if fixed := column.epochs or column.budget * budget:
            epochs = patience = max(round(share * fixed), 1)
            if not column.epochs:  # about 60 validations; a number of epochs from elsewhere has its own cadence
                rule = replace(rule, validate_every=max(epochs // 60, 1))
        if rule.start == "modern":
            start, informed = variant_of(self.unit, self.variant).start, source(self.data).kind == "music"
            rule = replace(rule, start=start, informed_start=informed, batch_size=batch_size)
        return replace(rule, max_epochs=self.max_epochs or epochs, patience=patience)

    @property
    def settings(self) -> dict:
        """All that decides the trial's numbers, as a record keeps it."""
        column = COLUMNS[self.column]
        heavy = self.data in SPEECH and self.column in ("paper", "adam")  # for a full search on a CPU
        settings = {
            "hidden_size": self.model.hidden_size,
            "protocol": asdict(self.protocol),
            "learning_rates": [one["learning_rate"] for one in column.candidates(self.data, self.unit)],
            "rungs": [list(rung) for rung in (SPEECH_RUNGS if heavy else column.rungs)],
            "on_nan": "shrink" if self.data in SPEECH else "drop",
            "search_seed": SEARCH_SEED,
            "seeds": list(column.seeds),
            "dtype": "float32",
        }
        if column.heats:
            settings["heats"] = [[share, keep, list(seeds)] for share, keep, seeds in column.heats]
        return settings

    @property
    def label(self) -> str:
        """The variant's name in a record; with another size it is another variant."""
        return self.variant if self.size == "same_hidden" else f"{self.variant}_{self.size}"

    def __str__(self) -> str:
        return f"{self.column}/{self.data}/{self.unit}" + ("" if self.label == "full" else f"/{self.label}")


def grid(
    columns=("paper", "adam"),
    data=PAPER_MUSIC + SPEECH,
    units=tuple(UNITS),
    variants=("full",),
    sizes=("same_hidden",),
    max_epochs: int | None = None,
) -> list[Trial]:
    """Every trial of the given columns, data sets, units and variants; by default the whole study.

    A variant that a unit does not have is left out, and so is a size that changes nothing. Raises ValueError,
    listing what is known, for an unknown name.
    """
    for names, known in ((units, UNITS), (sizes, SIZES), (variants, ALL_VARIANTS)):
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"the study has no {unknown[0]!r}: it knows {', '.join(known)}")
    return [
        Trial(column, name, unit, variant, size, max_epochs)
        for column in columns
        for name in data
        for unit in units
        for variant in variants
        for size in sizes
        if variant in VARIANTS[unit] and (size == "same_hidden" or changes_size(unit, variant))
    ]


def listed() -> str:
    """What a trial can be made of, in lines for a terminal."""
    lines = ["columns:", *(f"  {name:<12}{column.about}" for name, column in COLUMNS.items())]
    lines += ["data sets:", f"  {', '.join(EPOCHS)}"]
    for unit, known in VARIANTS.items():
        lines += [f"variants of {unit}:", *(f"  {name:<26}{variant.title}" for name, variant in known.items())]
    return "\n".join([*lines, "sizes:", f"  {', '.join(SIZES)}"])


def changes_size(unit: str, variant: str) -> bool:
    """Whether a variant has another number of recurrent parameters than the full unit at the same hidden size."""
    full = music_model(unit)
    return apply_variant(full, variant).num_recurrent_parameters != full.num_recurrent_parameters


TRIALS = grid(("single", "no_noise", "informed", "wide"), ("nottingham", "muse_data"), ("gru",))
TRIALS += grid(("longer",), ("nottingham", "muse_data"), ("tanh",))  # all of its runs end at the cap
TRIALS += grid(("longer",), ("nottingham",), ("gru",))  # on MuseData its curves are flat at the cap
TRIALS += grid(("longer",), ("muse_data",), ("lstm",))  # two of its runs end at the cap
# Declared with their rules, and recorded as they finish.
FURTHER = grid(("authors",), ("jsb_chorales", "nottingham"), ("gru",))
FURTHER += grid(("informed",), PAPER_MUSIC)
FURTHER += grid(("best",), (*PAPER_MUSIC, "bach_chorales", "speech_a"))
FURTHER += grid(("components",), (*PAPER_MUSIC, "speech_a"), ("gru", "lstm"), ALL_VARIANTS, SIZES)
FURTHER += grid(("components",), RECALL, tuple(UNITS), ALL_VARIANTS)
FURTHER += grid(("gentle",), SPEECH)
FURTHER += grid(("fourfold",), ("speech_a",))


def same_settings(recorded: dict, settings: dict) -> bool:
    """Whether a record's settings are these; fields that came to the protocol later had their defaults' values."""
    try:
        protocol = asdict(Protocol(**recorded["protocol"]))
    except (TypeError, ValueError):  # fields or values that only another version has
        return False
    return recorded | {"protocol": protocol} == settings


def path_of(trial: Trial, folder: Path) -> Path:
    """Where a trial's record lies."""
    return records.path_of(folder, trial.column, trial.data, trial.unit, trial.label)


def save_parameters(trial: Trial, theta: np.ndarray, folder: Path) -> Path:
    """Keep the best parameters of a trial's first seed beside its record, for `evaluate_recorded`; 0 for held ones."""
    path, theta = parameters_path(folder, trial), without_held(trial.model, torch.from_numpy(theta)[None])[0].numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as file:
        np.savez_compressed(file, theta=theta)
    return path


def parameters_path(folder: Path, trial: Trial) -> Path:
    """Where a trial's kept parameters lie, beside its record."""
    return path_of(trial, folder).with_suffix(".npz")


def kept(trial: Trial, folder: Path) -> torch.Tensor:
    """The parameters (1, N) that were kept for a trial. Raises ValueError where no file holds them."""
    path = parameters_path(folder, trial)
    if not path.is_file():
        raise files.DataError(f"there is no file {path}: it is kept with the record when {trial} is run")
    theta = files.read_npz(path).get("theta", np.empty(0))
    fits = theta.shape == (trial.model.num_parameters,) and theta.dtype == np.float32
    if not (fits and np.isfinite(theta).all()):
        raise ValueError(
            f"{path} does not hold the parameters of {trial}: move it and the record away, and run it anew"
        )
    return torch.from_numpy(theta)[None]


def evaluate_recorded(trial: Trial, folder: Path) -> Evaluation:
    """The test scores of the parameters that were kept for a trial, to hold against the record."""
    return evaluate(trial.model, kept(trial, folder), load(trial.data, progress=False).test)[0]

"""The paper's study (section 4), and what this book adds to it: a grid of trials, run once and recorded.

A trial is one unit (or a variant of it) on one data set in one column, which is a way of training. It runs in stages:
the candidates of the search side by side; in some columns the best few again with other seeds, to choose by; and then
several seeds of what was chosen. Trials are independent: they run in local processes or on a Dask cluster, and a trial
that was killed goes on from its checkpoint.

Everything that the paper leaves open is decided in this file and in `training.Protocol`; the book's ledger of
departures gives the reasons.
"""

import hashlib
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import files, records
from .batching import count_steps
from .datasets import load
from .evaluation import Scorer, evaluate
from .model import SequenceModel, music_model, speech_model
from .recurrence import engine_for
from .training import Protocol, train
from .units import UNITS
from .variants import VARIANTS, apply_variant, same_parameters, variant_of

# Caps: (epochs, patience) by data set. The more steps an epoch has, the fewer epochs can be afforded.
EPOCHS = {
    "bach_chorales": (150, 20),
    "jsb_chorales": (150, 20),
    "piano_midi": (100, 15),
    "nottingham": (100, 10),
    "muse_data": (60, 10),
    "speech_a": (15, 4),
    "speech_b": (10, 4),
}
# A fixed length instead, at the end of which the rate is 0: 10,000 updates of 8 sequences on the small sets, 30,000 on
# Nottingham and MuseData, 20,000 of 16 windows on Speech A.
BUDGET = {
    "bach_chorales": 385,
    "jsb_chorales": 345,
    "piano_midi": 910,
    "nottingham": 345,
    "muse_data": 455,
    "speech_a": 74,
    "speech_b": 200,
}
SEARCH_SEED, SEEDS = 0, (1, 2, 3, 4, 5)
PAPER_MUSIC = ("jsb_chorales", "nottingham", "muse_data", "piano_midi")
SPEECH = ("speech_a", "speech_b")


@dataclass(frozen=True)
class Column:
    """A way of training: the optimiser's rule and the search for its numbers.

    low, high : the range of the learning rate, log-uniform in exp(low) .. exp(high); draws : how many. rates : the
    candidates themselves, instead. noises, dropouts : what a candidate's weight noise and dropout are drawn from.
    rungs : of successive halving, as `training.training` takes them; without, every candidate is trained to its end.
    again : so many of the best are trained again with the seeds `others`, and the mean of their validation NLL
    chooses. stretch : multiplies the caps and the patience. budget : a share of BUDGET, or epochs : a number, that
    replaces both. widen : multiplies the hidden size; hidden : replaces it.
    """

    protocol: Protocol
    low: float = -12
    high: float = -6
    draws: int = 10
    rates: tuple[float, ...] = ()
    noises: tuple[float, ...] = ()
    dropouts: tuple[float, ...] = ()
    rungs: tuple[tuple[int, int], ...] = ()
    again: int = 0
    others: tuple[int, ...] = (11, 12, 13)
    seeds: tuple[int, ...] = SEEDS
    stretch: int = 1
    budget: float = 0.0
    epochs: int = 0
    widen: int = 1
    hidden: int = 0

    @property
    def learning_rates(self) -> list[float]:
        """One fixed set of draws, the same for every trial."""
        if self.rates:
            return list(self.rates)
        return np.exp(np.random.default_rng(2014).uniform(self.low, self.high, self.draws)).tolist()

    @property
    def candidates(self) -> list[dict[str, float]]:
        """The hyperparameters of the search, the same for every trial."""
        rng, drawn = np.random.default_rng(1412), {}
        for name, known in (("weight_noise", self.noises), ("dropout", self.dropouts)):
            if known:
                drawn[name] = rng.choice(known, len(self.learning_rates)).tolist()
        return [
            {"learning_rate": rate} | {name: values[k] for name, values in drawn.items()}
            for k, rate in enumerate(self.learning_rates)
        ]


# Speech is too heavy for ten full-length candidates on a CPU; (epoch, rates kept), until one is left.
SPEECH_RUNGS = ((2, 5), (5, 2), (8, 1))
TRIAL_RUNGS = ((5, 4), (15, 1))
LONGER_RUNGS = ((30, 6), (90, 3), (150, 1))  # late, because with more epochs a lower rate may end best

PAPER = Protocol(batch_size=4)
TODAY = Protocol(
    optimizer="adamw",
    square_decay=0.99,
    objective="mean",
    informed_start=True,
    start="modern",
    schedule="cosine",
    averaging=0.999,
    order="own",
)
AUTHORS = Protocol(optimizer="authors", batch_size=1, schedule="linear", order="own", noisy_validation=True)
# "paper": its protocol, with the authors' later code where it is silent. "today": what changes when only the optimiser
# and the range of the search are today's; noise, clipping and stopping stay. "longer" to "wide" each change one thing
# in the paper's, and are run only where its result is missed (TRIALS). "wide" asks what the same training reaches with
# a larger network: it is a check of data and program, and no reproduction.
#
# "log_odds": the paper's protocol, but the output biases start at the log-odds of the pitches. "authors": the settings
# of the authors' later code. "best": what a careful practitioner would do today. "components": parts taken away.
# "converged": speech, until it no longer improves.
COLUMNS = {
    "paper": Column(PAPER, -12, -6),
    "today": Column(replace(PAPER, optimizer="adam"), -10, -4),
    "longer": Column(PAPER, -12, -6, rungs=LONGER_RUNGS, stretch=3),
    "single": Column(replace(PAPER, batch_size=1), -12, -6, rungs=TRIAL_RUNGS),
    "no_noise": Column(replace(PAPER, weight_noise=0.0), -12, -6, rungs=TRIAL_RUNGS),
    "informed": Column(replace(PAPER, informed_start=True), -12, -6, rungs=TRIAL_RUNGS),
    "wide": Column(PAPER, -12, -6, rungs=TRIAL_RUNGS, widen=4),
    "log_odds": Column(replace(PAPER, informed_start=True, order="own"), -12, -6),
    "authors": Column(AUTHORS, rates=(1e-3,), seeds=(1, 2, 3), epochs=500, hidden=48),
    "best": Column(
        TODAY,
        -7.5,
        -3.0,
        draws=24,
        noises=(0.0, 0.03, 0.075),
        dropouts=(0.0, 0.2, 0.4),
        again=4,
        seeds=tuple(range(21, 31)),
        budget=1.0,
    ),
    "components": Column(TODAY, rates=(1e-3, 2e-3, 5e-3, 1e-2, 2e-2), seeds=(31, 32, 33, 34, 35), budget=0.4),
    "converged": Column(replace(PAPER, order="own"), -15, -6, draws=16, noises=(0.0, 0.075), stretch=10),
}
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
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ValueError(f"max_epochs must be at least 1, not {self.max_epochs}")

    @classmethod
    def of(cls, record: dict) -> "Trial":
        """The trial that a record is of."""
        variant, size = record.get("variant", "full"), record.get("size", SIZES[0])
        return cls(record["column"], record["data"], record["unit"], variant.removesuffix(f"_{SIZES[1]}"), size)

    @property
    def model(self) -> SequenceModel:
        column, unit = COLUMNS[self.column], UNITS[self.unit]
        make, size = (speech_model, unit.speech_size) if self.data in SPEECH else (music_model, unit.music_size)
        model = make(self.unit, hidden_size=column.hidden or column.widen * size)
        return (apply_variant if self.size == "same_hidden" else same_parameters)(model, self.variant)

    @property
    def protocol(self) -> Protocol:
        column, speech = COLUMNS[self.column], self.data in SPEECH
        rule = column.protocol
        epochs, patience = (column.stretch * number for number in EPOCHS[self.data])
        if fixed := column.epochs or round(column.budget * BUDGET[self.data]):
            epochs = patience = fixed
            rule = replace(rule, validate_every=max(fixed // 80, 1))
        if rule.start == "modern":
            start = variant_of(self.unit, self.variant).start
            rule = replace(rule, start=start, informed_start=not speech, batch_size=16 if speech else 8)
        return replace(rule, max_epochs=self.max_epochs or epochs, patience=patience)

    @property
    def settings(self) -> dict:
        """All that decides the trial's numbers, as a record keeps it."""
        column = COLUMNS[self.column]
        settings = {
            "hidden_size": self.model.hidden_size,
            "protocol": asdict(self.protocol),
            "learning_rates": column.learning_rates,
            "rungs": [list(rung) for rung in (SPEECH_RUNGS if self.halved else column.rungs)],
            "on_nan": "shrink" if self.data in SPEECH else "drop",
            "search_seed": SEARCH_SEED,
            "seeds": list(column.seeds),
            "dtype": "float32",
        }
        if column.again:
            settings |= {"again": column.again, "others": list(column.others)}
        return settings

    @property
    def halved(self) -> bool:
        """Speech is too heavy on a CPU for a full search in the paper's and in today's column."""
        return self.data in SPEECH and self.column in ("paper", "today")

    @property
    def label(self) -> str:
        """The variant's name in a record; with another size it is another variant."""
        return self.variant if self.size == "same_hidden" else f"{self.variant}_{self.size}"

    def __str__(self) -> str:
        return f"{self.column}/{self.data}/{self.unit}" + ("" if self.label == "full" else f"/{self.label}")


def grid(
    columns=("paper", "today"),
    data=PAPER_MUSIC + SPEECH,
    units=tuple(UNITS),
    variants=("full",),
    sizes=("same_hidden",),
    max_epochs: int | None = None,
) -> list[Trial]:
    """Every trial of the given columns, data sets, units and variants; by default the whole study.

    A variant that a unit does not have is left out, and so is a size that changes nothing.
    """
    return [
        Trial(column, name, unit, variant, size, max_epochs)
        for column in columns
        for name in data
        for unit in units
        for variant in variants
        for size in sizes
        if variant in VARIANTS[unit] and (size == "same_hidden" or changes_size(unit, variant))
    ]


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
FURTHER += grid(("log_odds",), PAPER_MUSIC)
FURTHER += grid(("best",), (*PAPER_MUSIC, "bach_chorales", "speech_a"))
FURTHER += grid(("components",), (*PAPER_MUSIC, "speech_a"), ("gru", "lstm"), ALL_VARIANTS, SIZES)
FURTHER += grid(("converged",), SPEECH)


def run_trial(trial: Trial, device="cpu", work: Path | None = None, progress=False) -> tuple[dict, np.ndarray]:
    """Run one trial to its end, or go on with it: its record, and the best parameters (N,) of its first seed.

    work : the folder of the checkpoints, by default in the cache directory. They are named by the trial's settings, so
    a change of settings starts afresh, and are deleted by `run` when the record is safe.
    """
    column, settings, model = COLUMNS[trial.column], trial.settings, trial.model
    dataset = load(trial.data, progress=progress)

    def stage(name: str, members: list[dict[str, float]], seeds, rungs=()):
        own = {key: [one[key] for one in members] for key in ("weight_noise", "dropout") if key in members[0]}
        return train(
            model,
            dataset,
            learning_rates=[one["learning_rate"] for one in members],
            seeds=seeds,
            protocol=trial.protocol,
            device=device,
            checkpoint=checkpoint(trial, name, work),
            progress=progress,
            on_nan=settings["on_nan"],
            rungs=rungs,
            **own,
        )

    candidates, choice = column.candidates, []
    search = stage("search", candidates, [SEARCH_SEED] * len(candidates), settings["rungs"])
    reached = [history.best_valid for history in search.histories]
    chosen = search.best()
    if column.again:
        few = np.argsort(reached)[: column.again].tolist()
        members = [k for k in few for _ in column.others]
        again = stage("choose", [candidates[k] for k in members], column.others * len(few))
        means = np.array([history.best_valid for history in again.histories]).reshape(len(few), -1).mean(1)
        chosen = few[int(means.argmin())]
        choice = [
            {"seed": history.seed, "hyperparameters": candidates[k], "curve": records.curve(history)}
            for k, history in zip(members, again.histories, strict=True)
        ]
    final = stage("seeds", [candidates[chosen]] * len(column.seeds), column.seeds)
    theta = final.theta.to(device)
    scorers = {part: Scorer(model, getattr(dataset, part), theta.dtype, device) for part in ("train", "valid", "test")}
    scores = {part: scorer.scores(theta) for part, scorer in scorers.items()}
    nats = scorers["test"].totals(theta)[0]
    runs = [
        {
            "seed": seed,
            "hyperparameters": candidates[chosen],
            "curve": records.curve(history),
            "scores": {part: asdict(scores[part][p]) for part in scores},
            "pieces": {"test": records.pieces(nats[p], scorers["test"].steps)},
        }
        for p, (seed, history) in enumerate(zip(column.seeds, final.histories, strict=True))
    ]
    engine = engine_for(model.parts(theta)["U"]).__name__.split(".")[-1]
    record = {
        "schema": records.SCHEMA,
        "column": trial.column,
        "data": trial.data,
        "unit": trial.unit,
        "settings": settings,
        "parameters": {"recurrent": model.num_recurrent_parameters, "all": model.num_parameters},
        "search": {
            "chosen": candidates[chosen]["learning_rate"],
            "candidates": candidates,
            "curves": [records.curve(history) for history in search.histories],
        },
        "runs": runs,
        "environment": records.environment(str(device), engine),
    }
    if trial.label != "full":
        record |= {"variant": trial.label, "size": trial.size}
    if choice:
        record["choose"] = choice
    return record, final.theta[0].numpy()


def key(trial: Trial) -> str:
    """A short name of all that decides a trial's numbers."""
    told = json.dumps([trial.settings, repr(trial.model)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def checkpoint(trial: Trial, stage: str, work: Path | None = None) -> Path:
    """Where a stage of a trial keeps its state: a name that changes with the settings."""
    name = f"{str(trial).replace('/', '_')}_{stage}_{key(trial)}.npz"
    return files.target(f"study/{name}") if work is None else Path(work) / name


def run(
    trials: list[Trial],
    folder: Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    scheduler: str | None = None,
    work: Path | None = None,
    progress: bool = True,
) -> Iterator[Trial]:
    """Run the trials that have no record under `folder` yet; yields each as its record is written.

    workers : local processes, one thread each. scheduler : the address of a Dask cluster to send the trials to instead;
    if its workers share `work` with each other, a trial whose worker dies goes on from its checkpoint on another.

    Raises records.RecordError for a record that was made with other settings: it is not overwritten; ValueError for a
    scheduler where Dask is not installed.
    """
    todo = []
    for trial in trials:
        path = path_of(trial, folder)
        if not path.exists():
            todo.append(trial)
        elif not same_settings(records.read(path)["settings"], trial.settings):
            raise records.RecordError(f"{path} was made with other settings: move it away to run {trial} anew")
    if not todo:
        return
    for name in {trial.data for trial in todo}:
        load(name, progress=progress)  # fetched once, before the workers need it
    todo.sort(key=_cost, reverse=True)  # the longest first, so that none is left alone at the end
    bar = tqdm(total=sum(map(_cost, todo)), desc="study (at most)", unit="steps", unit_scale=True, disable=None)
    with bar:
        for trial, (record, theta) in _results(todo, device, work, workers, scheduler, progress):
            save_parameters(trial, theta, folder)
            records.write(record, folder)  # last: a trial with a record is finished, and is not run again
            for file in checkpoint(trial, "*", work).parent.glob(checkpoint(trial, "*", work).name):
                file.unlink(missing_ok=True)
            bar.update(_cost(trial))
            yield trial


def same_settings(recorded: dict, settings: dict) -> bool:
    """Whether a record's settings are these; fields that came to the protocol later had their defaults' values."""
    return recorded | {"protocol": asdict(Protocol(**recorded["protocol"]))} == settings


def path_of(trial: Trial, folder: Path) -> Path:
    """Where a trial's record lies."""
    return records.path_of(folder, trial.column, trial.data, trial.unit, trial.label)


def _cost(trial: Trial) -> int:
    """Time steps that a trial trains on if nothing stops early: what the progress bar counts."""
    column = COLUMNS[trial.column]
    members = len(column.candidates) + column.again * len(column.others) + len(column.seeds)
    return sum(map(count_steps, load(trial.data, progress=False).train)) * trial.protocol.max_epochs * members


def _results(trials, device, work, workers, scheduler, progress):
    """Each trial with what `run_trial` returns for it, as they finish."""
    with _executor(workers, scheduler) as (submit, completed):
        alone = progress and workers == 1 and scheduler is None  # only then is the terminal free for a bar of its own
        futures = {submit(run_trial, trial, device, work, alone): trial for trial in trials}
        for future in completed(futures):
            yield futures[future], future.result()


@contextmanager
def _executor(workers: int, scheduler: str | None):
    """How to submit work and to wait for it: local processes, or a Dask cluster."""
    if scheduler is None:
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        try:
            yield pool.submit, as_completed
        except BaseException:  # an interruption must not wait for trials of many minutes
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        return
    try:
        from distributed import Client
        from distributed import as_completed as dask_as_completed
    except ImportError as error:
        raise ValueError("a scheduler needs Dask: pip install 'gatedrnn[study]'") from error
    with Client(scheduler) as client:

        def submit(function, trial, *arguments):
            # by the settings too: another study on the same scheduler may have a trial of the same name
            return client.submit(function, trial, *arguments, key=f"gatedrnn-{trial}-{key(trial)}", pure=False)

        yield submit, dask_as_completed


def save_parameters(trial: Trial, theta: np.ndarray, folder: Path) -> Path:
    """Keep the best parameters of a trial's first seed beside its record, for `evaluate_recorded`."""
    path = parameters_path(folder, trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as file:
        np.savez_compressed(file, theta=theta)
    return path


def parameters_path(folder: Path, trial: Trial) -> Path:
    """Where a trial's kept parameters lie, beside its record."""
    return path_of(trial, folder).with_suffix(".npz")


def kept(trial: Trial, folder: Path) -> torch.Tensor:
    """The parameters (1, N) that were kept for a trial."""
    theta = torch.from_numpy(files.read_npz(parameters_path(folder, trial))["theta"])[None]
    if theta.shape[1] != trial.model.num_parameters:
        raise ValueError(f"{parameters_path(folder, trial)} does not hold the parameters of {trial}")
    return theta


def evaluate_recorded(trial: Trial, folder: Path):
    """The test scores of the parameters that were kept for a trial: an `Evaluation`, to hold against the record."""
    return evaluate(trial.model, kept(trial, folder), load(trial.data, progress=False).test)[0]


def test_pieces(trial: Trial, folder: Path) -> list[list[float]]:
    """[total NLL in nats, steps] of each test sequence under the parameters that were kept for a trial."""
    scorer = Scorer(trial.model, load(trial.data, progress=False).test, torch.float32, "cpu")
    return records.pieces(scorer.totals(kept(trial, folder))[0, 0], scorer.steps)

"""The paper's study (section 4): a grid of data sets, units and ways of training, run once and recorded.

A cell of the grid is one unit on one data set in one column. It is run in two stages, each one population: the ten
learning rates of the search side by side, and then several seeds at the rate that was best on validation. Cells are
independent: they run in local processes or on a Dask cluster, and a cell that was killed goes on from its checkpoint.

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
from .model import SequenceModel, music_model, speech_model
from .training import Protocol, evaluate, train
from .units import UNITS

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
SEARCH_SEED, SEEDS = 0, (1, 2, 3, 4, 5)
PAPER_MUSIC = ("jsb_chorales", "nottingham", "muse_data", "piano_midi")
SPEECH = ("speech_a", "speech_b")


@dataclass(frozen=True)
class Column:
    """A way of training: the optimiser's rule and the search for the learning rate.

    low, high : the range, log-uniform in exp(low) .. exp(high). rungs : of successive halving, as `training.train`
    takes them; without, every rate is trained to its end. stretch : multiplies the caps and the patience. widen :
    multiplies the hidden size.
    """

    protocol: Protocol
    low: float
    high: float
    draws: int = 10
    rungs: tuple[tuple[int, int], ...] = ()
    stretch: int = 1
    widen: int = 1

    @property
    def learning_rates(self) -> list[float]:
        """One fixed set of draws, the same for every cell."""
        return np.exp(np.random.default_rng(2014).uniform(self.low, self.high, self.draws)).tolist()


# Speech is too heavy for ten full-length candidates on a CPU; (epoch, rates kept), until one is left.
SPEECH_RUNGS = ((2, 5), (5, 2), (8, 1))
TRIAL_RUNGS = ((5, 4), (15, 1))
LONGER_RUNGS = ((30, 6), (90, 3), (150, 1))  # late, because with more epochs a lower rate may end best

PAPER = Protocol(batch_size=4)
# "paper": its protocol, with the authors' later code where it is silent. "today": what changes when only the optimiser
# and the range of the search are today's; noise, clipping and stopping stay. The others each change one thing in the
# paper's, and are run only where its result is missed (TRIALS). "wide" asks what the same training reaches with a
# larger network: it is a check of data and program, and no reproduction.
COLUMNS = {
    "paper": Column(PAPER, -12, -6),
    "today": Column(replace(PAPER, optimizer="adam"), -10, -4),
    "longer": Column(PAPER, -12, -6, rungs=LONGER_RUNGS, stretch=3),
    "single": Column(replace(PAPER, batch_size=1), -12, -6, rungs=TRIAL_RUNGS),
    "no_noise": Column(replace(PAPER, weight_noise=0.0), -12, -6, rungs=TRIAL_RUNGS),
    "informed": Column(replace(PAPER, informed_start=True), -12, -6, rungs=TRIAL_RUNGS),
    "wide": Column(PAPER, -12, -6, rungs=TRIAL_RUNGS, widen=4),
}


@dataclass(frozen=True)
class Cell:
    """One unit on one data set in one column. Raises ValueError, listing what is known, for an unknown name.

    max_epochs : a lower cap than the study's, for a trial.
    """

    column: str
    data: str
    unit: str
    max_epochs: int | None = None

    def __post_init__(self):
        for value, known in ((self.column, COLUMNS), (self.data, EPOCHS), (self.unit, UNITS)):
            if value not in known:
                raise ValueError(f"the study has no {value!r}: it knows {', '.join(known)}")

    @property
    def model(self) -> SequenceModel:
        unit = UNITS[self.unit]
        make, size = (speech_model, unit.speech_size) if self.data in SPEECH else (music_model, unit.music_size)
        return make(self.unit, hidden_size=COLUMNS[self.column].widen * size)

    @property
    def settings(self) -> dict:
        """All that decides the cell's numbers, as a record keeps it."""
        column = COLUMNS[self.column]
        max_epochs, patience = (column.stretch * epochs for epochs in EPOCHS[self.data])
        protocol = replace(column.protocol, max_epochs=self.max_epochs or max_epochs, patience=patience)
        rungs = SPEECH_RUNGS if self.data in SPEECH else column.rungs
        return {
            "hidden_size": self.model.hidden_size,
            "protocol": asdict(protocol),
            "learning_rates": column.learning_rates,
            "rungs": [list(rung) for rung in rungs],
            "on_nan": "shrink" if self.data in SPEECH else "drop",
            "search_seed": SEARCH_SEED,
            "seeds": list(SEEDS),
            "dtype": "float32",
        }

    def __str__(self) -> str:
        return f"{self.column}/{self.data}/{self.unit}"


def grid(
    columns=("paper", "today"), data=PAPER_MUSIC + SPEECH, units=tuple(UNITS), max_epochs: int | None = None
) -> list[Cell]:
    """Every cell of the given columns, data sets and units; by default the whole study."""
    return [Cell(column, name, unit, max_epochs) for column in columns for name in data for unit in units]


TRIALS = grid(("single", "no_noise", "informed", "wide"), ("nottingham", "muse_data"), ("gru",))
TRIALS += grid(("longer",), ("nottingham", "muse_data"), ("tanh",))  # all of its runs end at the cap
TRIALS += grid(("longer",), ("nottingham",), ("gru",))  # on MuseData its curves are flat at the cap
TRIALS += grid(("longer",), ("muse_data",), ("lstm",))  # two of its runs end at the cap


def run_cell(cell: Cell, device="cpu", work: Path | None = None, progress=False) -> tuple[dict, np.ndarray]:
    """Run one cell to its end, or go on with it: its record, and the best parameters (N,) of its first seed.

    work : the folder of the checkpoints, by default in the cache directory. They are named by the cell's settings, so a
    change of settings starts afresh, and are deleted by `run` when the record is safe.
    """
    settings, model, dataset = cell.settings, cell.model, load(cell.data, progress=progress)
    protocol = Protocol(**settings["protocol"])

    def stage(name: str, rates: list[float], seeds: list[int], rungs=()):
        return train(
            model,
            dataset,
            learning_rates=rates,
            seeds=seeds,
            protocol=protocol,
            device=device,
            checkpoint=checkpoint(cell, name, work),
            progress=progress,
            on_nan=settings["on_nan"],
            rungs=rungs,
        )

    rates, seeds = settings["learning_rates"], settings["seeds"]
    search = stage("search", rates, [settings["search_seed"]] * len(rates), settings["rungs"])
    chosen = rates[search.best()]
    final = stage("seeds", [chosen] * len(seeds), seeds)
    theta = final.theta.to(device)
    scores = {part: evaluate(model, theta, getattr(dataset, part)) for part in ("train", "valid", "test")}
    runs = [
        {
            "seed": seed,
            "curve": records.curve(history),
            "scores": {part: asdict(scores[part][p]) for part in scores},
        }
        for p, (seed, history) in enumerate(zip(seeds, final.histories, strict=True))
    ]
    record = {
        "schema": records.SCHEMA,
        "column": cell.column,
        "data": cell.data,
        "unit": cell.unit,
        "settings": settings,
        "parameters": {"recurrent": model.num_recurrent_parameters, "all": model.num_parameters},
        "search": {"chosen": chosen, "curves": [records.curve(history) for history in search.histories]},
        "runs": runs,
        "environment": records.environment(device),
    }
    return record, final.theta[0].numpy()


def checkpoint(cell: Cell, stage: str, work: Path | None = None) -> Path:
    """Where a stage of a cell keeps its state: a name that changes with the settings."""
    key = hashlib.sha256(json.dumps(cell.settings, sort_keys=True).encode()).hexdigest()[:12]
    name = f"{cell.column}_{cell.data}_{cell.unit}_{stage}_{key}.npz"
    return files.target(f"study/{name}") if work is None else Path(work) / name


def run(
    cells: list[Cell],
    folder: Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    scheduler: str | None = None,
    work: Path | None = None,
    progress: bool = True,
) -> Iterator[Cell]:
    """Run the cells that have no record under `folder` yet; yields each as its record is written.

    workers : local processes, one thread each. scheduler : the address of a Dask cluster to send the cells to instead;
    if its workers share `work` with each other, a cell whose worker dies goes on from its checkpoint on another.

    Raises records.RecordError for a record that was made with other settings: it is not overwritten; ValueError for a
    scheduler where Dask is not installed.
    """
    todo = []
    for cell in cells:
        path = records.path_of(folder, cell.column, cell.data, cell.unit)
        if not path.exists():
            todo.append(cell)
        elif records.read(path)["settings"] != cell.settings:
            raise records.RecordError(f"{path} was made with other settings: move it away to run {cell} anew")
    if not todo:
        return
    for name in {cell.data for cell in todo}:
        load(name, progress=progress)  # fetched once, before the workers need it
    todo.sort(key=_cost, reverse=True)  # the longest first, so that none is left alone at the end
    bar = tqdm(total=sum(map(_cost, todo)), desc="study (at most)", unit="steps", unit_scale=True, disable=None)
    with bar, _executor(workers, scheduler) as (submit, completed):
        alone = progress and workers == 1 and scheduler is None  # only then is the terminal free for a bar of its own
        futures = {submit(run_cell, cell, device, work, alone): cell for cell in todo}
        for future in completed(futures):
            cell, (record, theta) = futures[future], future.result()
            save_parameters(cell, theta, folder)
            records.write(record, folder)  # last: a cell with a record is finished, and is not run again
            for stage in ("search", "seeds"):
                checkpoint(cell, stage, work).unlink(missing_ok=True)
            bar.update(_cost(cell))
            yield cell


def _cost(cell: Cell) -> int:
    """Time steps that a cell trains on if nothing stops early: what the progress bar counts."""
    steps = sum(map(count_steps, load(cell.data, progress=False).train))
    epochs, members = cell.settings["protocol"]["max_epochs"], len(SEEDS) + COLUMNS[cell.column].draws
    return steps * epochs * members


@contextmanager
def _executor(workers: int, scheduler: str | None):
    """How to submit work and to wait for it: local processes, or a Dask cluster."""
    if scheduler is None:
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        try:
            yield pool.submit, as_completed
        except BaseException:  # an interruption must not wait for cells of many minutes
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

        def submit(function, cell, *arguments):
            return client.submit(function, cell, *arguments, key=f"gatedrnn-{cell}", pure=False)

        yield submit, dask_as_completed


def save_parameters(cell: Cell, theta: np.ndarray, folder: Path) -> Path:
    """Keep the best parameters of a cell's first seed beside its record, for `evaluate_recorded`."""
    path = parameters_path(folder, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as file:
        np.savez_compressed(file, theta=theta)
    return path


def parameters_path(folder: Path, cell: Cell) -> Path:
    """Where the kept parameters of a cell lie under a folder of records."""
    return Path(folder) / cell.column / f"{cell.data}_{cell.unit}.npz"


def evaluate_recorded(cell: Cell, folder: Path):
    """The test scores of the parameters that were kept for a cell: an `Evaluation`, to be held against the record."""
    theta = torch.from_numpy(files.read_npz(parameters_path(folder, cell))["theta"])[None]
    return evaluate(cell.model, theta, load(cell.data, progress=False).test)[0]


def test_pieces(cell: Cell, folder: Path) -> list[list[float]]:
    """[total NLL in nats, steps] of each test sequence under the parameters that were kept for a cell."""
    theta = torch.from_numpy(files.read_npz(parameters_path(folder, cell))["theta"])[None]
    alone = [evaluate(cell.model, theta, [piece])[0] for piece in load(cell.data, progress=False).test]
    return records.pieces((one.pooled * one.steps for one in alone), (one.steps for one in alone))

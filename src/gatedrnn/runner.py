"""Running the trials of `gatedrnn.study`: each once, none lost to an interruption, none run twice at the same time.

A trial runs in a process of its own, or on a Dask cluster. Its state is kept after each validation, so that it goes on
from there however it ended, and its record is written last: a trial with a record is finished. While a trial runs, its
lock is held; a second command that comes upon it leaves it to the first and takes another. The system lets go of a
lock when its process ends, however that ends. Workers end with the process that started them.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from multiprocessing import connection
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import files, records
from .batching import count_steps
from .cluster import Claims, Done, on_dask
from .columns import COLUMNS
from .datasets import load
from .evaluation import Scorer
from .process import check_device, environment
from .recurrence import engine_for
from .study import Trial, path_of, same_settings, save_parameters
from .training import train


def run_trial(trial: Trial, device: str = "cpu", work: Path | None = None, progress: bool = False) -> Done:
    """Run one trial to its end, or go on with it: its record, and the best parameters (N,) of its first seed.

    work : the folder of the checkpoints, by default in the cache directory. They are named by the trial's settings, so
    a change of settings starts afresh, and are deleted by `run` when the record is safe.
    """
    column, settings, model = COLUMNS[trial.column], trial.settings, trial.model
    dataset = load(trial.data, progress=progress)

    def stage(name: str, members: list[dict[str, float]], seeds, rungs=(), share=1.0):
        def own(key: str) -> list[float] | None:
            return [one[key] for one in members] if key in members[0] else None

        return train(
            model,
            dataset,
            learning_rates=[one["learning_rate"] for one in members],
            seeds=seeds,
            protocol=trial.shortened(share),
            device=device,
            checkpoint=checkpoint(trial, name, work),
            progress=progress,
            on_nan=settings["on_nan"],
            rungs=rungs,
            weight_noise=own("weight_noise"),
            dropout=own("dropout"),
        )

    candidates, curves, choice = column.candidates(trial.data, trial.unit), [], []
    left = list(range(len(candidates)))
    for number, (share, keep, seeds) in enumerate(column.rounds):
        members = [(k, seed) for k in left for seed in seeds]
        found = stage(
            f"heat{number}",
            [candidates[k] for k, _ in members],
            [seed for _, seed in members],
            settings["rungs"],
            share,
        ).histories
        means = np.reshape([history.best_valid for history in found], (len(left), len(seeds))).mean(1)
        left = [left[place] for place in np.argsort(means, kind="stable")[:keep]]
        if number == 0:
            curves = [records.curve(history) for history in found]
        else:
            choice += [
                {"heat": number, "seed": seed, "hyperparameters": candidates[k], "curve": records.curve(history)}
                for (k, seed), history in zip(members, found, strict=True)
            ]
    chosen = left[0]
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
            "curves": curves,
        },
        "runs": runs,
        "environment": environment(str(device), engine),
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

    One trial that fails ends the run at once, and so does an interruption; the next run goes on from the checkpoints.
    Raises records.RecordError for a record that was made with other settings: it is not overwritten; ValueError for a
    device that is not here; ModuleNotFoundError for a scheduler where Dask is not installed; OSError for a worker or a
    cluster that is lost (ChildProcessError, ConnectionError, TimeoutError).
    """
    if scheduler is None:
        check_device(device)
    todo = []
    for trial in trials:
        path = path_of(trial, folder)
        if not path.exists():
            todo.append(trial)
        elif not same_settings(records.read(path)["settings"], trial.settings):
            raise records.RecordError(f"{path} was made with other settings: move it away to run {trial} anew")
    if not todo:
        return
    costs = _costs(todo, progress)
    todo.sort(key=costs.__getitem__, reverse=True)  # the longest first, so that none is left alone at the end
    total = sum(costs[trial] for trial in todo)
    bar = tqdm(total=total, desc="study (at most)", unit="steps", unit_scale=True, disable=None)

    def claimed() -> Iterator[tuple[Trial, ExitStack]]:
        """The trials that are free when their turn comes, each with its lock."""
        for trial in todo:
            with ExitStack() as lock:
                free = lock.enter_context(files.locked(checkpoint(trial, "lock", work).with_suffix(".lock")))
                if free and not path_of(trial, folder).exists():
                    yield trial, lock.pop_all()
                else:
                    bar.write(f"{trial}: left to another process, which is running it or has just run it")

    with bar:
        if scheduler is None:
            alone = progress and workers == 1  # only then is the terminal free for a bar of the trial's own
            results = _local(claimed(), workers, device, work, alone)
        else:
            results = on_dask(claimed(), scheduler, key, run_trial, device, work)
        for trial, (record, theta) in results:
            save_parameters(trial, theta, folder)
            records.write(record, folder)  # last: a trial with a record is finished, and is not run again
            states = checkpoint(trial, "*", work).with_suffix(".*npz")  # also a member's own, KEY.0.npz
            for file in states.parent.glob(states.name):
                file.unlink(missing_ok=True)
            bar.update(costs[trial])
            yield trial


def _costs(trials: list[Trial], progress: bool) -> dict[Trial, int]:
    """Time steps that each trial trains on if nothing stops early: what the progress bar counts.

    Each data set is loaded once, so that it is fetched before the workers need it.
    """
    steps = {name: sum(map(count_steps, load(name, progress=progress).train)) for name in {t.data for t in trials}}
    return {trial: steps[trial.data] * _epochs(trial) for trial in trials}


def _epochs(trial: Trial) -> int:
    """Epochs that a trial trains if nothing stops early, those of all its networks together."""
    column = COLUMNS[trial.column]
    left, epochs = len(column.candidates(trial.data, trial.unit)), trial.protocol.max_epochs * len(column.seeds)
    for share, keep, seeds in column.rounds:
        epochs += left * len(seeds) * trial.shortened(share).max_epochs
        left = keep
    return epochs


def _local(claims: Claims, workers: int, *arguments) -> Iterator[tuple[Trial, Done]]:
    """Each trial with what `run_trial` returns for it, as they finish: a process a trial, `workers` at a time."""
    context = multiprocessing.get_context("spawn")
    running: dict = {}
    try:
        while True:
            while len(running) < workers and (claim := next(claims, None)):
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(theirs, claim[0], *arguments), daemon=True)
                running[ours] = (process, *claim)
                with _deaf():  # an interruption of all processes at once: the worker is ended by this one
                    process.start()
                theirs.close()
            if not running:
                return
            ready = connection.wait(list(running))
            for pipe in [pipe for pipe in running if pipe in ready]:
                process, trial, lock = running[pipe]
                try:
                    done = pipe.recv()
                except EOFError:
                    process.join()
                    raise ChildProcessError(
                        f"the process of {trial} was ended (exit code {process.exitcode}), for want of memory perhaps: "
                        "the same command goes on from its checkpoint"
                    ) from None
                if isinstance(done, Exception):
                    raise done
                with lock:  # until the record is written
                    yield trial, done
                process.join()
                del running[pipe]
    finally:
        for process, _, lock in running.values():
            if process.pid:
                process.kill()  # a checkpoint is written whole or not at all
                process.join()
            lock.close()


def _work(pipe, trial: Trial, *arguments) -> None:
    """What a worker does: run one trial, and hand over its result or its error; it ends when its parent ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    try:
        pipe.send(run_trial(trial, *arguments))
    except Exception as error:
        try:
            pipe.send(error)
        except Exception:  # one that cannot travel
            pipe.send(RuntimeError(f"{trial}: {error!r}"))


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

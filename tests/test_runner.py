"""The promises of running the study: nothing lost to a kill, nothing run twice, an end that comes at once, on Dask too.

The trials are those of the study on a small data set, which a program puts in place of the real ones.
"""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gatedrnn import cluster as on_cluster
from gatedrnn import records, runner, study
from gatedrnn.columns import COLUMNS
from gatedrnn.protocol import Protocol
from gatedrnn.study import Trial
from gatedrnn.training import train

TRIALS = [
    Trial("paper", "jsb_chorales", "gru", max_epochs=2),
    Trial("components", "jsb_chorales", "lstm", "coupled", max_epochs=2),
]
FINISHED = [f"{trial}: recorded" for trial in TRIALS]


def numbers(record: dict) -> tuple:
    """What must not depend on how a record came about: everything but clocks and machines."""
    runs = [(run["seed"], run["scores"], run["curve"]["valid"], run["curve"]["train"]) for run in record["runs"]]
    return record["settings"], record["search"]["chosen"], [c["valid"] for c in record["search"]["curves"]], runs


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, toy: Callable):
    """The small data set in place of every one of the study."""
    for room in (runner, study):
        monkeypatch.setattr(room, "load", lambda name, progress=True: toy())
    return toy()


@pytest.fixture(scope="module")
def undisturbed(toy: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The trials, run in one go in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "load", lambda name, progress=True: toy())
        return {trial: runner.run_trial(trial, work=tmp_path_factory.mktemp("work")) for trial in TRIALS}


def found(trial: Trial, folder: Path) -> dict:
    return records.read(study.path_of(trial, folder))


def test_the_best_rate_of_the_search_is_taken_and_its_runs_are_recorded(undisturbed: dict):
    for trial, (record, theta) in undisturbed.items():
        records.check(record)
        reached = [min(curve["valid"]) for curve in record["search"]["curves"]]
        best = int(np.argmin(reached))
        assert best != 0, "the first rate is the best: the test is weak"
        assert record["search"]["chosen"] == trial.settings["learning_rates"][best]
        assert [run["seed"] for run in record["runs"]] == trial.settings["seeds"]
        assert record["settings"] == trial.settings and theta.shape == (trial.model.num_parameters,)
    assert record["variant"] == "coupled" and record["size"] == "same_hidden"


def test_heats_let_fewer_and_fewer_go_on_by_the_mean_of_their_seeds(small, tmp_path: Path, monkeypatch):
    heats = ((1 / 2, 3, (0,)), (1.0, 1, (11, 12)))
    monkeypatch.setitem(COLUMNS, "best", dataclasses.replace(COLUMNS["best"], draws=6, heats=heats, epochs=4))
    record, _ = runner.run_trial(Trial("best", "jsb_chorales", "gru"), work=tmp_path)
    records.check(record)
    assert {curve["epoch"][-1] for curve in record["search"]["curves"]} == {2}
    reached = [min(curve["valid"]) for curve in record["search"]["curves"]]
    few = sorted(range(6), key=lambda k: reached[k])[:3]
    candidates = record["search"]["candidates"]
    assert [(one["heat"], one["seed"], one["hyperparameters"]) for one in record["choose"]] == [
        (1, seed, candidates[k]) for k in few for seed in (11, 12)
    ]
    assert {one["curve"]["epoch"][-1] for one in record["choose"]} == {4}
    means = [np.mean([min(one["curve"]["valid"]) for one in record["choose"][2 * n : 2 * n + 2]]) for n in range(3)]
    assert all(run["hyperparameters"] == candidates[few[int(np.argmin(means))]] for run in record["runs"])
    assert len({tuple(one["curve"]["valid"]) for one in record["choose"]}) == 6


def test_a_record_can_be_evaluated_and_followed_anew(undisturbed: dict, small, tmp_path: Path):
    """The kept parameters give the recorded score, and a short re-run follows the recorded curve."""
    for trial, (record, theta) in undisturbed.items():
        study.save_parameters(trial, theta, tmp_path)
        recorded = record["runs"][0]["scores"]["test"]
        assert study.evaluate_recorded(trial, tmp_path).pooled == pytest.approx(recorded["pooled"], rel=1e-5)
    trial, (record, _) = next(iter(undisturbed.items()))
    protocol = Protocol(**record["settings"]["protocol"] | {"max_epochs": 1})
    rates, seeds = [record["search"]["chosen"]], [record["runs"][0]["seed"]]
    again = train(trial.model, small, learning_rates=rates, seeds=seeds, protocol=protocol)
    assert again.histories[0].valid == pytest.approx(record["runs"][0]["curve"]["valid"][:2], rel=1e-3)


def test_records_are_not_made_twice_nor_overwritten(undisturbed: dict, small, tmp_path: Path):
    for record, _ in undisturbed.values():
        records.write(record, tmp_path)
    assert list(runner.run(TRIALS, tmp_path)) == []
    longer = [dataclasses.replace(TRIALS[0], max_epochs=3)]
    with pytest.raises(records.RecordError, match="other settings"):
        list(runner.run(longer, tmp_path))


def test_a_run_loads_each_data_set_once(undisturbed: dict, toy: Callable, tmp_path: Path, monkeypatch):
    loaded = []

    def at_once(claims, *_):
        for trial, lock in claims:
            with lock:
                yield trial, undisturbed[trial]

    monkeypatch.setattr(runner, "load", lambda name, progress=True: loaded.append(name) or toy())
    monkeypatch.setattr(runner, "_local", at_once)
    assert set(runner.run(TRIALS, tmp_path / "out", work=tmp_path / "work")) == set(TRIALS)
    assert loaded == ["jsb_chorales"]


KEYS = {
    Trial("paper", "nottingham", "gru"): "19a7d428a919",
    Trial("adam", "nottingham", "gru"): "a489513a18d4",
    Trial("longer", "nottingham", "gru"): "574afb24554c",
    Trial("single", "nottingham", "gru"): "00d1bb307ef6",
    Trial("no_noise", "nottingham", "gru"): "f786dfc51348",
    Trial("informed", "nottingham", "gru"): "45335f26149a",
    Trial("wide", "nottingham", "gru"): "033a46427061",
    Trial("authors", "nottingham", "gru"): "df9be6d34883",
    Trial("best", "nottingham", "gru"): "86eab1584ef4",
    Trial("components", "nottingham", "gru"): "70a580a4812a",
    Trial("components", "piano_midi", "lstm", "no_forget_gate", "same_parameters"): "b0b16ff853ff",
    Trial("gentle", "speech_a", "tanh"): "67db59e663c1",
    Trial("fourfold", "speech_a", "gru"): "2eb7e96646e3",
    Trial("paper", "speech_a", "tanh"): "b08b1854d31e",
}


def test_a_trial_keeps_its_name_so_that_a_run_of_days_goes_on_from_its_checkpoints():
    """A key follows from all settings and from how a model prints: a change of either starts such runs afresh."""
    assert {trial: runner.key(trial) for trial in KEYS} == KEYS
    assert {trial.column for trial in KEYS} == COLUMNS.keys()


def test_another_cap_of_epochs_is_another_name():
    """On a scheduler that others use too, and for the checkpoints."""
    names = {runner.key(dataclasses.replace(TRIALS[0], max_epochs=cap)) for cap in (None, 2, 3)}
    names |= {runner.key(dataclasses.replace(TRIALS[1], variant=variant)) for variant in ("full", "coupled")}
    assert len(names) == 5


@pytest.mark.parametrize("device", ["banana", "", "meta", "cpu:banana", "cuda:77"])
def test_a_device_that_is_not_here_is_one_sentence(device: str, tmp_path: Path, small):
    with pytest.raises(ValueError, match="there is no .*use cpu"):
        list(runner.run(TRIALS, tmp_path, device=device))
    with pytest.raises(ValueError, match="there is no .*use cpu"):
        train(TRIALS[0].model, small, learning_rates=[1e-3], seeds=[0], device=device)


# Programs: the study's command, with small data, and with what a test puts in the place of `TROUBLE`

PROGRAM = """
import os, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import toy_data
from gatedrnn import cli, population, runner, study
from gatedrnn.study import Trial

work, out = Path({folder!r}) / "work", Path({folder!r}) / "out"
work.mkdir(exist_ok=True)
runner.load = lambda name, progress=True: toy_data()
original = runner.__dict__.setdefault("original", runner.run_trial)  # Dask may load this program twice
trials = [
    Trial("paper", "jsb_chorales", "gru", max_epochs=2),
    Trial("components", "jsb_chorales", "lstm", "coupled", max_epochs=2),
]
study.grid = lambda *args, **options: trials
run = runner.run
runner.run = lambda *args, **options: run(*args, **options | {{"work": work}})

def noted(trial, *arguments):
    with open(work / "started", "a") as file:
        print(os.getpid(), trial, file=file, flush=True)
    return original(trial, *arguments)

runner.run_trial = noted
{trouble}
if __name__ == "__main__":
    cli.main()
"""
SLOW = """
save = population.__dict__.setdefault("save", population.Population.save)
def slow(self, path):
    save(self, path)
    time.sleep(0.7)
population.Population.save = slow
"""


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable]:
    """How to start the study in a process of its own; what is left of it at the end is killed."""
    started = []

    def start(trouble: str = "", *options: str) -> subprocess.Popen:
        script = tmp_path / "program.py"
        text = PROGRAM.format(tests=str(request.path.parent), folder=str(tmp_path), trouble=textwrap.dedent(trouble))
        script.write_text(text)
        command = [sys.executable, str(script), "study", "--results", str(tmp_path / "out"), *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(condition: Callable[[], object], seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def workers(folder: Path) -> list[int]:
    """The processes that have begun a trial."""
    file = folder / "work" / "started"
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("whom", ["all", "parent"])
def test_a_killed_study_leaves_nobody_and_goes_on_to_the_same_records(undisturbed, tmp_path: Path, program, whom: str):
    process = program(SLOW)
    until(lambda: len(list((tmp_path / "work").glob("*_heat0_*.npz"))) == 2)
    (os.killpg if whom == "all" else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: all(map(gone, workers(tmp_path))), 20)  # the workers end with their parent, however it ended
    assert not list((tmp_path / "out").rglob("*.json")), "killed too late"
    done, errors = program().communicate()
    assert sorted(done.splitlines()[1:]) == sorted(FINISHED), errors
    for trial, (record, _) in undisturbed.items():
        assert numbers(found(trial, tmp_path / "out")) == numbers(record)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["started"], "checkpoints or locks are left behind"


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_command_alone_ends_it_and_its_workers(tmp_path: Path, program, number: int, code: int):
    process = program("import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + SLOW)
    until(lambda: list((tmp_path / "work").glob("*_heat0_*.npz")))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)  # far less than the trial would take
    assert process.returncode == code and "Traceback" not in errors, errors
    assert all(map(gone, workers(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "trouble, said",
    [
        ("raise ValueError('no such luck')", "gatedrnn: no such luck"),
        ("import os; os.kill(os.getpid(), 9)", "paper/jsb_chorales/gru was ended .exit code -9."),
    ],
    ids=["an error", "a kill"],
)
def test_a_trial_that_fails_ends_the_run_at_once(tmp_path: Path, program, trouble: str, said: str):
    fails = f"""
    def failing(trial, *arguments):
        if trial.unit == "gru":
            {trouble}
        time.sleep(300)

    runner.run_trial = failing
    """
    _, errors = program(fails).communicate(timeout=120)
    last = errors.strip().splitlines()[-1]
    assert re.search(said, last) and "Traceback" not in errors


@pytest.mark.slow
def test_two_commands_at_once_share_the_trials(undisturbed, tmp_path: Path, program):
    both = [program(SLOW, "--workers", "1"), program(SLOW, "--workers", "1")]
    said = [process.communicate(timeout=200) for process in both]
    recorded = [line for out, _ in said for line in out.splitlines() if line.endswith(": recorded")]
    assert sorted(recorded) == sorted(FINISHED), said  # each once; the other command may say that it left a trial
    assert len(workers(tmp_path)) == 2, "a trial was run twice"
    for trial, (record, _) in undisturbed.items():
        assert numbers(found(trial, tmp_path / "out")) == numbers(record)


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable]:
    """How to start a Dask scheduler on a free port of this machine, with workers: its address, and its processes."""
    pytest.importorskip("distributed", reason="the study extra is not installed")
    contact, started = tmp_path / "scheduler.json", []
    host = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(contact)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}

    def start(number: int, trouble: str = "") -> tuple[str, list[subprocess.Popen]]:
        preload = tmp_path / "preload.py"
        text = PROGRAM.format(tests=str(request.path.parent), folder=str(tmp_path), trouble=textwrap.dedent(trouble))
        preload.write_text(text)
        port = ["--port", "0", "--dashboard-address", ":0"]
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *port, *host]
        started.append(subprocess.Popen(command, **quiet))
        until(lambda: contact.is_file() and contact.read_text().endswith("}"))
        options = ["--nthreads", "1", "--no-nanny", "--preload", str(preload), *host]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", *options]
        started.extend(subprocess.Popen(command, **quiet) for _ in range(number))
        return json.loads(contact.read_text())["address"], started

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_on_dask_a_trial_survives_its_worker(undisturbed, tmp_path: Path, small, cluster: Callable):
    """The worker that holds the trial is killed midway; the other goes on from its checkpoint."""
    address, processes = cluster(2, SLOW)
    finished: list = []
    trials = runner.run(TRIALS[:1], tmp_path / "out", scheduler=address, work=tmp_path / "work", progress=False)
    thread = threading.Thread(target=lambda: finished.extend(trials))
    thread.start()
    until(lambda: list((tmp_path / "work").glob("*_heat0_*.npz")))
    (first,) = workers(tmp_path)
    next(process for process in processes if process.pid == first).kill()
    thread.join(timeout=200)
    assert finished == TRIALS[:1] and len(set(workers(tmp_path))) == 2
    assert numbers(found(TRIALS[0], tmp_path / "out")) == numbers(undisturbed[TRIALS[0]][0])


@pytest.mark.slow
def test_a_cluster_without_workers_and_one_that_is_lost_are_one_sentence(
    tmp_path: Path, small, cluster: Callable, monkeypatch: pytest.MonkeyPatch
):
    address, processes = cluster(0)
    monkeypatch.setattr(on_cluster, "PATIENCE", 8)
    options = {"work": tmp_path / "work", "progress": False}
    with pytest.raises(TimeoutError, match="no worker came to tcp://.* start `dask worker tcp://"):
        list(runner.run(TRIALS, tmp_path, scheduler=address, **options))
    processes[0].kill()
    processes[0].wait()
    with pytest.raises(ConnectionError, match="cannot be reached: name a running one"):
        list(runner.run(TRIALS, tmp_path, scheduler=address, **options))
    assert not list((tmp_path / "work").glob("*.lock"))


def test_a_scheduler_without_dask_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"^distributed is not installed: pip install 'gatedrnn\[study\]'"):
        list(runner.run(TRIALS[:1], tmp_path, scheduler="tcp://127.0.0.1:1"))

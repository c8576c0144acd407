"""The grid, and the promises of running it: nothing lost to a kill, nothing run twice, the same on Dask."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from gatedrnn import optim, records, study
from gatedrnn.datasets import load
from gatedrnn.study import COLUMNS, Trial, grid, run
from gatedrnn.training import Protocol, train

TRIAL = [Trial("paper", "bach_chorales", unit, max_epochs=2) for unit in ("gru", "lstm")]


def numbers(record):
    """What must not depend on how a record came about: everything but clocks and machines."""
    runs = [(run["seed"], run["scores"], run["curve"]["valid"], run["curve"]["train"]) for run in record["runs"]]
    return record["settings"], record["search"]["chosen"], [c["valid"] for c in record["search"]["curves"]], runs


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The two trial cells, run in one go in this process."""
    work = tmp_path_factory.mktemp("work")
    return {str(cell): study.run_trial(cell, work=work) for cell in TRIAL}


def test_the_grid_is_the_papers():
    cells = grid()
    assert len(cells) == len(set(cells)) == 2 * 6 * 3
    assert {cell.model.hidden_size for cell in cells if cell.data == "nottingham"} == {100, 46, 36}
    assert {cell.model.hidden_size for cell in cells if cell.data == "speech_a"} == {400, 227, 195}


def test_only_speech_and_the_trials_halve_their_search():
    assert not any(cell.settings["rungs"] for cell in grid(data=study.PAPER_MUSIC))
    halved = [*grid(data=study.SPEECH), *study.TRIALS]
    for cell in halved:
        keep = [kept for _, kept in cell.settings["rungs"]]
        assert keep[-1] == 1 and keep == sorted(set(keep), reverse=True)
    for cell in study.TRIALS:
        stretched = cell.settings["protocol"]["max_epochs"] / study.EPOCHS[cell.data][0]
        assert stretched == (3 if cell.column == "longer" else 1)


def test_a_trial_differs_from_the_papers_column_in_one_setting_and_the_halving():
    for cell in study.TRIALS:
        mine, papers = cell.settings, Trial("paper", cell.data, cell.unit).settings
        changed = {name for name in mine["protocol"] if mine["protocol"][name] != papers["protocol"][name]}
        one = {"longer": {"max_epochs", "patience"}, "single": {"batch_size"}}
        one |= {"no_noise": {"weight_noise"}, "informed": {"informed_start"}, "wide": set()}
        assert changed == one[cell.column]
        where = "hidden_size" if cell.column == "wide" else "protocol"
        assert {name for name in mine if mine[name] != papers[name]} == {where, "rungs"}


def test_the_ledger_names_the_caps_and_the_rungs_that_are_declared(root):
    ledger = " ".join((root / "book" / "departures.md").read_text().split())
    music = [study.EPOCHS[name] for name in study.PAPER_MUSIC]
    speech = sorted({study.EPOCHS[name][0] for name in study.SPEECH})
    caps, patience = ([one[k] for one in music] for k in (0, 1))
    assert f"music {min(patience)} to {max(patience)}, speech {study.EPOCHS['speech_a'][1]}" in ledger
    assert f"at most {min(caps)} to {max(caps)} epochs of music, {speech[0]} or {speech[1]} of speech" in ledger
    (a, b, c), (d, e), (f, g, h) = study.SPEECH_RUNGS, study.TRIAL_RUNGS, study.LONGER_RUNGS
    assert f"the best {a[1]} go on after epoch {a[0]}, the best {b[1]} after epoch {b[0]}" in ledger
    assert f"the best one is taken after epoch {c[0]}" in ledger
    assert f"10 rates, {d[1]} after epoch {d[0]}, one after epoch {e[0]}" in ledger
    assert f"{f[1]} after epoch {f[0]}, {g[1]} after epoch {g[0]}, one after epoch {h[0]}" in ledger
    assert f"four times the hidden units, {Trial('wide', 'nottingham', 'gru').model.hidden_size}" in ledger


def test_the_ledger_tells_the_rules_of_the_columns_declared_before_their_results(root):
    text = " ".join((root / "book" / "departures.md").read_text().split())
    rows = {name: text.split(f"| *{name}* |")[1].split("| *")[0] for name in study.COLUMNS if f"| *{name}* |" in text}
    assert rows.keys() == study.COLUMNS.keys() - {"paper"}
    authors, best, parts, converged = (COLUMNS[name] for name in ("authors", "best", "components", "converged"))
    trial = Trial("authors", "nottingham", "gru")
    rule = trial.protocol
    assert f"rate $10^{{-3}}$, falling linearly to 1 % over {authors.epochs} epochs" in rows["authors"]
    assert rule.factor(1, 1, rule.max_epochs) == pytest.approx(0.01) and authors.rates == (1e-3,)
    assert f"averaging {rule.decay}, momentum {rule.momentum}" in rows["authors"] and optim.FLOOR == 1e-2
    assert f"validation every {rule.validate_every} epochs" in rows["authors"]
    assert f"{trial.model.hidden_size} GRU units" in rows["authors"] and rule.batch_size == 1 and rule.noisy_validation
    assert f"decays 0.9 and {study.TODAY.square_decay} and weight decay {study.TODAY.weight_decay}" in rows["best"]
    assert f"first {study.TODAY.warmup:.0%}".replace("%", " %") in rows["best"]
    assert f"averaged with decay {study.TODAY.averaging}" in rows["best"]
    assert f"{best.draws} random candidates" in rows["best"] and f"$({best.low}, {best.high:g})$" in rows["best"]
    assert (best.noises, best.dropouts, best.again, best.others) == ((0, 0.03, 0.075), (0, 0.2, 0.4), 4, (11, 12, 13))
    assert "the best 4 on validation are trained again with seeds 11 to 13" in rows["best"]
    assert f"ten seeds, {best.seeds[0]} to {best.seeds[-1]}" in rows["best"] and len(best.seeds) == 10
    *some, last = map(str, parts.rates)
    assert f"the rates {', '.join(some)} and {last}" in rows["components"] and parts.budget == 0.4
    assert f"seeds {parts.seeds[0]} to {parts.seeds[-1]}" in rows["components"]
    drawn = f"{converged.draws} rates $e^{{u}}$, $u$ uniform in $({converged.low}, {converged.high})$"
    assert drawn in rows["converged"]
    assert converged.noises == (0, 0.075) and "ten times the cap" in rows["converged"] and converged.stretch == 10
    for name in study.COLUMNS.keys() - {"paper", "today", "longer", "single", "no_noise", "informed", "wide"}:
        assert COLUMNS[name].protocol.order == "own"


def test_the_paper_column_draws_ten_rates_from_its_range():
    column = COLUMNS["paper"]
    rates = np.log(column.learning_rates)
    assert len(rates) == 10 and (rates > -12).all() and (rates < -6).all()
    assert column.learning_rates == COLUMNS["paper"].learning_rates
    assert np.allclose(np.log(COLUMNS["today"].learning_rates), rates + 2)  # the ledger says so
    assert (column.protocol.weight_noise, column.protocol.clip_norm, column.protocol.optimizer) == (0.075, 1, "rmsprop")


@pytest.mark.parametrize(
    "names", [("papre", "nottingham", "gru"), ("paper", "mozart", "gru"), ("paper", "nottingham", "rnn")]
)
def test_unknown_names_list_the_known_ones(names):
    with pytest.raises(ValueError, match="it knows .*(paper|nottingham|tanh)"):
        Trial(*names)


@pytest.mark.slow
def test_a_record_can_be_evaluated_and_followed_anew(undisturbed, tmp_path):
    """The kept parameters give the recorded score, and a short re-run follows the recorded curve."""
    cell = TRIAL[0]
    record, theta = undisturbed[str(cell)]
    records.check(record)
    study.save_parameters(cell, theta, tmp_path)
    recorded = record["runs"][0]["scores"]["test"]
    assert study.evaluate_recorded(cell, tmp_path).pooled == pytest.approx(recorded["pooled"], rel=1e-5)
    protocol = Protocol(**record["settings"]["protocol"] | {"max_epochs": 1})
    seed = record["runs"][0]["seed"]
    again = train(
        cell.model, load(cell.data), learning_rates=[record["search"]["chosen"]], seeds=[seed], protocol=protocol
    )
    assert again.histories[0].valid == pytest.approx(record["runs"][0]["curve"]["valid"][:2], rel=1e-3)


@pytest.mark.slow
def test_records_are_not_made_twice_nor_overwritten(undisturbed, tmp_path, monkeypatch):
    for record, _ in undisturbed.values():
        records.write(record, tmp_path)
    monkeypatch.setattr(study, "run_trial", lambda *a: pytest.fail("a finished cell was run again"))
    assert list(run(TRIAL, tmp_path)) == []
    longer = [Trial("paper", "bach_chorales", "gru", max_epochs=3)]
    with pytest.raises(records.RecordError, match="other settings"):
        list(run(longer, tmp_path))


SCRIPT = """
    import sys
    from pathlib import Path
    from gatedrnn.study import Trial, run
    if __name__ == "__main__":
        cells = [Trial("paper", "bach_chorales", unit, max_epochs=2) for unit in ("gru", "lstm")]
        for cell in run(cells, Path({out!r}), work=Path({work!r}), workers=2, progress=False):
            print("finished", cell, flush=True)
"""


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_records(undisturbed, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    script = tmp_path / "study.py"
    script.write_text(textwrap.dedent(SCRIPT).format(out=str(out), work=str(work)))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(work.glob("*_search_*.npz")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(work.glob("*.npz")) and not list(out.rglob("*.json")), "killed too late or too early"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=240)
    assert sorted(done.stdout.split("\n")[:2]) == [f"finished {cell}" for cell in TRIAL]
    for cell in TRIAL:
        found = records.read(records.path_of(out, cell.column, cell.data, cell.unit))
        assert numbers(found) == numbers(undisturbed[str(cell)][0])
    assert not list(work.glob("*.npz")), "checkpoints of finished cells are left behind"
    again = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60)
    assert again.stdout == ""


@pytest.mark.slow
def test_on_dask_a_cell_survives_its_worker(undisturbed, tmp_path):
    """A real scheduler and two workers on this machine; the worker that holds a cell is killed midway."""
    pytest.importorskip("distributed", reason="the study extra is not installed")
    work, out, contact = tmp_path / "work", tmp_path / "out", tmp_path / "scheduler.json"
    host = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(contact)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    any_port = ["--port", "0", "--dashboard-address", ":0"]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *any_port, *host]
    processes = [subprocess.Popen(command, **quiet)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *host]
    processes += [subprocess.Popen([*worker, "--name", name], **quiet) for name in ("first", "second")]
    try:
        while not (contact.is_file() and contact.read_text()):
            time.sleep(0.1)
        address = json.loads(contact.read_text())["address"]
        cells = run(TRIAL[:1], out, scheduler=address, work=work, progress=False)
        from distributed import Client

        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            import threading

            finished = []
            thread = threading.Thread(target=lambda: finished.extend(cells))
            thread.start()
            deadline = time.monotonic() + 120
            while not list(work.glob("*_search_*.npz")) and time.monotonic() < deadline:
                time.sleep(0.1)
            busy = [name for name, tasks in client.processing().items() if tasks]
            names = {address: info["name"] for address, info in client.scheduler_info()["workers"].items()}
            processes[1 + ("first", "second").index(names[busy[0]])].kill()
            thread.join(timeout=200)
        assert finished == TRIAL[:1]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    found = records.read(records.path_of(out, "paper", "bach_chorales", "gru"))
    assert numbers(found) == numbers(undisturbed[str(TRIAL[0])][0])


def test_a_scheduler_without_dask_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"gatedrnn\[study\]"):
        list(run(TRIAL[:1], tmp_path, scheduler="tcp://127.0.0.1:1"))

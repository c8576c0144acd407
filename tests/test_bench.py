"""The benchmark runs, writes what the performance page reads, and goes on where it was. Nothing here is about speed."""

import dataclasses
import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gatedrnn.units import UNITS

WAYS = {"ours", "torch loops", "torch.nn", "products", "jax", "jax vmap"}


@pytest.fixture(scope="module")
def output(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a run of the smallest plan leaves."""
    path = tmp_path_factory.mktemp("bench") / "results" / "speed.json"
    command = [sys.executable, root / "bench" / "speed.py", "--plan", "tiny", "--output", path]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    return path


@pytest.fixture
def speed(root: Path, monkeypatch: pytest.MonkeyPatch):
    """The module `bench/speed.py`."""
    monkeypatch.syspath_prepend(root / "bench")
    return importlib.import_module("speed")


def is_time(quartiles: list[float]) -> bool:
    return len(quartiles) == 3 and 0 < quartiles[0] <= quartiles[1] <= quartiles[2]


@pytest.mark.slow
def test_every_part_follows_the_schema(output: Path):
    found = json.loads(output.read_text())
    assert found["schema"] == 2 and found["settings"]["plan"] == "tiny"
    assert {"versions", "processor", "instructions", "cores", "device", "engine", "threads"} <= found[
        "environment"
    ].keys()
    assert len(found["rows"]) == 1
    for row in found["rows"]:
        assert (row["unit"], row["T"], row["P"], row["B"]) == ("gru", 4, 2, 2) and row["rounds"] >= 3
        assert row["ways"].keys() == WAYS and "load" in row
        for name, way in row["ways"].items():
            if name.startswith("jax") and find_spec("jax") is None:
                assert "not installed" in way["left_out"]
                continue
            assert way["members"] == 2 and way["steps_per_second"] > 0
            assert is_time(way["seconds"]) and is_time(way["ours_is_faster"])
        assert row["ways"]["ours"]["ours_is_faster"] == [1, 1, 1]
    assert found["growth"]["base"] == {"P": 2, "T": 4, "B": 2, "H": 46}
    for axis, values in (("P", [1, 2]), ("T", [4, 8]), ("H", [23])):
        assert [point["value"] for point in found["growth"][axis]] == values
        assert all(is_time(point["seconds"]) for point in found["growth"][axis])
    pieces = {"forward", "backward", "gradient step", "update", "in the loop", "at once"}
    for row in found["parts"]:
        assert row["seconds"].keys() == pieces
        assert all(is_time(row["seconds"][name]) for name in ("forward", "update", "in the loop", "at once"))
    assert found["operations"].keys() == set(UNITS)
    assert 0 == found["operations"]["gru"]["ours"] < found["operations"]["gru"]["torch loops"]
    (row,) = found["training"]
    assert (row["unit"], row["P"]) == ("gru", 2) and row["seconds"].keys() == {"compiled", "torch"}
    assert is_time(row["compiled_is_faster"]) and all(map(is_time, row["seconds"].values()))


@pytest.mark.slow
def test_a_run_that_was_ended_goes_on_with_what_is_missing(speed, output: Path, tmp_path: Path, capsys):
    whole, path = json.loads(output.read_text()), tmp_path / "speed.json"
    plan = dataclasses.replace(speed.PLANS["tiny"], P=(2, 3))
    whole["settings"] = speed.settings_of("tiny", plan)
    del whole["growth"]
    speed.save(whole, path)
    found = speed.begin(path, whole["environment"], speed.settings_of("tiny", plan))
    assert found == whole and "going on" in capsys.readouterr().out
    assert [label for label, _, _ in speed.steps(found, plan, jax=False)] == [
        "growth with P, T and H",
        "music gru T=4 P=3 B=2",
    ]


@pytest.mark.slow
def test_figures_of_other_code_are_not_mixed_in(speed, output: Path, capsys):
    whole = json.loads(output.read_text())
    settings = speed.settings_of("tiny", speed.PLANS["tiny"])
    assert speed.begin(output, whole["environment"], settings) == whole
    assert speed.begin(output, whole["environment"], settings | {"code": "0"})["rows"] == []
    assert "starting afresh" in capsys.readouterr().out


def test_a_configuration_without_room_says_so(speed, monkeypatch: pytest.MonkeyPatch):
    it = speed.Configuration("speech", "gru", 1000, 10, 32)
    monkeypatch.setattr(speed, "free_memory", lambda: 2e9)
    assert "10 GB" in speed.measure(it, 0.1, jax=True)["ways"]["ours"]["left_out"]


def test_the_full_plan_is_the_whole_grid(speed):
    grid = speed.configurations(speed.PLANS["full"])
    assert len(set(grid)) == len(grid) == 3 * 2 * 2 * 3 and {it.kind for it in grid} == {"music"}
    assert {it.kind for it in speed.configurations(speed.PLANS["speech"])} == {"speech"}


def test_the_quick_plan_is_the_core_of_the_table(speed):
    grid = speed.configurations(speed.PLANS["quick"])
    assert len(grid) == 12 and {(it.kind, it.T) for it in grid} == {("music", 128)}
    assert [label for label, _, _ in speed.steps({"rows": []}, speed.PLANS["quick"], jax=True)] == list(map(str, grid))


def test_the_last_line_counts_where_ours_is_ahead(speed):
    def row(nn: float, jax: float, vmap: float | None, B: int = 8) -> dict:
        found = {"ours": 1.0, "torch.nn": nn, "jax": jax} | ({} if vmap is None else {"jax vmap": vmap})
        ways = {name: {"seconds": [1, 1, 1], "ours_is_faster": [0, ratio, 9]} for name, ratio in found.items()}
        ways.setdefault("jax vmap", {"left_out": "no room"})
        return {"kind": "music", "B": B, "ways": ways}

    rows = [row(2, 2, 2), row(2, 2, 0.5), row(0.5, 2, None), row(0.5, 0.5, 0.5, B=1)]
    assert speed.summary(rows) == "ahead in 2 of 3 (torch.nn), 2 of 3 (JAX)"


def test_a_comment_does_not_make_figures_stale(speed, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = speed.PLANS["tiny"]
    kept = speed.settings_of("tiny", plan)["code"]
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    for name in speed.TIMED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((root / name).read_text() + "\n# a remark\n")
    assert speed.settings_of("tiny", plan)["code"] == kept
    with (tmp_path / "bench/ways.py").open("a") as file:
        file.write("RATE = 2\n")
    assert speed.settings_of("tiny", plan)["code"] != kept

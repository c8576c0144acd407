"""The schema of the records, and the table made from them, on records made here."""

import copy
import json
import math

import numpy as np
import pytest
from scipy import stats

from gatedrnn import records, study
from gatedrnn.units import UNITS


def made(unit="gru", data="jsb_chorales", test=(8.0, 8.2, 8.4), seeds=(1, 2, 3)):
    """A small record of the right form."""
    curve = {name: [0, 1] for name in records.CURVE} | {
        "train": [None, 9.0],
        "best_epoch": 1,
        "stop_reason": "patience",
    }

    def scores(nll):
        averages = ("pooled", "per_sequence", "pooled_after_first", "per_sequence_after_first")
        return {name: nll for name in averages} | {"steps": 10, "sequences": 2}

    return {
        "schema": records.SCHEMA,
        "column": "paper",
        "data": data,
        "unit": unit,
        "settings": {"learning_rates": [1e-3, 1e-2], "seeds": list(seeds)},
        "parameters": {"recurrent": 10, "all": 20},
        "search": {"chosen": 1e-3, "curves": [copy.deepcopy(curve), copy.deepcopy(curve)]},
        "runs": [
            {
                "seed": seed,
                "curve": copy.deepcopy(curve),
                "scores": {"train": scores(7.0), "valid": scores(8.0), "test": scores(nll)},
            }
            for seed, nll in zip(seeds, test, strict=True)
        ],
        "environment": records.environment("cpu"),
    }


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = records.write(made(), tmp_path)
    assert path == tmp_path / "paper" / "jsb_chorales_gru.json"
    assert records.read(path) == made() == records.read_all(tmp_path)[0]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.update(schema=99),
        lambda r: r.pop("parameters"),
        lambda r: r["runs"].pop(),
        lambda r: r["runs"][0].update(seed=7),
        lambda r: r["runs"][0]["scores"].pop("test"),
        lambda r: r["search"]["curves"].pop(),
        lambda r: r["search"].update(chosen=0.5),
        lambda r: r["runs"][1]["curve"]["valid"].append(3.0),
        lambda r: r["runs"][1]["curve"].update(best_epoch=5),
        lambda r: r["runs"][1]["curve"].update(stop_reason=None),
        lambda r: r["environment"].pop("device"),
        lambda r: r.update(unit="elman"),
    ],
)
def test_a_record_that_breaks_the_schema_is_neither_written_nor_read(tmp_path, spoil):
    record = made()
    spoil(record)
    with pytest.raises(records.RecordError, match="schema"):
        records.write(record, tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(record))
    with pytest.raises(records.RecordError, match="schema"):
        records.read(path)


def test_missing_and_damaged_records_say_what_to_do(tmp_path):
    with pytest.raises(records.RecordError, match="run `gatedrnn study`"):
        records.read(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text(json.dumps(made())[:200])
    with pytest.raises(records.RecordError, match="delete it"):
        records.read(tmp_path / "cut.json")


def test_the_interval_is_students(tmp_path):
    values = [8.0, 8.2, 8.4, 8.1]
    mean, half = records.interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert math.isnan(records.interval([1.0])[1])


@pytest.mark.parametrize(
    "test, verdict", [((8.0, 8.01, 8.02), "below"), ((8.0, 8.5, 9.1), "equal"), ((9, 9.01, 9.02), "above")]
)
def test_the_verdict_needs_the_interval(test, verdict):
    row = records.table([made(test=test)]).iloc[0]
    assert row.verdict == verdict and row.paper == 8.54 and row.seeds == 3
    assert row.gap == pytest.approx(np.mean(test) - 8.54)


def test_speech_has_no_figure_of_the_paper_to_be_compared_with():
    frame = records.table([made(), made(data="speech_a")])
    assert math.isnan(frame.iloc[1].paper) and frame.iloc[1].test_pooled == pytest.approx(8.2)


def test_the_table_is_in_the_papers_order():
    cells = [("wide", "nottingham", "gru"), ("today", "jsb_chorales", "gru"), ("paper", "speech_a", "tanh")]
    cells += [("paper", "jsb_chorales", "lstm"), ("paper", "jsb_chorales", "tanh"), ("paper", "nottingham", "lstm")]
    names = ["column", "data", "unit"]
    frame = records.table([made() | dict(zip(names, cell, strict=True)) for cell in cells])
    assert list(frame[names].itertuples(index=False, name=None)) == cells[::-1]


def test_the_papers_claims_about_its_own_table():
    """GRU best on three of the four music sets' test sets; LSTM best on Ubisoft A; GRU best on Ubisoft B."""
    best = {name: min(row, key=lambda unit: row[unit][1]) for name, row in records.PAPER_TABLE_2.items()}
    assert best == {
        "nottingham": "tanh",
        "jsb_chorales": "gru",
        "muse_data": "gru",
        "piano_midi": "gru",
        "ubisoft_a": "lstm",
        "ubisoft_b": "gru",
    }


def test_nan_in_a_curve_becomes_null():
    class History:
        epoch, update, seconds, valid, valid_per_sequence = [0, 1], [0, 9], [0.0, 1.23456], [61.0, 9.0], [61.0, 9.0]
        train, best_epoch, shrunk, stop_reason = [float("nan"), 9.5], 1, 0, "patience"

    curve = records.curve(History)
    assert curve["train"] == [None, 9.5] and curve["seconds"] == [0.0, 1.2346] and curve["epoch"] == [0, 1]


def test_the_table_is_shown_with_intervals_beside_the_paper():
    frame = records.table([made(), made(data="speech_a")])
    head, music, speech = records.shown(frame).splitlines()
    assert head.split()[:4] == ["column", "data", "unit", "seeds"]
    assert "8.20 ± 0.50" in music and music.split()[-3:] == ["8.54", "-0.34", "equal"]
    assert speech.split()[-3:] == ["–", "–", "–"]
    markdown = records.shown(frame, markdown=True).splitlines()
    assert len({line.count("|") for line in markdown}) == 1 and set(markdown[1]) == {"|", " ", "-"}


def test_the_committed_records_follow_the_schema_and_the_studys_settings(root):
    """Each committed record is readable, in its place, and made with the settings that the study declares now."""
    found = records.read_all(root / "book" / "results")
    assert {record["unit"] for record in found if record["data"] == "bach_chorales"} == set(UNITS)
    for record in found:
        cell = study.Cell(record["column"], record["data"], record["unit"])
        path = records.path_of(root / "book" / "results", cell.column, cell.data, cell.unit)
        assert records.read(path) == record and record["settings"] == cell.settings
        assert record["parameters"]["all"] == cell.model.num_parameters
        assert study.parameters_path(root / "book" / "results", cell).exists()


def one(root, *cell):
    return records.read(records.path_of(root / "book" / "results", *cell))


def test_the_ledger_tells_which_candidates_diverged_on_music(root):
    lost, final = {}, {}  # places among the ten rates, the lowest first; and how many runs of five
    for record in records.read_all(root / "book" / "results"):
        if record["data"] in study.PAPER_MUSIC:
            where = record["column"], record["data"], record["unit"]
            rates, curves = record["settings"]["learning_rates"], record["search"]["curves"]
            order = sorted(range(10), key=lambda k: rates[k])
            ended = [place for place, k in enumerate(order) if curves[k]["stop_reason"] == "diverged"]
            lost |= {where: ended} if ended else {}
            runs = sum(run["curve"]["stop_reason"] == "diverged" for run in record["runs"])
            final |= {where: runs} if runs else {}
    assert {where: len(ended) for where, ended in lost.items()} == {
        ("paper", "nottingham", "tanh"): 6,
        ("paper", "muse_data", "tanh"): 2,
        ("today", "nottingham", "tanh"): 2,
        ("longer", "nottingham", "tanh"): 8,
        ("longer", "muse_data", "tanh"): 3,
        ("longer", "muse_data", "lstm"): 1,
    }
    assert min(lost["paper", "nottingham", "tanh"]) == 2 and lost["paper", "muse_data", "tanh"] == [8, 9]
    assert final == {("longer", "nottingham", "tanh"): 1}


def test_the_ledger_tells_how_many_candidates_never_left_their_start(root):
    curves = one(root, "paper", "speech_b", "tanh")["search"]["curves"]
    assert sum(curve["best_epoch"] == 0 for curve in curves) == 8


def test_the_grid_is_complete_and_nothing_else_is_recorded(root):
    cells = {str(cell) for cell in [*study.grid(), *study.TRIALS, *study.grid(("paper",), ("bach_chorales",))]}
    found = [f"{r['column']}/{r['data']}/{r['unit']}" for r in records.read_all(root / "book" / "results")]
    assert sorted(found) == sorted(cells)


@pytest.mark.parametrize("unit", UNITS)
def test_kept_parameters_give_the_recorded_score(root, unit):
    folder = root / "book" / "results"
    recorded = records.read(records.path_of(folder, "paper", "bach_chorales", unit))["runs"][0]["scores"]["test"]
    score = study.evaluate_recorded(study.Cell("paper", "bach_chorales", unit), folder)
    assert score.pooled == pytest.approx(recorded["pooled"], abs=1e-4)
    assert score.per_sequence == pytest.approx(recorded["per_sequence"], abs=1e-4)

"""The form of the records: what is read and written, and what is refused, by the name of the field."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from gatedrnn import columns, records, study
from gatedrnn.units import UNITS


def test_a_record_is_read_as_it_was_written(tmp_path, made):
    path = records.write(made(), tmp_path)
    assert path == tmp_path / "paper" / "jsb_chorales_gru.json"
    assert records.read(path) == made() == records.read_all(tmp_path)[0]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


SPOILT = [
    ("schema: Input should be 1", lambda r: r.update(schema=99)),
    ("parameters: Field required", lambda r: r.pop("parameters")),
    ("parameters: Input should be a valid dictionary", lambda r: r.update(parameters=[1, 2])),
    ("environment: Input should be a valid dictionary", lambda r: r.update(environment=[])),
    ("environment.device: Field required", lambda r: r["environment"].pop("device")),
    ("column: String should match pattern", lambda r: r.update(column="../paper")),
    ("column: Input should be a valid string", lambda r: r.update(column=None)),
    ("data: Input should be a valid string", lambda r: r.update(data=["nottingham"])),
    ("variant: String should match pattern", lambda r: r.update(variant="../../x")),
    ("unit: unknown unit 'elman': the known units are tanh, gru, lstm", lambda r: r.update(unit="elman")),
    ("surprise: Extra inputs are not permitted", lambda r: r.update(surprise=1)),
    ("runs must have the seeds of the settings", lambda r: r["runs"].pop()),
    ("runs must have the seeds of the settings, .*have .7, 2, 3", lambda r: r["runs"][0].update(seed=7)),
    ("runs.0.seed: Input should be a valid integer", lambda r: r["runs"][0].update(seed="1")),
    ("runs.0.scores.test: Field required", lambda r: r["runs"][0]["scores"].pop("test")),
    ("runs.2.scores.test.pooled: Input should be a finite number", lambda r: score(r, math.nan)),
    ("runs.2.scores.test.pooled: Input should be a finite", lambda r: score(r, math.inf)),
    ("runs.2.scores.test.pooled: Input should be a valid number", lambda r: score(r, None)),
    ("runs.2.scores.test.pooled: Input should be a valid number", lambda r: score(r, "8.5")),
    ("one curve, and one candidate if any, for each", lambda r: r["search"]["curves"].pop()),
    ("one curve, and one candidate", lambda r: r["search"].update(candidates=[{"noise": 0.1}])),
    ("search.chosen must be one of", lambda r: r["search"].update(chosen=0.5)),
    ("runs.1.curve: .*must be lists of one length", lambda r: r["runs"][1]["curve"]["valid"].append(3.0)),
    ("runs.1.curve: best_epoch 9 is not among the epochs", lambda r: r["runs"][1]["curve"].update(best_epoch=9)),
    (
        "runs.1.curve.best_epoch: Input should be a valid integer",
        lambda r: r["runs"][1]["curve"].update(best_epoch=1.5),
    ),
    ("runs.1.curve.stop_reason: Input should be 'patience'", lambda r: r["runs"][1]["curve"].update(stop_reason=None)),
    ("runs.1.curve: epoch must begin at 0", lambda r: r["runs"][1]["curve"].update(epoch=[1, 2, 3, 4])),
    ("runs.1.curve: epoch must begin at 0 and increase", lambda r: r["runs"][1]["curve"].update(epoch=[0, 2, 2, 3])),
    ("runs.0.pieces.test.0: List should have at least 2", lambda r: r["runs"][0].update(pieces={"test": [[1.0]]})),
    ("runs.0: the pieces of test must average to", lambda r: r["runs"][0].update(pieces={"test": [[80.0, 20]]})),
]


def score(record: dict, value: object) -> None:
    record["runs"][2]["scores"]["test"]["pooled"] = value


@pytest.mark.parametrize(("sentence", "spoil"), SPOILT)
def test_a_record_of_another_form_is_neither_written_nor_read_and_the_field_is_named(tmp_path, made, sentence, spoil):
    record, pattern = made(), "does not follow schema 1: .*" + sentence
    spoil(record)
    with pytest.raises(records.RecordError, match=pattern) as refused:
        records.write(record, tmp_path)
    assert "\n" not in str(refused.value) and not list(tmp_path.rglob("*.json"))
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(record))
    with pytest.raises(records.RecordError, match=pattern):
        records.read(path)


@pytest.mark.parametrize("text", ["[1]", "null", '"a"', "3", "{}"])
def test_json_that_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(records.RecordError, match="does not follow schema 1"):
        records.read(tmp_path / "bad.json")


def test_missing_and_damaged_records_say_what_to_do(tmp_path, made):
    with pytest.raises(records.RecordError, match="run `gatedrnn study`"):
        records.read(tmp_path / "none.json")
    for text in (json.dumps(made())[:200], "[" * 100_000 + "]" * 100_000, "\x00"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(records.RecordError, match="delete it"):
            records.read(tmp_path / "bad.json")


def test_what_came_later_has_its_place(tmp_path, made):
    """Variants, a middle stage that chooses, hyperparameters, pieces, curves validated now and then, an engine."""
    record = made(column="components", variant="reset_one", size="same_parameters")
    record["settings"] |= {"budget": {"updates": 10_000}, "protocol": {"schedule": {"warm_up": 0.05}}}
    record["search"]["candidates"] = [{"learning_rate": 1e-3, "noise": 0.0}, {"learning_rate": 1e-2, "noise": 0.075}]
    sparse = record["search"]["curves"][0] | {"epoch": [0, 5, 10, 20], "best_epoch": 10}
    record["choose"] = [{"seed": 9, "hyperparameters": {"noise": 0.075}, "curve": sparse}]
    record["runs"][0] |= {
        "hyperparameters": {"noise": 0.075},
        "pieces": {"test": records.pieces([160.0, 640.0], [20, 80])},
    }
    record["environment"]["engine"] = "compiled"
    path = records.write(record, tmp_path)
    assert path == tmp_path / "components" / "jsb_chorales_gru_reset_one.json" and records.read(path) == record
    assert records.best_valid(sparse) == 8.3


def test_a_number_that_is_not_finite_is_refused_in_the_open_parts_too(tmp_path, made):
    record = made()
    record["settings"]["protocol"]["decay"] = math.nan
    with pytest.raises(records.RecordError, match="not finite"):
        records.write(record, tmp_path)


@pytest.mark.parametrize(
    "module", ["records", "comparison", "claims", "statistics", "palette", "diagrams", "figures", "charts"]
)
def test_records_and_pictures_need_no_torch(module):
    code = f"import sys, gatedrnn.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nan_in_a_curve_becomes_null():
    class History:
        epoch, update, seconds, valid, valid_per_sequence = [0, 1], [0, 9], [0.0, 1.23456], [61.0, 9.0], [61.0, 9.0]
        train, best_epoch, shrunk, stop_reason = [float("nan"), 9.5], 1, 0, "patience"

    curve = records.curve(History)
    assert curve["train"] == [None, 9.5] and curve["seconds"] == [0.0, 1.2346] and curve["epoch"] == [0, 1]


def test_the_committed_records_follow_the_schema_and_the_studys_settings(root):
    """Each committed record is readable, in its place, and made with the settings that the study declares now."""
    found = records.read_all(root / "book" / "results")
    assert {record["unit"] for record in found if record["data"] == "bach_chorales"} == set(UNITS)
    for record in found:
        trial = study.Trial.of(record)
        assert records.read(study.path_of(trial, root / "book" / "results")) == record
        assert study.same_settings(record["settings"], trial.settings), trial
        assert record["parameters"]["all"] == trial.model.num_parameters
        kept = study.parameters_path(root / "book" / "results", trial).exists()
        # six megabytes that nothing listens to: the speech networks of a column that is there as a warning
        assert kept == (trial.column != "adam" or trial.data not in study.SPEECH), trial


def test_the_chosen_rate_is_the_best_on_validation(root):
    """In every record without a middle stage."""
    for record in records.read_all(root / "book" / "results"):
        if "choose" not in record:
            lowest = [records.best_valid(curve) for curve in record["search"]["curves"]]
            chosen = record["settings"]["learning_rates"].index(record["search"]["chosen"])
            assert lowest[chosen] == min(lowest), study.Trial.of(
                record
            )  # of curves that are rounded, ties are possible


def test_what_the_fourfold_column_takes_is_what_the_best_column_chose(root):
    for place in columns.COLUMNS["fourfold"].chosen:
        taken = columns.COLUMNS["fourfold"].candidates(*place)
        assert [run["hyperparameters"] for run in one(root, "best", *place)["runs"]] == 10 * taken


def one(root, *cell):
    return records.read(records.path_of(root / "book" / "results", *cell))


def test_the_ledger_tells_which_networks_diverged_on_music(root):
    """The counts themselves are the appendix's, from the records; here is what the ledger says of them in words."""
    searched, final = {}, {}  # trial -> how many networks of the search, of the final runs
    for record in records.read_all(root / "book" / "results"):
        if record["data"] in study.PAPER_MUSIC:
            where = tuple(str(study.Trial.of(record)).split("/"))
            tried = record["search"]["curves"] + [again["curve"] for again in record.get("choose", ())]
            for counts, curves in ((searched, tried), (final, [run["curve"] for run in record["runs"]])):
                ended = sum(curve["stop_reason"] == "diverged" for curve in curves)
                counts |= {where: ended} if ended else {}
    assert {where: ended for where, ended in searched.items() if where[0] == "paper"} == {
        ("paper", "nottingham", "tanh"): 6,
        ("paper", "muse_data", "tanh"): 2,
    }
    for data, places in (("nottingham", 8), ("muse_data", 2)):  # among the highest of the rates
        record = one(root, "paper", data, "tanh")
        rates, curves = record["settings"]["learning_rates"], record["search"]["curves"]
        ended = [rate for rate, curve in zip(rates, curves, strict=True) if curve["stop_reason"] == "diverged"]
        assert set(ended) <= set(sorted(rates)[-places:]) and min(ended) == sorted(rates)[-places]
    assert not [where for where in final if where[0] == "paper"]
    others = [
        (where[2], ended)
        for counts in (searched, final)
        for where, ended in counts.items()
        if where[0] not in ("paper", "components", "authors")
    ]
    by_tanh = sum(ended for unit, ended in others if unit == "tanh")
    assert by_tanh > 0.9 * sum(ended for _, ended in others)
    parts = {where for where in (*searched, *final) if where[0] == "components"}
    unbounded = {("gru", "independent"), ("gru", "independent_same_parameters")}
    assert {where[2:] for where in parts} == {("lstm", "no_tanh"), *unbounded}
    ended = parts & set(final)
    assert {where[1] for where in ended if where[2] == "lstm"} == set(study.PAPER_MUSIC) - {"jsb_chorales"}
    assert {where[1:]: final[where] for where in ended if where[2] == "gru"} == {
        **{(data, *which): 5 for data in ("muse_data", "piano_midi") for which in unbounded},
        ("nottingham", "gru", "independent"): 1,
        ("nottingham", "gru", "independent_same_parameters"): 4,
    }
    authors = [
        {where: ended for where, ended in counts.items() if where[0] == "authors"} for counts in (searched, final)
    ]
    assert authors == [{("authors", "nottingham", "gru"): 1}, {("authors", "nottingham", "gru"): 2}]


def test_the_ledger_tells_how_many_candidates_never_left_their_start(root):
    noisy, calm = (one(root, column, "speech_b", "tanh") for column in ("paper", "gentle"))
    stuck = sum(curve["best_epoch"] == 0 for curve in noisy["search"]["curves"])
    ended = np.mean([run["scores"]["test"]["pooled"] for run in calm["runs"]])
    assert round(noisy["search"]["chosen"] / calm["search"]["chosen"]) == 5
    ledger = (root / "book" / "claims.yml").read_text(encoding="utf8")
    assert f"{stuck} of {len(noisy['search']['curves'])} candidates never leave their start on Speech B" in ledger
    assert f"at a fifth of the rate, the tanh unit comes to {ended:.1f} nats a step (column gentle)" in ledger


def test_the_ledger_tells_how_many_updates_a_run_has_on_nottingham(root):
    ledger = " ".join((root / "book" / "departures.md").read_text().split())
    runs = [run["curve"] for run in one(root, "paper", "nottingham", "gru")["runs"]]
    best = sum(curve["update"][curve["epoch"].index(curve["best_epoch"])] for curve in runs) / len(runs)
    assert f"keep their best after {round(best, -2):,.0f} on average" in ledger
    epochs = columns.COLUMNS["authors"].epochs
    updates = int(re.search(r"are ([\d,]+) updates on Nottingham", ledger)[1].replace(",", ""))
    batches = runs[0]["update"][-1] // runs[0]["epoch"][-1]
    assert -(-(updates // epochs) // 4) == batches, "of four, as the column paper has them"


def test_the_grid_is_complete_and_nothing_else_is_recorded(root):
    wanted = {str(trial) for trial in [*study.grid(), *study.TRIALS, *study.grid(("paper",), ("bach_chorales",))]}
    found = {str(study.Trial.of(record)) for record in records.read_all(root / "book" / "results")}
    assert wanted <= found
    assert found - wanted <= set(map(str, study.FURTHER))


@pytest.mark.parametrize("unit", UNITS)
def test_kept_parameters_give_the_recorded_score(root, unit):
    folder = root / "book" / "results"
    recorded = records.read(records.path_of(folder, "paper", "bach_chorales", unit))["runs"][0]["scores"]["test"]
    score = study.evaluate_recorded(study.Trial("paper", "bach_chorales", unit), folder)
    assert score.pooled == pytest.approx(recorded["pooled"], abs=1e-4)
    assert score.per_sequence == pytest.approx(recorded["per_sequence"], abs=1e-4)

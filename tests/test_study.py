"""The grid: what it holds, what its columns differ in, and that it refuses what it does not know."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatedrnn import comparison, optim, study
from gatedrnn.columns import COLUMNS, LONGER_RUNGS, PAPER, PRIMARY, SPEECH_RUNGS, TODAY, TRIAL_RUNGS
from gatedrnn.files import DataError
from gatedrnn.study import Trial, grid
from gatedrnn.variants import VARIANTS


def test_the_grid_is_the_papers():
    cells = grid()
    assert len(cells) == len(set(cells)) == 2 * 6 * 3
    assert {cell.model.hidden_size for cell in cells if cell.data == "nottingham"} == {100, 46, 36}
    assert {cell.model.hidden_size for cell in cells if cell.data == "speech_a"} == {400, 227, 195}


def test_only_speech_and_the_trials_halve_their_search():
    assert not any(cell.settings["rungs"] for cell in grid(data=study.PAPER_MUSIC))
    halved = [*grid(data=study.SPEECH), *(cell for cell in study.TRIALS if cell.column != "informed")]
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
        rungs = (
            set() if cell.column == "informed" else {"rungs"}
        )  # which asks about every unit's place, so searches all
        assert {name for name in mine if mine[name] != papers[name]} == {where} | rungs


def test_the_ledger_names_the_caps_and_the_rungs_that_are_declared(root):
    ledger = " ".join((root / "book" / "departures.md").read_text().split())
    music = [study.EPOCHS[name] for name in study.PAPER_MUSIC]
    speech = sorted({study.EPOCHS[name][0] for name in study.SPEECH})
    caps, patience = ([one[k] for one in music] for k in (0, 1))
    assert f"music {min(patience)} to {max(patience)}, speech {study.EPOCHS['speech_a'][1]}" in ledger
    assert f"at most {min(caps)} to {max(caps)} epochs of music, {speech[0]} or {speech[1]} of speech" in ledger
    (a, b, c), (d, e), (f, g, h) = SPEECH_RUNGS, TRIAL_RUNGS, LONGER_RUNGS
    assert f"the best {a[1]} go on after epoch {a[0]}, the best {b[1]} after epoch {b[0]}" in ledger
    assert f"the best one is taken after epoch {c[0]}" in ledger
    assert f"10 rates, {d[1]} after epoch {d[0]}, one after epoch {e[0]}" in ledger
    assert f"{f[1]} after epoch {f[0]}, {g[1]} after epoch {g[0]}, one after epoch {h[0]}" in ledger
    assert f"four times the hidden units, {Trial('wide', 'nottingham', 'gru').model.hidden_size}" in ledger


TITLES = comparison.MUSIC | {"bach_chorales": "`bach_chorales`", "speech_a": "`speech_a`"}


def test_the_primary_contrasts_are_trials_and_the_ledger_names_them(root):
    text = " ".join((root / "book" / "departures.md").read_text().split())
    trials = {(t.column, t.data, t.unit, t.label) for t in study.FURTHER}
    assert set(PRIMARY) <= trials and len(PRIMARY) == len(set(PRIMARY)) == 24
    for _, data, unit, variant in PRIMARY:
        assert VARIANTS[unit][variant].title in text.split("The primary contrasts")[1].split("\n\n")[0]
        assert comparison.MUSIC[data] in text.split("The primary contrasts")[1]


def test_the_ledger_tells_the_rules_of_the_columns_declared_before_their_results(root):
    text = " ".join((root / "book" / "departures.md").read_text().split())
    starts = {name: "| *Adam* |" if name == "adam" else f"| *{name}* |" for name in COLUMNS if name != "paper"}
    assert all(start in text for start in starts.values())
    rows = {name: text.split(start)[1].split("| *")[0] for name, start in starts.items()}
    authors, best, parts, fourfold = (COLUMNS[name] for name in ("authors", "best", "components", "fourfold"))
    trial = Trial("authors", "nottingham", "gru")
    rule = trial.protocol
    assert f"rate $10^{{-3}}$, falling linearly to 1 % over {authors.epochs} epochs" in rows["authors"]
    assert rule.factor(1, 1, rule.max_epochs) == pytest.approx(0.01) and authors.rates == (1e-3,)
    assert f"averaging {rule.decay}, momentum {rule.momentum}" in rows["authors"] and optim.FLOOR == 1e-2
    assert "validation after every epoch" in rows["authors"] and rule.validate_every == 1
    assert f"{trial.model.hidden_size} GRU units" in rows["authors"] and rule.batch_size == 1 and rule.noisy_validation
    assert f"decays 0.9 and {TODAY.square_decay} and weight decay {TODAY.weight_decay}" in rows["best"]
    assert f"first {TODAY.warmup:.0%}".replace("%", " %") in rows["best"]
    assert f"averaged with decay {TODAY.averaging}" in rows["best"]
    assert f"{best.draws} random candidates" in rows["best"] and f"$({best.low}, {best.high:g})$" in rows["best"]
    assert (best.noises, best.dropouts) == ((0, 0.03, 0.075, 0.15), (0, 0.2, 0.4)) and best.budget == 1
    assert best.heats == ((1 / 6, 6, (0,)), (1 / 3, 3, (0,)), (1 / 2, 1, (11, 12)))
    assert "the best 6 after a sixth of the epochs, the best 3 after a third" in rows["best"]
    assert "the best of these after half of them, by the mean of the seeds 11 and 12" in rows["best"]
    for name, (size, epochs) in study.BUDGET.items():
        if name in TITLES:
            assert f"{epochs} epochs of batches of {size} ({TITLES[name]})" in rows["best"]
    assert f"ten seeds, {best.seeds[0]} to {best.seeds[-1]}" in rows["best"] and len(best.seeds) == 10
    *some, last = map(str, parts.rates)
    assert f"the rates {', '.join(some)} and {last}" in rows["components"] and parts.budget == 0.5
    assert "half of the epochs" in rows["components"] and parts.heats == ((1 / 2, 1, (0,)),)
    assert f"seeds {parts.seeds[0]} to {parts.seeds[-1]}" in rows["components"]
    size, epochs = study.BUDGET["recall_10"]
    assert f"lags {', '.join(lag.split('_')[1] for lag in study.RECALL)}" in rows["components"]
    assert f"{epochs // 2} epochs of batches of {size}" in rows["components"]
    assert f"for {4 * study.BUDGET['speech_a'][1]} epochs in place of" in rows["fourfold"] and fourfold.budget == 4
    assert f"seeds {fourfold.seeds[0]} to {fourfold.seeds[-1]}" in rows["fourfold"]
    assert fourfold.protocol == best.protocol and fourfold.learning_rates == best.learning_rates
    gentle = COLUMNS["gentle"]
    assert f"{gentle.draws} rates $e^{{u}}$, $u$ uniform in $({gentle.low}, {gentle.high})$" in rows["gentle"]
    assert gentle.protocol == replace(PAPER, weight_noise=0.0, order="own") and "without weight noise" in rows["gentle"]
    (early, some), (late, one) = gentle.rungs
    assert f"the best {some} go on after epoch {early}" in rows["gentle"] and one == gentle.stretch == 1
    assert f"the best one is taken after epoch {late}" in rows["gentle"] and late <= min(
        study.EPOCHS[d][0] for d in study.SPEECH
    )
    for name in COLUMNS.keys() - {"paper", "adam", "longer", "single", "no_noise", "informed", "wide"}:
        assert COLUMNS[name].protocol.order == "own"


def test_the_paper_column_draws_ten_rates_from_its_range():
    column = COLUMNS["paper"]
    rates = np.log(column.learning_rates)
    assert len(rates) == 10 and (rates > -12).all() and (rates < -6).all()
    assert column.learning_rates == COLUMNS["paper"].learning_rates
    assert np.allclose(np.log(COLUMNS["adam"].learning_rates), rates + 2)  # the ledger says so
    assert (column.protocol.weight_noise, column.protocol.clip_norm, column.protocol.optimizer) == (0.075, 1, "rmsprop")


def test_a_column_that_takes_another_search_s_choice_runs_nowhere_else():
    with pytest.raises(ValueError, match="chosen on speech_a: it has nothing for nottingham"):
        Trial("fourfold", "nottingham", "gru")


@pytest.mark.parametrize(
    "names", [("papre", "nottingham", "gru"), ("paper", "mozart", "gru"), ("paper", "nottingham", "rnn")]
)
def test_unknown_names_list_the_known_ones(names):
    with pytest.raises(ValueError, match="it knows .*(paper|nottingham|tanh)"):
        Trial(*names)


@pytest.mark.parametrize("options", [{"units": ("rnn",)}, {"variants": ("half",)}, {"sizes": ("large",)}])
def test_a_grid_of_unknown_parts_lists_the_known_ones(options: dict):
    with pytest.raises(ValueError, match="it knows .*(gru|no_reset|same_parameters)"):
        grid(("components",), **options)


@pytest.mark.parametrize("cap", [0, -1, 1.5, True])
def test_a_cap_that_is_no_number_of_epochs_is_refused(cap: object):
    with pytest.raises(ValueError, match="max_epochs must be an integer of at least 1"):
        Trial("paper", "nottingham", "gru", max_epochs=cap)


def test_the_components_are_every_variant_at_both_sizes():
    trials = grid(("components",), ("nottingham",), ("gru", "lstm"), study.ALL_VARIANTS, study.SIZES)
    assert len(trials) == len(set(trials)) and set(trials) <= set(study.FURTHER)
    for unit in ("gru", "lstm"):
        mine = [trial for trial in trials if trial.unit == unit]
        assert {trial.variant for trial in mine} == set(VARIANTS[unit])
        full = next(trial for trial in mine if trial.label == "full").model
        for trial in mine:
            if trial.size == "same_hidden":
                assert trial.model.hidden_size == full.hidden_size
            else:
                assert trial.model.num_recurrent_parameters != full.num_recurrent_parameters or trial.variant == "full"
                assert trial.model.num_recurrent_parameters / full.num_recurrent_parameters == pytest.approx(
                    1, abs=0.03
                )


def test_the_list_names_everything_and_says_what_a_column_is():
    shown = study.listed()
    for name in (*COLUMNS, *study.EPOCHS, *study.ALL_VARIANTS, *study.SIZES):
        assert name in shown
    assert all(column.about for column in COLUMNS.values())


@pytest.mark.parametrize(
    "content",
    [{"theta": "text"}, {"theta": 3}, {"other": 0}, {"theta": 2}, {"theta": "nan"}, {"theta": np.float64}],
    ids=str,
)
def test_kept_parameters_that_are_none_are_refused(tmp_path: Path, content: dict):
    trial = Trial("paper", "nottingham", "gru")
    whole = np.random.default_rng(0).random(trial.model.num_parameters, np.float32)
    bad = {
        "text": np.array(["a"]),
        3: whole[:3],
        0: whole,
        2: whole[None],
        "nan": whole + np.nan,
        np.float64: whole + 0.0,
    }
    ((name, how),) = content.items()
    path = study.parameters_path(tmp_path, trial)
    with pytest.raises(DataError, match="there is no file .*nottingham_gru.npz"):
        study.kept(trial, tmp_path)
    path.parent.mkdir()
    np.savez(path, **{name: bad[how] if how is not np.float64 else whole.astype(np.float64)})
    with pytest.raises(ValueError, match="does not hold the parameters of paper/nottingham/gru"):
        study.kept(trial, tmp_path)
    study.save_parameters(trial, whole, tmp_path)
    assert study.kept(trial, tmp_path).shape == (1, len(whole))


def test_settings_of_another_version_are_others():
    """A field or a value that this version does not know: the record is left alone, and a sentence says so."""
    settings = Trial("paper", "nottingham", "gru").settings
    older = {name: value for name, value in settings["protocol"].items() if name != "averaging"}
    assert study.same_settings(settings | {"protocol": older}, settings)
    for news in ({"lookahead": 3}, {"optimizer": "lion"}, {"batch_size": 3}):
        assert not study.same_settings(settings | {"protocol": settings["protocol"] | news}, settings)

"""Scores, differences, contrasts and Table 2, on small records made here and on those of the study."""

import math
from pathlib import Path

import numpy as np
import pytest

from gatedrnn import comparison as c
from gatedrnn import records, statistics

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"


def test_every_recorded_pair_of_units_is_set_apart(made):
    found = {c.place(record): record for record in (made("tanh"), made("gru"), made("gru", data="nottingham"))}
    frame = c.apart(found, "paper")
    assert frame[["data", "pair"]].to_numpy().tolist() == [["jsb_chorales", "tanh - GRU"]]
    assert frame["difference"][0] == c.difference(made("tanh"), made("gru")) and frame["holm"][0] == frame["p"][0]
    assert len(c.apart(found, "best")) == 0


def test_differences_are_taken_seed_by_seed(made):
    a, b = made(test=(8.0, 8.2, 8.4)), made(test=(7.5, 8.1, 8.5))
    assert np.allclose(c.paired(a, b), (0.5, 0.1, -0.1))
    assert np.allclose(c.paired(a, b, "train"), (0.5, 0.1, -0.1)) and np.allclose(c.scores(a, "train"), (7.0, 7.2, 7.4))
    assert np.allclose(c.scores(a, average="per_sequence"), (8.1, 8.3, 8.5))
    with pytest.raises(records.RecordError, match="paired"):
        c.paired(a, made(seeds=(3, 2, 1)))


def with_pieces(record, lengths=(20, 30, 50), apart=(-0.5, 0.1, 0.14)):
    """Test pieces that differ by `apart` around each run's pooled score."""
    for run in record["runs"]:
        pooled = run["scores"]["test"]["pooled"]
        run["pieces"] = {"test": [[(pooled + a) * n, n] for a, n in zip(apart, lengths, strict=True)]}
    return record


def test_a_difference_is_over_seeds_and_pieces_where_they_are_known(made):
    a, b = made(test=(8.0, 8.2, 8.4)), made(test=(7.5, 8.1, 8.5))
    plain = c.difference(a, b)
    assert plain.mean == pytest.approx(np.mean(c.paired(a, b))) and set(plain.shares) == {"seeds"}
    alike = c.difference(with_pieces(made(test=(8.0, 8.2, 8.4))), with_pieces(made(test=(7.5, 8.1, 8.5))))
    assert alike.shares["pieces"] < 0.1 * alike.shares["seeds"]  # the same pieces are hard for both
    apart = c.difference(with_pieces(made()), with_pieces(made(), apart=(0.5, -0.1, -0.14)))
    assert set(apart.shares) == {"seeds", "pieces"} and apart.error > c.difference(made(), made()).error
    assert c.difference(with_pieces(made()), made()).shares.keys() == {"seeds"}  # of one record only: left out
    with pytest.raises(records.RecordError, match="same test pieces"):
        c.difference(with_pieces(made()), with_pieces(made(), lengths=(20, 50, 30), apart=(0.0, 0.0, 0.0)))


def test_the_choice_of_a_middle_stage_widens_the_interval(made):
    curves = made()["search"]["curves"][0]
    close = [({"rate": 1.0}, 8.0), ({"rate": 1.0}, 8.6), ({"rate": 2.0}, 8.1), ({"rate": 2.0}, 8.6)]
    choose = [
        {"seed": seed, "hyperparameters": rate, "curve": curves | {"valid": [9.0, 8.9, best, 8.9]}}
        for seed, (rate, best) in enumerate(close)
    ]
    chosen = made(choose=choose)
    records.check(chosen)
    assert c.difference(chosen, made()).shares["choice"] > 0
    wide, narrow = (c.table([record]).iloc[0] for record in (chosen, made()))
    assert wide.test_pooled_ci > narrow.test_pooled_ci and wide.train_pooled_ci == narrow.train_pooled_ci


def components(made):
    """A whole GRU and three variants of it; taking both away costs less than the sum."""
    costs = {"full": 0.0, "reset_one": 0.3, "update_constant": 0.2, "both": 0.4}
    several = [
        made(test=tuple(8 + cost + noise for noise in (0.0, 0.01, 0.02)), column="components", variant=variant)
        for variant, cost in costs.items()
    ]
    return {c.place(record): record for record in several}


def test_contrasts_are_full_minus_ablated_with_holms_p(made):
    found = components(made)
    assert list(found)[:2] == [
        ("components", "jsb_chorales", "gru"),
        ("components", "jsb_chorales", "gru", "reset_one"),
    ]
    frame = c.contrasts(found).set_index("variant")
    assert frame["difference"].to_dict() == pytest.approx({"both": -0.4, "reset_one": -0.3, "update_constant": -0.2})
    assert frame.loc["both", "holm"] == pytest.approx(3 * frame.loc["both", "p"])
    assert (frame["half"] > 0).all() and (frame["holm"] >= frame["p"]).all()
    declared = c.contrasts(found, [("components", "jsb_chorales", "gru", "reset_one")]).set_index("variant")
    assert declared.loc["reset_one", "holm"] == declared.loc["reset_one", "p"]
    assert math.isnan(declared.loc["both", "holm"])
    late = [("components", name, "gru", "reset_one") for name in ("jsb_chorales", "nottingham", "piano_midi")]
    partly = c.contrasts(found, late).set_index("variant")  # what is not recorded yet makes nothing sure
    assert partly.loc["reset_one", "holm"] == pytest.approx(3 * declared.loc["reset_one", "p"])
    assert c.contrasts({}).empty and c.contrasts({}, late).empty


def test_the_interaction_is_what_two_parts_cost_together_beyond_each_alone(made):
    found, parts = components(made), ("reset_one", "update_constant", "both")
    assert c.interaction(found, "components", "jsb_chorales", "gru", *parts).mean == pytest.approx(-0.1)
    del found["components", "jsb_chorales", "gru", "both"]
    with pytest.raises(records.RecordError, match="no record of components/jsb_chorales/gru/both: run"):
        c.interaction(found, "components", "jsb_chorales", "gru", *parts)


def test_train_and_test_go_together_and_the_papers_stand_beside_them(made):
    frame = c.train_test([made(), made(data="speech_a")])
    assert len(frame) == 3 + 3 + 1
    assert frame.iloc[0][["train", "test"]].tolist() == pytest.approx([7.3, 8.3])  # per sequence, after first
    assert frame.iloc[-1].tolist()[:3] == ["printed", "jsb_chorales", "gru"]
    assert frame.iloc[-1][["train", "test"]].tolist() == [6.94, 8.54]


@pytest.mark.parametrize(
    "test, verdict", [((8.0, 8.01, 8.02), "below"), ((7.8, 8.2, 8.8), "equal"), ((9, 9.01, 9.02), "above")]
)
def test_the_verdict_needs_the_interval_and_is_per_sequence_after_the_first_frame(made, test, verdict):
    frame = c.table([made(test=test)])
    row = frame.iloc[0]
    assert row.verdict == verdict and row.paper == 8.54 and row.paper_train == 6.94 and row.seeds == 3
    mean, half = statistics.interval(test)
    for k, average in enumerate(records.AVERAGES):
        assert row[f"test_{average}"] == pytest.approx(mean + 0.1 * k)
        assert row[f"train_{average}"] == pytest.approx(mean - 1 + 0.1 * k)
        assert [row[f"{part}_{average}_ci"] for part in ("train", "test")] == pytest.approx([half, half])
    assert row.gap == pytest.approx(mean + 0.3 - 8.54) and row.gap_train == pytest.approx(mean - 0.7 - 6.94)
    assert c.inside(frame) == (int(verdict == "equal"), 1)


def test_a_miss_counts_on_either_side(made):
    below, above = made("gru", (8.0, 8.01, 8.02)), made("tanh", (9.0, 9.01, 9.02))
    assert c.inside(c.table([below, above, made("lstm", (8.0, 8.4, 8.8)), made(data="speech_a")])) == (1, 3)


def test_speech_and_variants_have_no_figure_of_the_paper_to_be_compared_with(made):
    frame = c.table([made(), made(data="speech_a"), made(variant="reset_one")])
    assert frame.paper.notna().tolist() == [True, False, False] and frame.iloc[2].test_pooled == pytest.approx(8.2)
    assert c.inside(c.table([made(data="speech_a")])) == (0, 0)


def test_the_table_is_in_the_papers_order(made):
    cells = [("wide", "nottingham", "gru"), ("adam", "jsb_chorales", "gru"), ("paper", "speech_a", "tanh")]
    cells += [("paper", "jsb_chorales", "lstm"), ("paper", "jsb_chorales", "tanh"), ("paper", "nottingham", "lstm")]
    names = ["column", "data", "unit"]
    frame = c.table([made() | dict(zip(names, cell, strict=True)) for cell in cells])
    assert list(frame[names].itertuples(index=False, name=None)) == cells[::-1]


def test_the_papers_claims_about_its_own_table():
    """GRU best on three of the four music sets' test sets; LSTM best on Ubisoft A; GRU best on Ubisoft B."""
    best = {name: min(row, key=lambda unit: row[unit][1]) for name, row in c.PAPER_TABLE_2.items()}
    assert best == {
        "nottingham": "tanh",
        "jsb_chorales": "gru",
        "muse_data": "gru",
        "piano_midi": "gru",
        "ubisoft_a": "lstm",
        "ubisoft_b": "gru",
    }


def test_the_table_is_shown_with_intervals_beside_the_paper(made):
    frame = c.table([made(), made(data="speech_a")])
    head, music, speech = c.shown(frame).splitlines()
    assert head.split()[:4] == ["column", "data", "unit", "seeds"]
    assert "8.20 ± 0.50" in music and music.split()[-3:] == ["8.54", "-0.04", "equal"]
    assert speech.split()[-3:] == ["–", "–", "–"]
    markdown = c.shown(frame, markdown=True).splitlines()
    assert len({line.count("|") for line in markdown}) == 1 and set(markdown[1]) == {"|", " ", "-"}
    assert "paper" not in c.shown(c.table([made(data="speech_a")])).splitlines()[0]
    ours = c.against_paper(frame)
    assert ours.loc["JSB Chorales, GRU"].tolist()[1:3] == ["8.54", "-0.04 equal"] and len(ours) == 1
    assert c.against_paper(frame, "train").loc["JSB Chorales, GRU"].tolist()[1:3] == ["6.94", "+0.56"]


def test_variants_are_shown_with_what_the_whole_unit_gains(made):
    found = components(made)
    head, whole, *parts = c.shown(c.table(found.values()), c.contrasts(found)).splitlines()
    assert head.split()[3] == "variant" and head.split()[-6:] == ["full", "-", "this", "p", "p", "(Holm)"]
    assert whole.split()[3] == "full" and whole.split()[-1] == "–"
    assert [line.split()[3] for line in parts] == ["both", "reset_one", "update_constant"]
    assert "-0.40 ± 0.02" in parts[0]
    declared = c.contrasts(found, [("components", "jsb_chorales", "gru", "reset_one")])
    shown = c.shown(c.table(found.values()), declared).splitlines()  # p of the others is not adjusted
    assert [line.split()[-1] for line in shown[2:]] == ["–", f"{declared['p'][1]:.3f}", "–"]

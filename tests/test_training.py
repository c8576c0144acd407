"""A population equals single runs, noise and dropout act where they should, and NaN is named."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from gatedrnn import population
from gatedrnn.datasets import Dataset
from gatedrnn.evaluation import Evaluation, Scorer, evaluate
from gatedrnn.history import TrainingDiverged
from gatedrnn.model import SequenceModel, music_model
from gatedrnn.outputs import BernoulliOutput
from gatedrnn.protocol import Protocol
from gatedrnn.training import train
from gatedrnn.units import UNITS

SHORT = Protocol(batch_size=3, max_epochs=4, patience=2)


@pytest.fixture(scope="module")
def data(toy):
    return toy()


def curves(history):
    return {k: v for k, v in dataclasses.asdict(history).items() if k != "seconds"}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_a_population_gives_what_single_runs_give(data, unit, optimizer):
    """Different seeds, different rates, members that stop at different epochs: each as if it were alone."""
    model = music_model(unit, 4)
    protocol = Protocol(batch_size=3, max_epochs=5, patience=1, optimizer=optimizer)
    rates, seeds = [1e-2, 1e-3, 3.0, 1e-2], [0, 1, 2, 3]
    together = train(model, data, learning_rates=rates, seeds=seeds, protocol=protocol, dtype=torch.float64)
    for p, (rate, seed) in enumerate(zip(rates, seeds, strict=True)):
        alone = train(model, data, learning_rates=[rate], seeds=[seed], protocol=protocol, dtype=torch.float64)
        torch.testing.assert_close(together.theta[p], alone.theta[0], rtol=1e-7, atol=1e-9)
        ours, theirs = curves(together.histories[p]), curves(alone.histories[0])
        assert ours.keys() == theirs.keys()
        for name in ("train", "valid", "valid_per_sequence"):
            assert ours.pop(name) == pytest.approx(theirs.pop(name), rel=1e-8, nan_ok=True), name
        assert ours == theirs
    assert len({len(h.epoch) for h in together.histories}) > 1, "no member stopped before another: the test is weak"


def test_the_same_seed_gives_the_same_run_and_another_seed_another(data):
    model = music_model("gru", 4)
    runs = [train(model, data, learning_rates=[1e-2], seeds=[s], protocol=SHORT) for s in (5, 5, 6)]
    assert torch.equal(runs[0].theta, runs[1].theta)
    assert not torch.equal(runs[0].theta, runs[2].theta)


@pytest.fixture
def watched(monkeypatch):
    """What every likelihood of a training was asked for: (whether a gradient is wanted, theta, batch, keep)."""
    seen, nll = [], SequenceModel.nll

    def watching(self, theta, batch, keep=None):
        seen.append((theta.requires_grad, theta.detach().clone(), batch, keep))
        return nll(self, theta, batch, keep)

    monkeypatch.setattr(SequenceModel, "nll", watching)
    return seen


STILL = {"learning_rates": [1e-30], "seeds": [0]}  # nothing moves but by noise


def test_noise_is_redrawn_for_each_update_and_off_in_evaluation(data, watched):
    model = music_model("tanh", 4)
    train(model, data, **STILL, protocol=dataclasses.replace(SHORT, max_epochs=2))
    clean = model.init([0])
    noisy = [theta - clean for grad, theta, *_ in watched if grad]
    assert all(torch.allclose(theta, clean, rtol=0, atol=1e-20) for grad, theta, *_ in watched if not grad)
    n = sum(math.prod(model.shapes[k]) for k in ("W", "U"))
    for noise in noisy:
        noise[noise.abs() < 1e-20] = 0  # what the rate has moved
        assert noise[0, :n].std().item() == pytest.approx(0.075, rel=0.15)
        assert not noise[0, n:].any(), "biases and the output layer get no noise"
    assert len(noisy) == 10
    assert len({noise[0, 0].item() for noise in noisy}) == 10, "an update, or an epoch, has the noise of another"


def test_noise_can_be_each_members_own(data, watched):
    model = music_model("tanh", 4)
    two = {"learning_rates": [1e-30] * 2, "seeds": [0, 0], "weight_noise": [0.0, 0.2]}
    result = train(model, data, **two, protocol=dataclasses.replace(SHORT, max_epochs=1))
    assert [h.weight_noise for h in result.histories] == [0.0, 0.2]
    noise = torch.stack([theta - model.init([0, 0]) for grad, theta, *_ in watched if grad])[..., : 88 * 4]
    assert noise[:, 0].abs().max() < 1e-20 and noise[:, 1].std().item() == pytest.approx(0.2, rel=0.1)


def test_dropout_keeps_the_expected_value_is_drawn_anew_and_is_off_in_evaluation(data, watched):
    model = music_model("gru", 40)
    result = train(model, data, **STILL, protocol=dataclasses.replace(SHORT, max_epochs=2, dropout=0.4))
    assert [h.dropout for h in result.histories] == [pytest.approx(0.4)]
    keeps = [keep for grad, _, _, keep in watched if grad]
    assert all(keep is None for grad, _, _, keep in watched if not grad)
    values = torch.cat([keep.flatten() for keep in keeps])
    assert values.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    assert values.mean().item() == pytest.approx(1, abs=0.02) and len(keeps) == 10
    assert all(
        keep.shape[-1] == 40 and keep.shape[:3] == batch.mask.shape for (*_, batch, keep) in watched if keep is not None
    )
    assert len({tuple(keep[0, 0, 0].tolist()) for keep in keeps}) == 10, (
        "an update, or an epoch, drops what another does"
    )


def test_an_epoch_has_an_order_of_its_own_and_sees_every_sequence_once(data, watched):
    model, rule = music_model("tanh", 2), dataclasses.replace(SHORT, weight_noise=0.0, max_epochs=2)
    train(model, data, **STILL, protocol=rule)
    batches = [batch for grad, _, batch, _ in watched if grad]
    epochs = [
        [batch.target.sum((1, 3)).sort().values.tolist() for batch in part] for part in (batches[:5], batches[5:])
    ]
    assert epochs[0] != epochs[1], "the same batches in the same order"
    notes = sorted(float(roll.sum()) for roll in data.train)
    for part in (batches[:5], batches[5:]):
        assert sorted(n for batch in part for n in batch.target.sum((1, 3))[0].tolist()) == notes


def test_batches_in_an_order_of_their_own_are_each_seeds(data, watched):
    """Members take the sequences as if each were alone, and different seeds take them in different orders."""
    model = music_model("gru", 4)
    rule = Protocol(batch_size=3, max_epochs=2, order="own", dropout=0.3)
    options = {"protocol": rule, "dtype": torch.float64}
    together = train(model, data, learning_rates=[1e-2, 1e-2], seeds=[3, 4], **options)
    lengths = [batch.mask.shape[1] for grad, _, batch, _ in watched if grad]
    assert lengths[:10] != lengths[10:20]
    for p, seed in enumerate((3, 4)):
        alone = train(model, data, learning_rates=[1e-2], seeds=[seed], **options)
        assert torch.equal(alone.theta[0], together.theta[p])
    equal = {"learning_rates": [1e-2, 1e-3], "seeds": [3, 3]}  # a search: members that do have batches in common
    search = train(model, data, **equal, weight_noise=[0.0, 0.075], dropout=[0.5, 0.0], **options)
    for p in (0, 1):
        own = {"learning_rates": equal["learning_rates"][p : p + 1], "seeds": [3]}
        own |= {"weight_noise": [[0.0, 0.075][p]], "dropout": [[0.5, 0.0][p]]}
        alone = train(model, data, **own, **options)
        torch.testing.assert_close(search.theta[p], alone.theta[0], rtol=1e-7, atol=1e-9)
    with pytest.raises(ValueError, match="halving compares members side by side"):
        train(model, data, learning_rates=[1e-2, 1e-2], seeds=[3, 4], rungs=((1, 1),), **options)


def test_validation_with_noise_scores_noisy_parameters_and_keeps_clean_ones(data, watched):
    model = music_model("gru", 4)
    rule = dataclasses.replace(SHORT, noisy_validation=True, max_epochs=2)
    result = train(model, data, **STILL, protocol=rule, dtype=torch.float64)
    clean = model.init([0], torch.float64)
    scored = [theta - clean for grad, theta, *_ in watched if not grad]
    n = sum(math.prod(model.shapes[k]) for k in ("W", "U"))
    assert all(noise[0, :n].std().item() == pytest.approx(0.075, rel=0.15) for noise in scored)
    assert not any((noise[0, n:].abs() > 1e-20).any() for noise in scored)
    assert len({noise[0, 0].item() for noise in scored}) == 3, "each validation draws its own"
    assert torch.allclose(result.theta, clean, rtol=0, atol=1e-20)
    assert evaluate(model, result.theta, data.valid)[0].pooled != pytest.approx(
        result.histories[0].best_valid, rel=1e-6
    )


def test_validation_every_few_epochs_and_after_the_last(data):
    rule = dataclasses.replace(SHORT, max_epochs=5, patience=5, validate_every=2)
    history = train(music_model("gru", 4), data, learning_rates=[1e-2], seeds=[0], protocol=rule).histories[0]
    assert history.epoch == [0, 2, 4, 5] and history.update == [0, 10, 20, 25]
    assert len(history.train) == len(history.valid) == len(history.seconds) == 4


def test_the_training_curve_pools_the_steps_of_an_epoch(data):
    model, rule = music_model("gru", 4), dataclasses.replace(SHORT, weight_noise=0.0, max_epochs=2)
    result = train(model, data, **STILL, protocol=rule, dtype=torch.float64)
    still = evaluate(model, model.init([0], torch.float64), data.train)[0].pooled
    assert math.isnan(result.histories[0].train[0])
    assert result.histories[0].train[1:] == pytest.approx([still, still])


def test_seconds_are_a_members_share_of_the_time_and_add_up(data, monkeypatch):
    """Each look at the clock is ten seconds after the last; an epoch lies between two looks, for two members."""
    monkeypatch.setattr(population.time, "perf_counter", itertools.count(0, 10).__next__)
    two = {"learning_rates": [1e-3] * 2, "seeds": [0, 1]}
    result = train(music_model("gru", 2), data, **two, protocol=dataclasses.replace(SHORT, max_epochs=3, patience=3))
    assert [history.seconds for history in result.histories] == [[0, 5, 10, 15]] * 2


def test_no_two_kinds_of_chance_share_a_seed(data, monkeypatch):
    """Noise, dropout and noisy validation of every member and epoch are drawn from streams of their own."""
    seeds, mix = [], population.mix
    monkeypatch.setattr(population, "mix", lambda *numbers: seeds.append(mix(*numbers)) or seeds[-1])
    rule = dataclasses.replace(SHORT, max_epochs=2, dropout=0.2, noisy_validation=True)
    train(music_model("gru", 2), data, learning_rates=[1e-3] * 2, seeds=[0, 1], protocol=rule)
    assert len(seeds) == len(set(seeds)) == 2 * (2 + 2 + 3)  # the untrained members are validated too


def scripted(monkeypatch, *pooled: float, per_sequence: tuple[float, ...] = ()):
    """Let the validations of a single member come out as told, one after the other."""
    scores = zip(pooled, per_sequence or pooled, strict=True)
    monkeypatch.setattr(Scorer, "scores", lambda self, theta: [Evaluation(*next(scores), 0.0, 0.0, 1, 1)])


@pytest.mark.parametrize(
    "pooled, best, last",
    [
        ((9, 8, 8, 8), 1, 3),  # as good as the best is not better
        ((9, 8, 8.5, 7, 7.5, 7.2), 3, 5),  # what is better begins the count anew
        ((9, 10, 11), 0, 2),  # the untrained parameters may be the best
    ],
)
def test_patience_counts_the_epochs_since_the_best_pooled_score(data, monkeypatch, pooled, best, last):
    scripted(monkeypatch, *pooled, per_sequence=tuple(range(len(pooled), 0, -1)))
    rule = Protocol(batch_size=3, max_epochs=9, patience=2)
    history = train(music_model("gru", 2), data, **STILL, protocol=rule).histories[0]
    assert (history.best_epoch, history.epoch[-1], history.stop_reason) == (best, last, "patience")
    assert history.valid == list(pooled)


def test_early_stopping_keeps_the_best_parameters(data):
    model = music_model("gru", 4)
    protocol = Protocol(batch_size=3, max_epochs=60, patience=2)
    result = train(model, data, learning_rates=[0.1], seeds=[0], protocol=protocol, dtype=torch.float64)
    history = result.histories[0]
    assert history.stop_reason == "patience" and history.epoch[-1] == history.best_epoch + 2
    assert history.best_valid == min(history.valid)
    assert evaluate(model, result.theta, data.valid)[0].pooled == pytest.approx(history.best_valid)


def test_a_gradient_that_is_not_finite_can_shrink_the_parameters_instead(data):
    """A tanh unit whose gradient overflows in single precision over a long sequence shrinks, counts, and goes on."""
    long = Dataset("long", "music", *[(np.tile(data.train[0][:1], (300, 1)),)] * 3, 0.5, "", "")
    model = music_model("tanh", 64)
    rule = Protocol(batch_size=1, max_epochs=2, patience=2, weight_noise=0.6)
    options = {"learning_rates": [1e-3], "seeds": [0], "protocol": rule}
    with pytest.raises(TrainingDiverged):
        train(model, long, **options)
    dropped = train(model, long, **options, on_nan="drop").histories[0]
    assert dropped.stop_reason == "diverged" and dropped.shrunk == 0
    shrunk = train(model, long, **options, on_nan="shrink")
    assert shrunk.histories[0].stop_reason == "max_epochs" and shrunk.histories[0].shrunk == 2

    once = train(model, long, **options | {"protocol": dataclasses.replace(rule, max_epochs=1)}, on_nan="shrink")
    start = model.init([0])
    g = 0.1 * start
    expected = start - 1e-3 * g / ((0.05 * g * g).sqrt() + rule.epsilon)
    torch.testing.assert_close(once.theta, expected, rtol=1e-5, atol=1e-8)


def test_halving_keeps_the_best_and_changes_nothing_for_them(data):
    model, rates, rungs = music_model("gru", 4), [1e-5, 1e-2, 1e-3, 1e-4], ((1, 3), (2, 2), (3, 1))
    options = {"learning_rates": rates, "seeds": [0] * 4, "dtype": torch.float64}
    whole = train(model, data, protocol=dataclasses.replace(SHORT, patience=4), **options)
    halved = train(model, data, protocol=dataclasses.replace(SHORT, patience=4), rungs=rungs, **options)
    ranked = sorted(range(4), key=lambda m: min(whole.histories[m].valid[:4]))
    assert [halved.histories[m].stop_reason for m in ranked] == ["chosen", "halved", "halved", "halved"]
    assert [halved.histories[m].epoch[-1] for m in ranked] == [3, 3, 2, 1]
    assert halved.best() == ranked[0]
    for mine, full in zip(halved.histories, whole.histories, strict=True):
        assert mine.valid == pytest.approx(full.valid[: len(mine.valid)], rel=1e-7)


def test_halving_is_part_of_a_checkpoint_and_survives_an_interruption(data, tmp_path, monkeypatch):
    model = music_model("gru", 4)
    options = {"learning_rates": [1e-5, 1e-2, 1e-3], "seeds": [0] * 3, "dtype": torch.float64}
    rungs = ((1, 2), (3, 1))
    straight = train(model, data, protocol=SHORT, rungs=rungs, **options)
    save = population.Population.save

    def interrupted(self, path):
        save(self, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(population.Population, "save", interrupted)
        train(model, data, protocol=SHORT, rungs=rungs, checkpoint=tmp_path / "state.npz", **options)
    with pytest.raises(ValueError, match="rungs differ"):
        train(model, data, protocol=SHORT, checkpoint=tmp_path / "state.npz", **options)
    with pytest.raises(ValueError, match="on_nan differ"):
        train(model, data, protocol=SHORT, rungs=rungs, on_nan="drop", checkpoint=tmp_path / "state.npz", **options)
    resumed = train(model, data, protocol=SHORT, rungs=rungs, checkpoint=tmp_path / "state.npz", **options)
    assert [h.valid for h in resumed.histories] == [h.valid for h in straight.histories]
    assert [h.stop_reason for h in resumed.histories] == [h.stop_reason for h in straight.histories]


def test_an_informed_start_predicts_the_frequencies_of_the_pitches(data):
    model, rule = music_model("gru", 4), dataclasses.replace(SHORT, max_epochs=1)
    informed = dataclasses.replace(rule, informed_start=True)
    options = {"learning_rates": [1e-9], "seeds": [0], "dtype": torch.float64}
    zero, log_odds = (train(model, data, protocol=p, **options) for p in (rule, informed))
    bias = model.unflatten(log_odds.theta)["b_out"][0]
    frames = np.concatenate(data.train)
    expected = (frames.sum(0) + 1) / (len(frames) + 2)
    np.testing.assert_allclose(torch.sigmoid(bias).numpy(), expected, rtol=1e-5)
    assert model.unflatten(zero.theta)["b_out"].abs().max() < 1e-5
    assert log_odds.histories[0].valid[0] < zero.histories[0].valid[0] - 10


def test_a_nan_stops_with_the_member_and_its_rate(data):
    model = music_model("gru", 4)
    rates = [1e-3, 1e308]
    with pytest.raises(TrainingDiverged, match=r"member 1 \(learning rate 1e\+308, seed 9\)"):
        train(model, data, learning_rates=rates, seeds=[0, 9], protocol=SHORT, dtype=torch.float64)
    with pytest.raises(TrainingDiverged, match=r"member 1 \(learning rate 1e\+308, seed 9\)"):
        own = dataclasses.replace(SHORT, order="own")  # each is trained by itself
        train(model, data, learning_rates=rates, seeds=[0, 9], protocol=own, dtype=torch.float64)
    dropped = train(model, data, learning_rates=rates, seeds=[0, 9], protocol=SHORT, dtype=torch.float64, on_nan="drop")
    alone = train(model, data, learning_rates=rates[:1], seeds=[0], protocol=SHORT, dtype=torch.float64)
    assert [h.stop_reason for h in dropped.histories] == ["max_epochs", "diverged"]
    torch.testing.assert_close(dropped.theta[0], alone.theta[0], rtol=1e-7, atol=1e-9)
    assert torch.isfinite(dropped.theta).all()


@pytest.mark.parametrize(
    "field, values",
    [
        ("learning_rates", [0.0, -1.0, math.nan, math.inf]),
        ("weight_noise", [-1.0, math.nan, math.inf, "a"]),
        ("dropout", [-0.1, 1.0, math.nan]),
        ("seeds", [-1, 0.5]),
    ],
)
def test_what_would_poison_a_member_is_refused(data, field, values):
    options = {"learning_rates": [1e-2], "seeds": [0]}
    for value in values:
        with pytest.raises(ValueError, match=r"learning rate|weight_noise|dropout|seed"):
            train(music_model("gru", 2), data, **options | {field: [value]})


def test_bad_arguments(data):
    model = music_model("gru", 2)
    with pytest.raises(ValueError, match="2 rates and 1 seeds"):
        train(model, data, learning_rates=[1, 2], seeds=[0])
    with pytest.raises(ValueError, match="0 rates and 0 seeds"):
        train(model, data, learning_rates=[], seeds=[])
    with pytest.raises(ValueError, match="toy is music"):
        from gatedrnn.model import speech_model

        train(speech_model("gru", 2), data, learning_rates=[1e-2], seeds=[0])
    sound = Dataset("toy", "speech", *[(np.zeros(60, np.float32),)] * 3, 0.01, "", "")
    with pytest.raises(ValueError, match="for models of music only"):
        train(speech_model("gru", 2), sound, learning_rates=[1e-2], seeds=[0], protocol=Protocol(informed_start=True))
    with pytest.raises(ValueError, match="'raise', 'drop' or 'shrink'"):
        train(model, data, learning_rates=[1e-2], seeds=[0], on_nan="ignore")
    with pytest.raises(ValueError, match="epoch 3 of rungs has none"):
        rule = Protocol(max_epochs=4, validate_every=2)
        train(model, data, learning_rates=[1e-2] * 2, seeds=[0] * 2, protocol=rule, rungs=((2, 2), (3, 1)))
    assert SequenceModel("gru", 5, 3, BernoulliOutput(5)).kind == "music"

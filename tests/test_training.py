"""A population equals single runs, a killed run resumes to the same end, NaN is named, both averages are right."""

import dataclasses
import math
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from gatedrnn import training
from gatedrnn.datasets import Dataset
from gatedrnn.model import SequenceModel, music_model
from gatedrnn.outputs import BernoulliOutput
from gatedrnn.training import Protocol, TrainingDiverged, evaluate, train
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


def test_noise_is_redrawn_for_each_update_and_off_in_evaluation(data):
    model = music_model("tanh", 4)
    seen = []

    class Watched(SequenceModel):
        def nll(self, theta, batch, keep=None):
            seen.append((theta.requires_grad, theta.detach().clone()))
            return super().nll(theta, batch, keep)

    watched = Watched(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model)})
    still = dataclasses.replace(SHORT, max_epochs=1)
    train(watched, data, learning_rates=[1e-30], seeds=[0], protocol=still)  # rate 0: only the noise moves theta
    clean = model.init([0])
    noisy = [theta - clean for grad, theta in seen if grad]
    assert all(torch.allclose(theta, clean, rtol=0, atol=1e-20) for grad, theta in seen if not grad)
    n = sum(math.prod(model.shapes[k]) for k in ("W", "U"))
    for noise in noisy:
        noise[noise.abs() < 1e-20] = 0  # what the rate has moved
        assert noise[0, :n].std().item() == pytest.approx(0.075, rel=0.15)
        assert not noise[0, n:].any(), "biases and the output layer get no noise"
    assert len(noisy) == 5 and not torch.equal(noisy[0], noisy[1])


def test_the_step_of_the_optimiser_is_the_one_written_down(data):
    """One update on one batch, by hand: gradient of the summed NLL, rescaled to norm 1, then RMSProp."""
    model = music_model("gru", 4)
    one = dataclasses.replace(data, train=data.train[:3])
    protocol = Protocol(batch_size=3, max_epochs=1, weight_noise=0.0)
    ours = train(model, one, learning_rates=[1e-3], seeds=[0], protocol=protocol, dtype=torch.float64)
    theta = model.init([0], torch.float64).requires_grad_()
    from gatedrnn.batching import make_batch

    model.nll(theta, make_batch(list(one.train), "music", torch.float64)).sum().div(3).backward()
    g = theta.grad
    assert g.norm() > 1
    g = g / g.norm()
    expected = theta.detach() - 1e-3 * g / ((0.05 * g * g).sqrt() + protocol.epsilon)
    assert ours.histories[0].best_epoch == 1
    torch.testing.assert_close(ours.theta, expected, rtol=1e-6, atol=1e-9)


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


def test_halving_is_part_of_a_checkpoint_and_survives_an_interruption(data, tmp_path):
    model = music_model("gru", 4)
    options = {"learning_rates": [1e-5, 1e-2, 1e-3], "seeds": [0] * 3, "dtype": torch.float64}
    rungs = ((1, 2), (3, 1))
    straight = train(model, data, protocol=SHORT, rungs=rungs, **options)
    steps = training.training(model, data, protocol=SHORT, rungs=rungs, checkpoint=tmp_path / "state.npz", **options)
    while not (tmp_path / "state.npz").exists():
        next(steps)
    steps.close()
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
    dropped = train(model, data, learning_rates=rates, seeds=[0, 9], protocol=SHORT, dtype=torch.float64, on_nan="drop")
    alone = train(model, data, learning_rates=rates[:1], seeds=[0], protocol=SHORT, dtype=torch.float64)
    assert [h.stop_reason for h in dropped.histories] == ["max_epochs", "diverged"]
    torch.testing.assert_close(dropped.theta[0], alone.theta[0], rtol=1e-7, atol=1e-9)
    assert torch.isfinite(dropped.theta).all()


SCRIPT = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from conftest import toy_data
    import torch
    from gatedrnn import training
    from gatedrnn.model import music_model

    save = training._Run.save
    def slow(self, path):
        save(self, path)
        time.sleep(0.3)
    training._Run.save = slow
    protocol = training.Protocol(batch_size=3, max_epochs=8, patience=8)
    training.train(music_model("lstm", 4), toy_data(), learning_rates=[1e-2, 3e-3], seeds=[0, 1], protocol=protocol,
                   dtype=torch.float64, checkpoint={path!r})
"""


def test_a_killed_run_resumes_to_the_same_end(data, tmp_path, request):
    path = tmp_path / "run.npz"
    script = textwrap.dedent(SCRIPT).format(tests=str(request.path.parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.wait()
    with np.load(path, allow_pickle=False) as file:
        reached = len(file["theta"])
    assert reached == 2
    protocol = Protocol(batch_size=3, max_epochs=8, patience=8)
    arguments = {"learning_rates": [1e-2, 3e-3], "seeds": [0, 1], "protocol": protocol, "dtype": torch.float64}
    model = music_model("lstm", 4)
    resumed = train(model, data, **arguments, checkpoint=path)
    whole = train(model, data, **arguments)
    assert torch.equal(resumed.theta, whole.theta)
    assert [curves(h)["valid"] for h in resumed.histories] == [curves(h)["valid"] for h in whole.histories]
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    finished = train(model, data, **arguments, checkpoint=path)  # a finished run is not run again
    assert torch.equal(finished.theta, whole.theta) and len(finished.histories[0].epoch) == 9


def test_a_checkpoint_of_another_run_is_refused(data, tmp_path):
    path = tmp_path / "run.npz"
    model = music_model("gru", 4)
    train(model, data, learning_rates=[1e-2], seeds=[0], protocol=SHORT, checkpoint=path)
    with pytest.raises(ValueError, match="another run .members differ."):
        train(model, data, learning_rates=[1e-2], seeds=[1], protocol=SHORT, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a checkpoint"):
        train(model, data, learning_rates=[1e-2], seeds=[0], protocol=SHORT, checkpoint=path)


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
    with pytest.raises(ValueError, match="rmsprop, adam, adamw, authors"):
        Protocol(optimizer="sgd")
    with pytest.raises(ValueError, match="max_epochs must be an integer of at least 1"):
        Protocol(max_epochs=0)
    assert SequenceModel("gru", 5, 3, BernoulliOutput(5)).kind == "music"

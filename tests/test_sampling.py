"""Sampling: draws follow what the model predicts, an opening comes first, bad input is refused in a sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from gatedrnn import batching, datasets
from gatedrnn.model import music_model, speech_model
from gatedrnn.network import Network
from gatedrnn.sampling import sample_roll, sample_waveform, unstandardise
from gatedrnn.units import UNITS


def network_of(unit: str = "gru", seed: int = 0) -> Network:
    model = music_model(unit, 7)
    network = Network(model, model.init([seed])[0] * 3.0)
    network.b_out.fill_(-1.5)
    return network


@pytest.mark.parametrize("unit", UNITS)
def test_a_sample_is_a_roll_that_starts_with_its_opening(unit, roll):
    network = network_of(unit)
    sample = sample_roll(network, 20, opening=roll, seed=5)
    assert sample.shape == (32, 88) and sample.dtype == np.uint8 and set(np.unique(sample)) == {0, 1}
    np.testing.assert_array_equal(sample[:12], roll)


def test_sampling_is_deterministic_under_a_seed_and_per_network(roll):
    network = network_of()
    first = sample_roll(network, 20, seed=5)
    np.testing.assert_array_equal(first, sample_roll(network, 20, seed=np.random.default_rng(5)))
    assert (first != sample_roll(network, 20, seed=6)).any()
    assert (first != sample_roll(network_of(seed=1), 20, seed=5)).any()
    assert (sample_roll(network, 20, opening=roll, seed=5)[12:] != first).any()


@pytest.mark.parametrize("unit", UNITS)
def test_sampling_draws_from_the_probabilities_that_the_model_predicts(unit, roll):
    """Fed back to the model with a zero frame first, the sample is what the same uniform numbers give all at once."""
    network = network_of(unit)
    sample = sample_roll(network, 20, opening=roll, seed=5)
    x = torch.zeros(32, 1, 88)
    x[1:, 0] = torch.from_numpy(sample[:-1])
    p = network.model.output.probabilities(network.predict(x))[12:, 0].numpy()
    np.testing.assert_array_equal(sample[12:], np.random.default_rng(5).random((20, 88)) < p)


def test_sampling_refuses_what_it_cannot_do(roll):
    network = network_of()
    with pytest.raises(ValueError, match="steps must be at least 1"):
        sample_roll(network, 0)
    with pytest.raises(ValueError, match="steps must be at least 0"):
        sample_roll(network, -1, opening=roll)
    with pytest.raises(ValueError, match="88"):
        sample_roll(network, 3, opening=roll[:, :80])
    with pytest.raises(ValueError, match="model of music"):
        speech = speech_model("gru", 3)
        sample_roll(Network(speech, speech.init([0])[0]), 3)
    with pytest.raises(ValueError, match="not finite at step or sample 12: theta holds NaN"):
        sample_roll(replace(network, theta=network.theta * float("nan")), 3, opening=roll)
    np.testing.assert_array_equal(sample_roll(network, 0, opening=roll), roll)


def talker(unit: str = "gru", seed: int = 0) -> Network:
    """A small speech model whose mixture depends on what it has read and has components far apart."""
    model = speech_model(unit, 7)
    network = Network(model, model.init([seed], torch.float64)[0] * 5.0)
    b_out = network.b_out
    b_out += torch.randn(b_out.shape, generator=torch.Generator().manual_seed(1), dtype=b_out.dtype)
    return network


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("length", [20, 47])
def test_a_drawn_waveform_starts_with_its_opening(unit, length):
    network = talker(unit)
    opening = np.random.default_rng(0).standard_normal(length).astype(np.float32)
    wave = sample_waveform(network, 6, opening=opening, seed=3)
    assert wave.shape == (length + 60,) and wave.dtype == np.float32 and np.isfinite(wave).all()
    np.testing.assert_array_equal(wave[:length], opening)
    assert sample_waveform(network, 6, seed=3).shape == (60,)


def test_a_drawn_waveform_is_deterministic_under_a_seed_and_per_network():
    network = talker()
    first = sample_waveform(network, 6, seed=3)
    np.testing.assert_array_equal(first, sample_waveform(network, 6, seed=np.random.default_rng(3)))
    assert (first != sample_waveform(network, 6, seed=4)).all()
    assert (first != sample_waveform(talker(seed=1), 6, seed=3)).any()


@pytest.mark.parametrize("unit", UNITS)
def test_a_waveform_is_drawn_from_the_mixtures_that_the_model_predicts(unit):
    """Fed back to the model in the batches of training, the waveform is what the same random numbers give."""
    network = talker(unit)
    opening = np.random.default_rng(0).standard_normal(37).astype(np.float32)
    wave = sample_waveform(network, 6, opening=opening, seed=3)
    a = network.predict(batching.make_batch([wave[7:]], "speech", torch.float64).x[0])[1:, 0]
    log_weight, mean, sigma = (part.numpy() for part in network.model.output.parameters(a))
    rng = np.random.default_rng(3)
    for t, block in enumerate(wave[37:].reshape(6, 10)):
        k = np.searchsorted(np.exp(log_weight[t]).cumsum(), rng.random())
        np.testing.assert_allclose(block, mean[t, k] + sigma[t, k] * rng.standard_normal(10), rtol=1e-5, atol=1e-5)


def test_the_first_block_follows_the_mixture():
    """Two thousand first blocks against the mixture's mean, covariance and, along one direction, whole distribution."""
    network = talker()
    rng, n = np.random.default_rng(0), 2000
    blocks = np.array([sample_waveform(network, 1, seed=rng) for _ in range(n)], dtype=float)
    a = network.predict(torch.zeros(1, 1, 20))[0, 0]
    log_weight, mean, sigma = (part.numpy() for part in network.model.output.parameters(a))
    weight = np.exp(log_weight)
    center = weight @ mean
    covariance = (weight[:, None] * (mean - center)).T @ (mean - center) + np.diag(weight @ sigma**2)
    np.testing.assert_allclose(blocks.mean(0), center, atol=4 * np.sqrt(np.diag(covariance).max() / n))
    np.testing.assert_allclose(np.cov(blocks.T), covariance, atol=0.1 * np.diag(covariance).max())
    direction = np.ones(10)  # the ten samples of a block share their component, which their sum shows
    law = stats.norm(mean @ direction, np.sqrt(sigma**2 @ direction**2))
    assert stats.kstest(blocks @ direction, lambda s: law.cdf(np.asarray(s)[:, None]) @ weight).pvalue > 0.01


def test_drawing_a_waveform_refuses_what_it_cannot_do():
    network = talker()
    with pytest.raises(ValueError, match="model of speech"):
        sample_waveform(network_of(), 3)
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"steps must be at least 1; it is {steps}"):
            sample_waveform(network, steps)
    for shape in ((19,), (0,), (30, 1)):
        with pytest.raises(ValueError, match="at least 20 samples; this one has shape"):
            sample_waveform(network, 3, opening=np.zeros(shape))
    with pytest.raises(ValueError, match="opening holds NaN"):
        sample_waveform(network, 3, opening=np.full(25, np.nan))
    with pytest.raises(ValueError, match="not finite at step or sample 20: theta holds NaN"):
        sample_waveform(Network(network.model, network.theta * float("nan")), 3)


def test_a_waveform_is_put_back_on_the_scale_of_its_recording():
    speech = datasets.load("synthetic_speech", progress=False)
    wave = unstandardise(speech.test[0], speech)
    assert wave.dtype == np.float32 and wave.shape == speech.test[0].shape
    steps = wave * 32768
    np.testing.assert_allclose(steps, steps.round(), atol=0.01)  # the recording has 16 bits
    assert np.abs(steps).max() > 100
    np.testing.assert_array_equal(unstandardise([-99.0, 99.0], speech), [-1, 1])
    with pytest.raises(ValueError, match="data set of music"):
        unstandardise(np.zeros(3), datasets.Dataset("notes", "music", (), (), (), 0.5, "", ""))

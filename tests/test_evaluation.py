"""Both averages of the NLL against a plain loop, and the shortest sequence there is."""

import math

import numpy as np
import pytest
import torch

from gatedrnn.batching import make_batch
from gatedrnn.datasets import Dataset
from gatedrnn.evaluation import evaluate
from gatedrnn.model import music_model, speech_model
from gatedrnn.protocol import Protocol
from gatedrnn.training import train


def test_both_averages_of_the_nll(toy):
    """Against a plain loop over the sequences, one at a time."""
    data, model = toy(counts=(3, 3, 9), seed=4), music_model("gru", 4)
    theta = model.init([0, 1], torch.float64)
    for p, score in enumerate(evaluate(model, theta, data.test, batch_size=2)):
        nats = [model.nll(theta[p : p + 1], make_batch([s], "music", torch.float64))[0, :, 0] for s in data.test]
        later = [n[1:] for n in nats if len(n) > 1]
        assert score.pooled == pytest.approx(torch.cat(nats).mean().item())
        assert score.per_sequence == pytest.approx(np.mean([n.mean().item() for n in nats]))
        assert score.pooled_after_first == pytest.approx(torch.cat(later).mean().item())
        assert score.per_sequence_after_first == pytest.approx(np.mean([n.mean().item() for n in later]))
        assert (score.steps, score.sequences) == (sum(map(len, data.test)), 9)


def test_speech_is_scored_from_its_first_step():
    """Against a plain loop: no frame of it is without a past, so nothing is left out."""
    rng, model = np.random.default_rng(5), speech_model("tanh", 3)
    clips = [rng.normal(size=n).astype(np.float32) for n in (30, 95, 60)]
    theta = model.init([0, 1], torch.float64)
    for p, score in enumerate(evaluate(model, theta, clips, batch_size=2)):
        nats = [model.nll(theta[p : p + 1], make_batch([c], "speech", torch.float64))[0, :, 0] for c in clips]
        assert [len(n) for n in nats] == [1, 7, 4]
        assert score.pooled == score.pooled_after_first == pytest.approx(torch.cat(nats).mean().item())
        assert score.per_sequence == score.per_sequence_after_first
        assert score.per_sequence == pytest.approx(np.mean([n.mean().item() for n in nats]))


def test_sequences_of_one_step_can_be_trained_on_and_scored():
    one = (np.eye(88, dtype=np.uint8)[:1],)
    data = Dataset("one", "music", one, one, one, step_seconds=0.5, description="", source="")
    result = train(music_model("gru", 2), data, learning_rates=[1e-2], seeds=[0], protocol=Protocol(max_epochs=4))
    score = evaluate(result.model, result.theta, data.test)[0]
    assert math.isfinite(score.pooled) and math.isnan(score.pooled_after_first)


def test_what_is_no_piece_is_not_scored():
    model = music_model("gru", 2)
    for piece in (np.zeros((0, 88)), np.full((3, 88), 2), np.zeros((3, 87))):
        with pytest.raises(ValueError, match=r"Sequence 1 \(counted from 0\) cannot be used"):
            evaluate(model, model.init([0]), [np.zeros((3, 88)), piece])

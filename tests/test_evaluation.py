"""Both averages of the NLL against a plain loop, and the shortest sequence there is."""

import math

import numpy as np
import pytest
import torch

from gatedrnn.batching import make_batch
from gatedrnn.datasets import Dataset
from gatedrnn.evaluation import evaluate
from gatedrnn.model import music_model
from gatedrnn.training import Protocol, train


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


def test_sequences_of_one_step_can_be_trained_on_and_scored():
    one = (np.eye(88, dtype=np.uint8)[:1],)
    data = Dataset("one", "music", one, one, one, step_seconds=0.5, description="", source="")
    result = train(music_model("gru", 2), data, learning_rates=[1e-2], seeds=[0], protocol=Protocol(max_epochs=4))
    score = evaluate(result.model, result.theta, data.test)[0]
    assert math.isfinite(score.pooled) and math.isnan(score.pooled_after_first)

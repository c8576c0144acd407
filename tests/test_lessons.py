import doctest

import numpy as np
import pytest
import torch

from gatedrnn import lessons
from gatedrnn.units import UNITS


def test_only_the_first_symbol_decides_and_only_the_last_step_counts():
    batch = lessons.recall_batch(50, 7, torch.Generator().manual_seed(3))
    symbols = batch.x[0].argmax(-1)  # (8, 50)
    assert (symbols[0] < 4).all() and (symbols[1:] >= 4).all()
    assert torch.equal(batch.target[0, -1].argmax(-1), symbols[0])
    assert batch.mask.sum() == 50 and batch.mask[0, -1].all()
    assert doctest.testmod(lessons).failed == 0


def test_a_short_lag_is_learnt_and_the_start_of_the_gate_is_set():
    networks, right = lessons.train_recall("gru", 2, seeds=(0, 1), updates=150)
    assert right.shape == (2,) and (right > 0.9).all()
    model, theta = networks[0].model, torch.stack([network.theta for network in networks])
    np.testing.assert_array_equal(lessons.recalled(model, theta, 2), right)
    untrained, chance = lessons.train_recall("lstm", 2, hold=3.0, seeds=(0,), updates=0)
    bias = untrained[0].model.parts(untrained[0].theta[None])["b"][0].view(4, -1)
    assert (bias[2] == 3).all() and not bias[[0, 1, 3]].any()
    assert chance[0] < 0.6


@pytest.mark.slow
def test_the_chorales_are_learnt():
    (network,) = lessons.train_on_chorales("gru", seeds=(1,))
    assert network.evaluate(lessons.load("bach_chorales").test).pooled < 9.2


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_the_search_finds_the_rate_that_chapter_4_takes(unit):
    assert lessons.search_rate(unit) == 1e-3

"""Likelihoods against torch.distributions, gradients by gradcheck, samples by their moments, and the extremes."""

import math

import numpy as np
import pytest
import torch
from torch import distributions as D

from gatedrnn.outputs import BernoulliOutput, GaussianMixtureOutput


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_bernoulli_equals_torch_distributions():
    a, target = random(3, 5, 88), (random(3, 5, 88, seed=1) > 0).double()
    ours = BernoulliOutput(88).nll(a, target)
    torch.testing.assert_close(ours, -D.Bernoulli(logits=a).log_prob(target).sum(-1))


def test_bernoulli_of_zero_logits_is_88_log_2():
    nll = BernoulliOutput(88).nll(torch.zeros(88, dtype=torch.float64), torch.zeros(88, dtype=torch.float64))
    assert nll.item() == pytest.approx(88 * math.log(2))


def test_bernoulli_stays_finite_for_extreme_logits():
    output = BernoulliOutput(2)
    a = torch.tensor([1e4, -1e4])
    assert output.nll(a, torch.tensor([1.0, 0.0])).item() == pytest.approx(0)
    assert output.nll(a, torch.tensor([0.0, 1.0])).item() == pytest.approx(2e4)


def test_bernoulli_samples_have_the_right_mean():
    output, a = BernoulliOutput(4), torch.tensor([-2.0, 0.0, 1.0, 3.0])
    draws = output.sample(a.expand(20_000, 4), np.random.default_rng(0))
    assert draws.dtype == np.uint8 and set(np.unique(draws)) == {0, 1}
    np.testing.assert_allclose(draws.mean(0), output.probabilities(a), atol=0.015)


def mixture(output, a):
    log_weight, mean, sigma = output.parameters(a)
    return D.MixtureSameFamily(D.Categorical(logits=log_weight), D.Independent(D.Normal(mean, sigma), 1))


def test_mixture_equals_torch_distributions():
    output = GaussianMixtureOutput()
    assert output.width == 420
    a, target = random(3, 5, 420), random(3, 5, 10, seed=1)
    torch.testing.assert_close(output.nll(a, target), -mixture(output, a).log_prob(target))


def test_mixture_gradcheck():
    output = GaussianMixtureOutput(size=2, components=3)
    a, target = random(4, output.width).requires_grad_(), random(4, 2, seed=1)
    assert torch.autograd.gradcheck(lambda a: output.nll(a, target), a)


def test_the_floor_bounds_the_nll_of_a_constant_block():
    """However far sigma is driven down on silence, ten numbers cost at least 10 (log floor + log sqrt(2 pi)) nats."""
    output = GaussianMixtureOutput()
    log_weight_mean, sigma = torch.zeros(220, dtype=torch.float64), torch.full((200,), -1e6, dtype=torch.float64)
    a = torch.cat([log_weight_mean, sigma])
    nll = output.nll(a, torch.zeros(10, dtype=torch.float64))
    assert nll.item() == pytest.approx(10 * (math.log(1e-4) + 0.5 * math.log(2 * math.pi)))


def test_mixture_is_stable_far_from_every_component():
    output = GaussianMixtureOutput()
    assert torch.isfinite(output.nll(torch.zeros(420), torch.full((10,), 1e6)))


def test_mixture_samples_have_the_right_moments():
    output = GaussianMixtureOutput(size=2, components=3)
    a = random(output.width, seed=3)
    draws = output.sample(a.expand(60_000, -1), np.random.default_rng(0))
    theory = mixture(output, a)
    np.testing.assert_allclose(draws.mean(0), theory.mean, atol=0.03)
    np.testing.assert_allclose(draws.var(0), theory.variance, atol=0.05, rtol=0.03)


@pytest.mark.parametrize(
    "make", [lambda: BernoulliOutput(0), lambda: GaussianMixtureOutput(0), lambda: GaussianMixtureOutput(10, 0)]
)
def test_sizes_below_one_are_refused(make):
    with pytest.raises(ValueError, match="at least 1"):
        make()


def test_a_floor_of_zero_is_refused():
    with pytest.raises(ValueError, match="floor must be positive"):
        GaussianMixtureOutput(floor=0)

"""An update of training is that of `torch.optim`, or of the authors' later code, at any clipping and any schedule."""

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from gatedrnn.batching import Batch, epoch_batches
from gatedrnn.datasets import Dataset
from gatedrnn.model import music_model
from gatedrnn.optim import State, apply, rescale
from gatedrnn.protocol import Protocol
from gatedrnn.training import train

MODEL, RATE = music_model("gru", 4), 1e-3
STILL = {"weight_noise": 0.0, "batch_size": 3, "max_epochs": 2}
LIBRARY = {
    "rmsprop": lambda p, rule: torch.optim.RMSprop(p, lr=RATE, alpha=0.95, momentum=0.9, eps=1e-8),
    "adam": lambda p, rule: torch.optim.Adam(p, lr=RATE, betas=(0.9, rule.square_decay)),
    "adamw": lambda p, rule: torch.optim.AdamW(
        p, lr=RATE, betas=(0.9, rule.square_decay), weight_decay=rule.weight_decay
    ),
}


@pytest.fixture(scope="module")
def data(toy: Callable) -> Dataset:
    return toy()


def batches(data: Dataset, rule: Protocol, seed: int = 0) -> Iterator[tuple[int, Batch]]:
    """(epoch, batch) in the order in which training sees them."""
    for epoch in range(1, rule.max_epochs + 1):
        arguments = data.train, "music", rule.batch_size, [seed], epoch, torch.float64, rule.order
        yield from zip(itertools.repeat(epoch), epoch_batches(*arguments), strict=False)


def trained(data: Dataset, rule: Protocol, **options) -> Tensor:
    """theta (N,) after the last epoch, which has to be the best."""
    options = {"learning_rates": [RATE], "seeds": [0], "dtype": torch.float64} | options
    result = train(MODEL, data, protocol=rule, **options)
    assert result.histories[0].best_epoch == rule.max_epochs, "the last parameters are not the kept ones"
    return result.theta[0]


def by_library(
    data: Dataset, rule: Protocol, factor: Callable[[int, int], float] = lambda update, epoch: 1.0
) -> Tensor:
    """The same, by `torch.optim` and `torch.nn.utils`."""
    theta = MODEL.init([0], torch.float64).requires_grad_()
    optimizer = LIBRARY[rule.optimizer]([theta], rule)
    for update, (epoch, batch) in enumerate(batches(data, rule), 1):
        optimizer.param_groups[0]["lr"] = RATE * factor(update, epoch)
        optimizer.zero_grad()
        nll = MODEL.nll(theta, batch)
        (nll.sum(1).mean() if rule.objective == "sum" else nll.sum() / batch.mask.sum()).backward()
        torch.nn.utils.clip_grad_norm_([theta], rule.clip_norm)
        optimizer.step()
    return theta.detach()[0]


@pytest.mark.parametrize("optimizer", LIBRARY)
@pytest.mark.parametrize("clip_norm", [1.0, 20.0, 1e9])  # always, sometimes, never
def test_two_epochs_are_those_of_torch(data, optimizer: str, clip_norm: float):
    rule = Protocol(optimizer=optimizer, clip_norm=clip_norm, **STILL)
    torch.testing.assert_close(trained(data, rule), by_library(data, rule), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"objective": "mean"},
        {"objective": "mean", "clip_norm": 1e9, "order": "own"},
        {"optimizer": "adam", "square_decay": 0.9},
        {"optimizer": "adamw", "weight_decay": 0.3},
    ],
    ids=str,
)
def test_so_are_they_with_another_objective_and_other_numbers(data, changed: dict):
    rule = Protocol(**STILL | changed)
    torch.testing.assert_close(trained(data, rule), by_library(data, rule), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip_norm", [0.01, 1.0])  # the step's norm: always rescaled, and seldom
def test_the_authors_rule_floors_the_root_and_rescales_the_step(data, clip_norm: float):
    rule = Protocol(optimizer="authors", clip_norm=clip_norm, **STILL)
    theta = MODEL.init([0], torch.float64)
    square, velocity, norms = torch.zeros_like(theta), torch.zeros_like(theta), []
    for _, batch in batches(data, rule):
        point = theta.clone().requires_grad_()
        (g,) = torch.autograd.grad(MODEL.nll(point, batch).sum(1).mean(), point)
        square = 0.95 * square + 0.05 * g**2
        velocity = 0.9 * velocity + RATE * g / square.sqrt().clamp(min=0.01)
        norms.append(velocity.norm().item())
        theta = theta - velocity * min(1, clip_norm / norms[-1])
    assert max(norms) > 0.01 and min(norms) < 1
    torch.testing.assert_close(trained(data, rule), theta[0], rtol=1e-9, atol=1e-12)


def test_a_gradient_whose_norm_overflows_ends_a_run_only_where_the_norm_is_used():
    """In single precision its squares overflow, though it is finite itself; the authors' rule clips no gradient."""
    gradient, rate = torch.tensor([[1e22, -3e18, 1.0]] * 2), [1e-3, 1e-3]
    gradient[1, 2] = math.inf
    for optimizer, bad in (("authors", [0, 1]), ("rmsprop", [1, 1]), ("adam", [1, 1])):
        state = State.start(torch.ones(2, 3), rate, [0.0] * 2, [0.0] * 2, averaged=False)
        apply(Protocol(optimizer=optimizer), state, gradient.clone(), 1.0, 1)
        assert state.bad.tolist() == bad and state.theta.isfinite().all()
        assert (state.theta[1] == 1).all(), "a gradient that is not finite moves nothing"
        if optimizer == "authors":  # 1e22 has an infinite mean square, and is divided by it
            torch.testing.assert_close(state.theta[0], 1 - 1e-3 * torch.tensor([0, -(20**0.5), 20**0.5]))


def test_a_rate_that_rises_and_falls_as_a_cosine(data):
    rule = Protocol(schedule="cosine", warmup=0.25, **STILL)
    updates = sum(1 for _ in batches(data, rule))
    rising = 0.25 * updates

    def factor(update: int, epoch: int) -> float:
        left = (updates - update) / (updates - rising)
        return update / rising if update < rising else math.sin(0.5 * math.pi * left) ** 2

    torch.testing.assert_close(trained(data, rule), by_library(data, rule, factor), rtol=1e-5, atol=1e-6)
    assert (
        rule.factor(updates, updates, 2) == pytest.approx(0) and max(map(factor, range(1, updates + 1), [1] * 99)) <= 1
    )


def test_a_rate_that_falls_by_epoch_to_a_hundredth(data):
    rule = Protocol(schedule="linear", **STILL | {"max_epochs": 3})
    rates = {1: 1.0, 2: 0.505, 3: 0.01}
    theirs = by_library(data, rule, lambda update, epoch: rates[epoch])
    torch.testing.assert_close(trained(data, rule), theirs, rtol=1e-5, atol=1e-6)


def test_the_average_of_the_parameters_is_scored_and_kept(data):
    """Its memory grows with the updates until it has reached its length."""
    rule = Protocol(averaging=0.3, optimizer="adam", **STILL)
    theta = MODEL.init([0], torch.float64).requires_grad_()
    average, optimizer, weights = theta.detach().clone(), torch.optim.Adam([theta], lr=RATE), []
    for update, (_, batch) in enumerate(batches(data, rule), 1):
        optimizer.zero_grad()
        MODEL.nll(theta, batch).sum(1).mean().backward()
        torch.nn.utils.clip_grad_norm_([theta], 1.0)
        optimizer.step()
        weights.append(min(0.3, (1 + update) / (10 + update)))
        average = weights[-1] * average + (1 - weights[-1]) * theta.detach()
    assert weights[0] < 0.3 == weights[-1]
    kept = trained(data, rule)
    torch.testing.assert_close(kept, average[0], rtol=1e-6, atol=1e-8)
    assert not torch.allclose(kept, theta.detach()[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("usual", [torch.float32, torch.float64], ids=str)
def test_a_rate_of_a_run_in_float64_is_exact_whatever_torch_takes_for_granted(data, usual: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(usual)
    try:
        state = State.start(MODEL.init([0], torch.float64), [1e-3], [0.075], [0.1], averaged=False)
        assert (state.rate.item(), state.noise.item(), state.dropout.item()) == (1e-3, 0.075, 0.1)
        assert state.rate.dtype == torch.float64
        theta = trained(data, Protocol(**STILL))
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(theta, trained(data, Protocol(**STILL)))


def test_members_keep_what_is_theirs_when_others_leave():
    state = State.start(MODEL.init([0, 1, 2]), [1.0, 2.0, 3.0], [0.1, 0.2, 0.3], [0.0, 0.1, 0.2], averaged=True)
    theta = state.theta.clone()
    state.keep([0, 2])
    assert torch.equal(state.theta, theta[[0, 2]]) and torch.equal(state.average, theta[[0, 2]])
    assert state.rate.flatten().tolist() == [1.0, 3.0] and len(state.square) == len(state.bad) == 2


def test_only_longer_vectors_are_rescaled_each_by_its_own_norm():
    vectors = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    rescaled, norms = rescale(vectors, 1.0)
    torch.testing.assert_close(rescaled, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
    torch.testing.assert_close(norms[:, 0], torch.tensor([5.0, 0.5, 0.0]))

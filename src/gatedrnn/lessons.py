"""What the chapters share, so that their numbers can be compared: the recall task, and one protocol on the chorales.

The recall task: the first step shows one of four symbols, then come `lag` distractors from four other symbols, and at
the last step the model names the first. All that helps lies exactly `lag` steps back.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .batching import Batch
from .datasets import load
from .model import SequenceModel, music_model
from .network import Network
from .optim import rescale
from .outputs import BernoulliOutput
from .process import prepare_process
from .protocol import Protocol
from .training import Result, train

SYMBOLS = 4
RECALL_SIZES = {"tanh": 40, "gru": 21, "lstm": 17}  # about the same number of recurrent parameters
# Every unit starts with its output biases at the log-odds of the pitches; the rate is the best of these on validation.
CHORALES = Protocol(batch_size=8, max_epochs=15, patience=15, informed_start=True)
RATES = (1e-3, 3e-3, 1e-2)


def recall_batch(size: int, lag: int, generator: torch.Generator) -> Batch:
    """`size` sequences of the recall task: x (1, lag + 1, size, 8), target (..., 4); only the last step counts.

    >>> batch = recall_batch(2, 3, torch.Generator().manual_seed(0))
    >>> batch.x.shape, batch.mask[0, :, 0].tolist()
    (torch.Size([1, 4, 2, 8]), [False, False, False, True])
    """
    first = torch.randint(SYMBOLS, (1, size), generator=generator)
    distractors = torch.randint(SYMBOLS, (lag, size), generator=generator) + SYMBOLS
    x = F.one_hot(torch.cat([first, distractors]), 2 * SYMBOLS).double()
    mask = torch.zeros(lag + 1, size, dtype=torch.bool)
    mask[-1] = True
    return Batch(x[None], x[None, :1, :, :SYMBOLS].expand(-1, lag + 1, -1, -1), mask[None])


def train_recall(
    unit: str, lag: int, *, hold: float = 0.0, seeds: tuple[int, ...] = (0, 1, 2, 3, 4), updates: int = 300
) -> tuple[list[Network], np.ndarray]:
    """Train a unit on the recall task, a network a seed; also the share of 400 new sequences that each answers rightly.

    hold : the bias at which a gate starts that decides what is kept: of an LSTM's forget gate, and minus that of a
    GRU's update gate. Adam with rate 0.01, batches of 16, the gradient's norm clipped to 1, float64.
    """
    prepare_process()
    model = SequenceModel(unit, 2 * SYMBOLS, RECALL_SIZES[unit], BernoulliOutput(SYMBOLS))
    theta = model.init(seeds, torch.float64)
    bias = model.parts(theta)["b"]
    for gate, value in (("f", hold), ("z", -hold)):
        if gate in model.gates:
            bias[:, model.block(gate)] = value
    theta.requires_grad_()
    optimizer, generator = torch.optim.Adam([theta], lr=0.01), torch.Generator().manual_seed(lag)
    for _ in range(updates):
        loss = model.nll(theta, recall_batch(16, lag, generator)).sum(1).mean(1).sum()
        (gradient,) = torch.autograd.grad(loss, theta)
        theta.grad, _ = rescale(gradient, 1.0)  # each network's own norm
        optimizer.step()
    return [Network(model, row) for row in theta.detach()], recalled(model, theta.detach(), lag)


@torch.no_grad()
def recalled(model: SequenceModel, theta: Tensor, lag: int) -> np.ndarray:
    """The share of 400 new sequences whose first symbol each network names: theta (P, N) -> (P,)."""
    test = recall_batch(400, lag, torch.Generator().manual_seed(1000 + lag))
    named = model.predict(theta, test.x.to(theta.dtype))[:, -1].argmax(-1)
    return (named == test.target[0, -1].argmax(-1)).double().mean(1).numpy()


def search_rate(unit: str, **options) -> float:
    """The best of `RATES` on validation for a unit of Table 1's size on the Bach chorales, by `CHORALES`, seed 0.

    options : of `music_model`, such as peepholes=False.
    """
    return RATES[_train(unit, RATES, [0] * len(RATES), options).best()]


def train_on_chorales(
    unit: str, seeds: tuple[int, ...] = (1, 2, 3), *, rate: float | None = None, **options
) -> list[Network]:
    """Train a unit of Table 1's size on the Bach chorales by `CHORALES`: a network a seed.

    rate : the learning rate; what `search_rate` finds if none is given. options : of `music_model`.
    """
    rate = search_rate(unit, **options) if rate is None else rate
    result = _train(unit, [rate] * len(seeds), seeds, options)
    return [result.network(member) for member in range(len(seeds))]


def _train(unit: str, rates: Sequence[float], seeds: Sequence[int], options: dict) -> Result:
    """One training by the chapters' protocol, a member a rate and seed."""
    model, data = music_model(unit, **options), load("bach_chorales", progress=False)
    return train(model, data, learning_rates=rates, seeds=seeds, protocol=CHORALES, dtype=torch.float64, progress=False)

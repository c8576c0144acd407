"""One update of a population: the rules by which parameters follow a gradient, a row for each member.

Everything is done in place on a `State` and without looking at a number, for which CUDA would have to be waited for.
`torch.optim` has none of it for members with rates of their own; on one member the results are equal, which the tests
hold.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .protocol import Protocol

FLOOR = 1e-2  # of the root mean square in "authors", the default of their later code


@dataclass
class State:
    """What training changes, (P, N), and what is each member's own, (P, 1).

    square, velocity : running averages of the squared gradient and of the step. average : the exponential average of
    theta, or None. rate, noise, dropout : the learning rate, the standard deviation of the weight noise, and the share
    of hidden units left out. bad (P,) : how many gradients were not finite.
    """

    theta: Tensor
    square: Tensor
    velocity: Tensor
    average: Tensor | None
    rate: Tensor
    noise: Tensor
    dropout: Tensor
    bad: Tensor

    @classmethod
    def start(
        cls, theta: Tensor, rate: list[float], noise: list[float], dropout: list[float], averaged: bool
    ) -> "State":
        """The state before the first update; rate, noise and dropout hold a number a member."""
        own = [torch.tensor(values, dtype=torch.float64).to(theta)[:, None] for values in (rate, noise, dropout)]
        average = theta.clone() if averaged else None
        bad = torch.zeros(len(theta), dtype=torch.long, device=theta.device)
        return cls(theta, torch.zeros_like(theta), torch.zeros_like(theta), average, own[0], own[1], own[2], bad)

    def keep(self, rows: list[int]) -> None:
        """Let go of all members but those in `rows`: the one place where members leave."""
        for name, value in vars(self).items():
            setattr(self, name, None if value is None else value[rows])

    @property
    def final(self) -> Tensor:
        """The parameters to score and to keep: the average, where there is one."""
        return self.theta if self.average is None else self.average


def rescale(vectors: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """Rows (P, N) rescaled to norm `limit` where they are longer, and their norms (P, 1) before."""
    norm = vectors.norm(dim=1, keepdim=True)
    return vectors * (limit / norm).clamp(max=1), norm


def apply(rule: Protocol, state: State, gradient: Tensor, factor: float, count: int, shrink: bool = False) -> None:
    """One update along a gradient (P, N), by a protocol.

    factor : what the schedule multiplies the learning rates by. count : the number of this update, from 1. A gradient
    that is not finite counts in `state.bad` and moves nothing, or, with `shrink`, a tenth of the parameters takes its
    place, as in the authors' later code.
    """
    if rule.optimizer == "authors":  # they rescale the step instead, so that an overflow of the norm is none of theirs
        finite = gradient.isfinite().all(1, keepdim=True)
    else:
        gradient, norm = rescale(gradient, rule.clip_norm)
        finite = norm.isfinite()
    state.bad += ~finite[:, 0]
    gradient = torch.where(finite, gradient, 0.1 * state.theta if shrink else torch.zeros_like(gradient))
    rate = state.rate * factor
    if rule.optimizer in ("rmsprop", "authors"):  # Tieleman and Hinton (2012), with momentum
        state.square.mul_(rule.decay).addcmul_(gradient, gradient, value=1 - rule.decay)
        root = state.square.sqrt()
        if rule.optimizer == "rmsprop":
            state.velocity.mul_(rule.momentum).addcdiv_(gradient, root.add_(rule.epsilon))
            step = state.velocity * rate
        else:  # jych/librnn: the root has a floor, and the step, not the gradient, is rescaled
            state.velocity.mul_(rule.momentum).addcdiv_(gradient * rate, root.clamp_(min=FLOOR))
            step, _ = rescale(state.velocity, rule.clip_norm)
    else:  # Kingma and Ba (2015); Loshchilov and Hutter (2019) for "adamw"
        state.velocity.mul_(0.9).add_(gradient, alpha=0.1)
        state.square.mul_(rule.square_decay).addcmul_(gradient, gradient, value=1 - rule.square_decay)
        mean, square = state.velocity / (1 - 0.9**count), state.square / (1 - rule.square_decay**count)
        step = mean.div_(square.sqrt_().add_(rule.epsilon)) * rate
        if rule.optimizer == "adamw":
            step.add_(state.theta * rate, alpha=rule.weight_decay)
    state.theta.sub_(step)
    if state.average is not None:  # its memory grows to 1 / (1 - averaging), so that the start is soon forgotten
        weight = 1 - min((1.0 + count) / (10.0 + count), rule.averaging)
        state.average.add_((state.theta - state.average) * weight)

"""Output layers: from what the network computes, ``a = W_out h + b_out``, to the likelihood of the next observation.

Each output says how many numbers it needs (`width`), gives the negative log-likelihood of a target, and draws samples.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_sizes


@dataclass(frozen=True)
class BernoulliOutput:
    """One independent Bernoulli variable a pitch (section 4.1): p(x_k = 1) = sigmoid(a_k). size = number of pitches."""

    size: int
    kind: ClassVar[str] = "music"

    def __post_init__(self):
        check_sizes(size=self.size)

    @property
    def width(self) -> int:
        return self.size

    def probabilities(self, a: Tensor) -> Tensor:
        """The probability that each pitch sounds: a (..., size) -> (..., size)."""
        return torch.sigmoid(a)

    def nll(self, a: Tensor, target: Tensor) -> Tensor:
        """Nats a step, summed over the pitches: a, target (..., size) -> (...)."""
        # -log p = softplus(a) - a x, which neither overflows nor takes the logarithm of zero; one pass over memory
        return F.binary_cross_entropy_with_logits(a, target.expand_as(a), reduction="none").sum(-1)

    def informed_bias(self, sequences) -> Tensor:
        """Log-odds of each pitch in binary sequences (T, size), one frame added of each kind -> (size,)."""
        frames = torch.from_numpy(np.concatenate(sequences)).double()
        return torch.logit((frames.sum(0) + 1) / (len(frames) + 2))

    def sample(self, a: Tensor, rng: np.random.Generator) -> np.ndarray:
        """Draw each pitch by itself: a (..., size) -> uint8 0 or 1, (..., size). numpy draws alike on every machine."""
        p = self.probabilities(a).double().cpu().numpy()
        return (rng.random(p.shape) < p).astype(np.uint8)


class RecallOutput(BernoulliOutput):
    """The same for the recall task, of which only the last step is scored."""

    kind = "recall"


@dataclass(frozen=True)
class GaussianMixtureOutput:
    """A mixture of diagonal Gaussians whose weights are shared by the output dimensions (section 4.1).

    ``a`` holds the logits of the M weights, then M * size means, then M * size numbers that become standard deviations,
    sigma = softplus(.) + floor. The floor keeps a constant stretch of the signal (silence) from driving sigma to zero
    and the negative log-likelihood to minus infinity.
    """

    size: int = 10
    components: int = 20
    floor: float = 1e-4
    kind: ClassVar[str] = "speech"

    def __post_init__(self):
        check_sizes(size=self.size, components=self.components)
        if not self.floor > 0:
            raise ValueError(f"floor must be positive, not {self.floor}")

    @property
    def width(self) -> int:
        return self.components * (1 + 2 * self.size)

    def parameters(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log weights (..., M), means (..., M, size), standard deviations (..., M, size)."""
        M = self.components
        logits, mean, sigma = a.split([M, M * self.size, M * self.size], dim=-1)
        mean, sigma = (part.unflatten(-1, (M, self.size)) for part in (mean, sigma))
        return F.log_softmax(logits, dim=-1), mean, F.softplus(sigma) + self.floor

    def nll(self, a: Tensor, target: Tensor) -> Tensor:
        """Nats a step, of all `size` numbers together: a (..., width), target (..., size) -> (...)."""
        log_weight, mean, sigma = self.parameters(a)
        standardised = (target[..., None, :] - mean) / sigma
        log_normal = -0.5 * standardised.square() - sigma.log() - 0.5 * math.log(2 * math.pi)
        return -torch.logsumexp(log_weight + log_normal.sum(-1), dim=-1)

    def sample(self, a: Tensor, rng: np.random.Generator) -> np.ndarray:
        """Draw a component, then its Gaussian: a (..., width) -> float64 (..., size)."""
        log_weight, mean, sigma = (part.double().cpu().numpy() for part in self.parameters(a))
        below = np.cumsum(np.exp(log_weight), axis=-1)
        k = np.sum(below <= below[..., -1:] * rng.random((*a.shape[:-1], 1)), axis=-1)[..., None, None]
        mean, sigma = (np.take_along_axis(part, k, axis=-2)[..., 0, :] for part in (mean, sigma))
        return mean + sigma * rng.standard_normal(mean.shape)

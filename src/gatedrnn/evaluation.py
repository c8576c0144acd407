"""How good a trained model is: the average negative log-likelihood of some sequences, in both ways of averaging."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .batching import evaluation_batches
from .datasets import check_sequences
from .model import SequenceModel


@dataclass(frozen=True)
class Evaluation:
    """Average negative log-likelihood of one member, in nats a step, both ways of averaging.

    pooled : all nats / all steps. per_sequence : the mean over sequences of each one's mean a step.
    *_after_first : without the first frame of each sequence, which the authors' later code never scores (music only).
    """

    pooled: float
    per_sequence: float
    pooled_after_first: float
    per_sequence_after_first: float
    steps: int
    sequences: int

    @classmethod
    def of(cls, total: np.ndarray, after: np.ndarray, steps: np.ndarray, first: int) -> "Evaluation":
        """From the nats of each sequence, with and without its first frame, and its number of steps; each (n,)."""
        later = steps - first
        some = later > 0
        return cls(
            pooled=float(total.sum() / steps.sum()),
            per_sequence=float((total / steps).mean()),
            pooled_after_first=float(after.sum() / later.sum()) if some.any() else float("nan"),
            per_sequence_after_first=float((after[some] / later[some]).mean()) if some.any() else float("nan"),
            steps=int(steps.sum()),
            sequences=len(steps),
        )


class Scorer:
    """The NLL of populations on some sequences, which are padded once and stay on the device."""

    def __init__(self, model: SequenceModel, sequences: Sequence[np.ndarray], dtype, device, batch_size: int = 16):
        if not len(sequences):
            raise ValueError("there is no sequence to score: give one at least")
        self.model, self.first = model, 1 if model.kind == "music" else 0
        self.batches = [
            (indices, batch.to(device, dtype))
            for indices, batch in evaluation_batches(sequences, model.kind, batch_size, dtype)
        ]
        self.steps = np.zeros(len(sequences))
        for indices, batch in self.batches:
            self.steps[indices] = batch.mask[0].sum(0).cpu().numpy()

    @torch.no_grad()
    def totals(self, theta: Tensor) -> np.ndarray:
        """Nats of every sequence, with its first frame and without: theta (P, N) -> (2, P, sequences)."""
        out = np.zeros((2, len(theta), len(self.steps)))
        for indices, batch in self.batches:
            nll = self.model.nll(theta, batch).double().cpu().numpy()  # (P, T, B)
            out[0][:, indices], out[1][:, indices] = nll.sum(1), nll[:, self.first :].sum(1)
        return out

    def scores(self, theta: Tensor) -> list[Evaluation]:
        """theta (P, N) -> P evaluations."""
        total, after = self.totals(theta)
        return [Evaluation.of(a, b, self.steps, self.first) for a, b in zip(total, after, strict=True)]


def evaluate(
    model: SequenceModel, theta: Tensor, sequences: Sequence[np.ndarray], batch_size: int = 16
) -> list[Evaluation]:
    """The NLL of every member of a population on some sequences, without noise: theta (P, N) -> P evaluations.

    For one trained model there is `Network.evaluate`.

    >>> from gatedrnn import music_model
    >>> model = music_model("gru", 4)
    >>> silence = np.zeros((8, 88), np.uint8)
    >>> first, second = evaluate(model, model.init([0, 1]), [silence])
    >>> first.steps, round(first.pooled)  # untrained: 88 pitches, each at one half
    (8, 61)

    Raises ValueError when there is no sequence, and for one that is no piano roll or waveform.
    """
    check_sequences(sequences, model.kind)
    return Scorer(model, sequences, theta.dtype, theta.device, batch_size).scores(theta)

"""How good a trained model is: the average negative log-likelihood of some sequences, in both ways of averaging."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .batching import evaluation_batches
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

    Raises ValueError when there is no sequence.
    """
    if not len(sequences):
        raise ValueError("there is no sequence to score: give one at least")
    P, first = len(theta), 1 if model.kind == "music" else 0
    total, after = np.zeros((P, len(sequences))), np.zeros((P, len(sequences)))
    steps = np.zeros(len(sequences))
    with torch.no_grad():
        for indices, batch in evaluation_batches(sequences, model.kind, batch_size, theta.dtype):
            batch = batch.to(theta.device, theta.dtype)
            nll = model.nll(theta, batch).double().cpu().numpy()  # (P, T, B)
            total[:, indices], after[:, indices] = nll.sum(1), nll[:, first:].sum(1)
            steps[indices] = batch.mask[0].sum(0).cpu().numpy()
    later = steps - first
    some = later > 0
    return [
        Evaluation(
            pooled=float(total[p].sum() / steps.sum()),
            per_sequence=float((total[p] / steps).mean()),
            pooled_after_first=float(after[p].sum() / later.sum()) if some.any() else float("nan"),
            per_sequence_after_first=float((after[p, some] / later[some]).mean()) if some.any() else float("nan"),
            steps=int(steps.sum()),
            sequences=len(sequences),
        )
        for p in range(P)
    ]

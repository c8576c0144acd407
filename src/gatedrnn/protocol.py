"""The protocol of training: what the paper fixes (section 4.2) and what it leaves open, with reasons. No torch."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from .checks import check_sizes

Order = Literal["shared", "own"]
"""Whether the members of a population take their batches in one order or each in its own."""

CHOICES = {
    "optimizer": ("rmsprop", "adam", "adamw", "authors"),
    "start": ("authors", "glorot", "modern"),
    "objective": ("sum", "mean"),
    "order": get_args(Order),
    "schedule": ("constant", "cosine", "linear"),
}  # field -> its values


@dataclass(frozen=True)
class Protocol:
    """Everything about training but the model, the data, the learning rate and the seed.

    From the paper: RMSProp, weight_noise, clip_norm, early stopping. Left open by it and chosen here: the rest.
    Raises ValueError, naming the field, for a value that makes no sense.

    >>> Protocol(optimizer="adam", batch_size=4).clip_norm
    1.0
    """

    optimizer: str = "rmsprop"  # "adam", "adamw"; or "authors": RMSProp as in the authors' later code
    decay: float = 0.95  # of RMSProp's mean square, and momentum: the authors' later code
    momentum: float = 0.9
    epsilon: float = 1e-8
    weight_noise: float = 0.075  # standard deviation, on the recurrent layer's W and U; off in evaluation
    clip_norm: float = 1.0
    batch_size: int = 8  # the authors' code has 1; 8 costs about a fifth of the time
    max_epochs: int = 100
    patience: int = 10  # epochs without a new best on validation
    informed_start: bool = False  # True: output biases start at the log-odds of the training set's pitches, not at 0
    start: str = "authors"  # of the recurrent layer; or "glorot", "modern": see `SequenceModel.init`
    schedule: str = "constant"  # of the rate; "cosine": warm-up, then down to 0; "linear": down to 1 % by epoch
    warmup: float = 0.05  # share of the updates over which "cosine" rises
    square_decay: float = 0.999  # of Adam's mean square
    weight_decay: float = 0.01  # of "adamw"
    averaging: float = 0.0  # decay of an exponential average of the parameters, which is then scored and kept; 0: none
    dropout: float = 0.0  # share of hidden units that the output layer does not see
    objective: str = "sum"  # the paper's: sum over time, mean over sequences; or "mean": per step
    order: Order = "shared"  # of the batches, common to all members; or each member's "own"
    validate_every: int = 1  # epochs
    noisy_validation: bool = False  # True: scores on validation with weight noise, as the authors' later code has them

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        check_sizes(
            **{name: getattr(self, name) for name in ("batch_size", "max_epochs", "patience", "validate_every")}
        )
        below = dict.fromkeys(("decay", "momentum", "square_decay", "averaging", "dropout", "warmup"), 1.0)
        for name, limit in (below | dict.fromkeys(("weight_noise", "weight_decay"), math.inf)).items():
            value = getattr(self, name)
            if not isinstance(value, float | int) or not 0 <= value < limit:
                raise ValueError(f"{name} must be a number from 0 to below {limit:g}, not {value!r}")
        for name in ("epsilon", "clip_norm"):
            value = getattr(self, name)
            if not isinstance(value, float | int) or not value > 0:
                raise ValueError(f"{name} must be a positive number, not {value!r}")

    def factor(self, update: int, updates: int, epoch: int) -> float:
        """What the schedule multiplies a learning rate by at an update (from 1) of `updates`, in an epoch (from 1)."""
        if self.schedule == "linear":
            return 1 - 0.99 * (epoch - 1) / max(self.max_epochs - 1, 1)
        if self.schedule == "cosine":
            rising = self.warmup * updates
            if update < rising:
                return update / rising
            return 0.5 + 0.5 * math.cos(math.pi * (update - rising) / (updates - rising))
        return 1.0

"""What training writes down of each member of a population: its learning curve, and why it ended. No torch."""

from dataclasses import dataclass, field, fields


class TrainingDiverged(RuntimeError):
    """A loss or a gradient stopped being a finite number."""


@dataclass
class History:
    """One member's learning curve, an entry a validation (entry 0 is before the first update), in nats a step.

    train : pooled over the steps since the last entry, with the noise on, as it went by (nan for entry 0).
    valid, valid_per_sequence : noise off. best_epoch : of the entry with the lowest `valid`.
    seconds : this member's share of the population's computing time, so far.
    """

    learning_rate: float
    seed: int
    weight_noise: float = 0.0
    dropout: float = 0.0
    epoch: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    valid_per_sequence: list[float] = field(default_factory=list)
    best_epoch: int = 0
    shrunk: int = 0  # updates that shrank the parameters because the gradient was not finite
    stop_reason: str | None = None  # "patience", "max_epochs", "diverged", "halved" or "chosen"; None while running

    @property
    def best_valid(self) -> float:
        """The lowest validation NLL, of the parameters that are kept."""
        return self.valid[self.epoch.index(self.best_epoch)]

    @classmethod
    def of(cls, entry: dict) -> "History":
        """From what `dataclasses.asdict` made of one. Raises ValueError or TypeError where it is none."""
        history = cls(**entry)
        curves = [getattr(history, f.name) for f in fields(cls) if f.default_factory is list]
        if not all(isinstance(curve, list) and len(curve) == len(history.epoch) for curve in curves):
            raise ValueError("curves of different lengths")
        numbers = all(isinstance(y, int | float) for curve in curves for y in curve)
        if history.best_epoch not in history.epoch or not numbers:
            raise ValueError("curves that are not numbers, or that have no best entry")
        return history

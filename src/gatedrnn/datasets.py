"""Music and speech as named data sets with fixed splits, and what can be said of a set as a whole.

`load` makes a `Dataset` of what one of the `gatedrnn.sources` reads; it is checked then and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .files import DataError
from .rolls import check_roll
from .sources import source
from .waveforms import check_waveform


@dataclass(frozen=True)
class Dataset:
    """A named data set: three tuples of sequences, checked once, here. Raises DataError as `check_sequences`.

    Music: uint8 (T, 88), column i is MIDI pitch 21 + i, 1 where it sounds; `step_seconds` is how long a step lasts
    when it is played. Speech: float32 (n,) at 16 kHz, standardised by `mean` and `std` of the training set's samples
    (16-bit integers); a step is a hop of 10 samples.
    """

    name: str
    kind: str
    train: tuple[np.ndarray, ...]
    valid: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]
    step_seconds: float
    description: str
    source: str
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self):
        for part in (self.train, self.valid, self.test):
            check_sequences(part, self.kind)


def check_sequences(sequences: Sequence[np.ndarray], kind: str) -> None:
    """Raise DataError unless every sequence can be used: rolls (T >= 1, 88) of 0 and 1, speech (n >= 30,) finite.

    >>> check_sequences([np.zeros((3, 88))], "music")
    """
    if kind not in ("music", "recall", "speech"):
        raise DataError(f"There is no kind of data {kind!r}: use 'music', 'recall' or 'speech'.")
    for number, sequence in enumerate(sequences):
        try:
            (check_waveform if kind == "speech" else check_roll)(sequence)
        except ValueError as error:
            raise DataError(f"Sequence {number} (counted from 0) cannot be used. {error}") from error


def load(name: str, progress: bool = True) -> Dataset:
    """A data set by its name, fetched or made on first use (with a progress bar on a terminal), and checked.

    Splits: the four canonical music sets come with theirs; all others are split by `split_by_name` (chorales by piece,
    speech by utterance). Raises DataError where the data cannot be had or are not what they should be.

    >>> data = load("synthetic_speech")
    >>> len(data.train), data.train[0].shape
    (465, (500,))
    """
    one = source(name)
    parts, mean, std = one.read(progress), 0.0, 1.0
    if one.kind == "speech":
        samples = np.asarray(parts[0])
        mean, std = float(samples.mean(dtype=np.float64)), float(samples.std(dtype=np.float64))
        parts = [list(((np.asarray(part) - mean) / std).astype(np.float32)) for part in parts]
    train, valid, test = map(tuple, parts)
    return Dataset(name, one.kind, train, valid, test, one.step_seconds, one.description, one.origin, mean, std)


# --- what can be said of a set --------------------------------------------------------------------------------------
def duplicates(data: Dataset) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Sequences that stand in two parts: (part, index) of the later one and of the earlier, train before valid, test.

    >>> a, b = np.eye(88)[:2, None]
    >>> duplicates(Dataset("two", "music", (a, b), (), (b,), 0.5, "", ""))
    [(('test', 0), ('train', 1))]
    """
    first: dict[tuple, tuple[str, int]] = {}
    found = []
    for part in ("train", "valid", "test"):
        for index, sequence in enumerate(getattr(data, part)):
            home = first.setdefault((sequence.shape, sequence.tobytes()), (part, index))
            if home[0] != part:
                found.append(((part, index), home))
    return found


def unseen_notes(data: Dataset) -> dict[str, int]:
    """How many notes (steps of a pitch) of the validation and test set lie on pitches that never sound in training.

    >>> a, b = np.eye(88)[:2, None]
    >>> unseen_notes(Dataset("two", "music", (a,), (a,), (a, b), 0.5, "", ""))
    {'valid': 0, 'test': 1}
    """
    silent = ~np.concatenate(data.train).any(axis=0)
    return {part: int(sum(roll[:, silent].sum() for roll in getattr(data, part))) for part in ("valid", "test")}


def marginal_nll(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> dict[str, float]:
    """Negative log-likelihood (nats a step) of `test` under one Bernoulli a pitch, with the frequencies of `train`.

    No smoothing: a pitch that never sounds in `train` has probability 1e-7 rather than 0, so that a test note there
    costs 16 nats instead of infinitely many. ``pooled`` is total by total steps, ``per_sequence`` the mean over
    sequences of each one's mean.
    """
    p = np.clip(np.concatenate(train).mean(axis=0, dtype=np.float64), 1e-7, 1 - 1e-7)
    totals = np.array([(-np.log(p) * roll - np.log1p(-p) * (1 - roll)).sum() for roll in test])
    steps = np.array([len(roll) for roll in test])
    return {"pooled": float(totals.sum() / steps.sum()), "per_sequence": float((totals / steps).mean())}

"""Music and speech as named data sets with fixed splits; batches of them come from `batching`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatedrnn import preparation, sources
from gatedrnn.batching import (
    Batch,
    check_sequences,
    epoch_batches,
    evaluation_batches,
    make_batch,
    padding_fraction,
)
from gatedrnn.sources import DataError

__all__ = [
    "Batch",
    "DataError",
    "Dataset",
    "check_sequences",
    "epoch_batches",
    "evaluation_batches",
    "load",
    "make_batch",
    "marginal_nll",
    "names",
    "padding_fraction",
    "split_by_name",
]

SAMPLE_RATE = 16_000
"""Samples per second of every speech data set."""

_STEP_SECONDS = {"bach_chorales": 0.5, "jsb_chorales": 0.5}  # quarter notes at 120 a minute; eighths elsewhere


@dataclass(frozen=True)
class Dataset:
    """A named data set: three tuples of sequences.

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


def names() -> list[str]:
    """The names that `load` knows; the first needs no network."""
    return list(sources.REGISTRY)


def load(name: str, progress: bool = True) -> Dataset:
    """A data set by its name, fetched or parsed on first use (with a progress bar on a terminal), and checked.

    Splits: the four canonical music sets come with theirs; all others are split by `split_by_name` (chorales by piece,
    speech by utterance). Raises DataError where the data cannot be had or are not what they should be.
    """
    source = sources.lookup(name)
    path = sources.fetch(name, progress)
    mean, std = 0.0, 1.0
    if source.how == "download":
        parts = list(read_mat(path).values())
    elif source.kind == "music":
        parts = _read_chorales(path)
    else:
        parts, mean, std = _read_windows(source, path)
    for part in parts:
        check_sequences(part, source.kind)
    step = _STEP_SECONDS.get(name, 0.25) if source.kind == "music" else 10 / SAMPLE_RATE
    address = source.urls[0] if source.urls else "needs no network"
    origin = f"{address}; licence: {source.licence}"
    return Dataset(name, source.kind, *map(tuple, parts), step, source.origin, origin, mean, std)


def split_by_name(labels: Sequence[str]) -> np.ndarray:
    """The part of each label: 0 train (60 %), 1 valid (20 %), 2 test (20 %).

    Labels are ranked by the SHA-256 of their text: a shuffle that needs no seed, is the same everywhere, and moves few
    pieces to another part when some are added. Equal labels share a part.
    """
    ranked = sorted(set(labels), key=lambda label: hashlib.sha256(label.encode()).digest())
    part = {label: int(rank >= 0.6 * len(ranked)) + int(rank >= 0.8 * len(ranked)) for rank, label in enumerate(ranked)}
    return np.array([part[label] for label in labels])


def read_mat(path: Path) -> dict[str, list[np.ndarray]]:
    """The parts (train, valid, test) of a MATLAB 5 file of piano rolls, each a list of uint8 (T, 88), 0 or 1.

    Nothing but MATLAB's version 5 is opened, which holds arrays and no code. Raises DataError for any other file, a
    pickle among them, for one that is cut short, and for other contents.
    """
    from scipy.io import loadmat

    advice = "delete it and run `gatedrnn data fetch` for its data set again"
    with open(path, "rb") as stream:
        if not stream.read(19) == b"MATLAB 5.0 MAT-file":
            raise DataError(f"{path} is not a MATLAB 5 file (a pickle or another format is never opened): {advice}.")
    try:
        stored = loadmat(path)
        parts = {key: list(np.ravel(stored[key])) for key in ("traindata", "validdata", "testdata")}
    except Exception as error:  # the reader raises many kinds on damaged bytes: whichever it is, the file is no use
        raise DataError(f"{path} is cut short, damaged or holds no piano rolls: {advice}.") from error
    for part in parts.values():
        if not all(isinstance(roll, np.ndarray) and roll.dtype != object for roll in part):
            raise DataError(f"{path} holds something else than piano rolls: {advice}.")
        check_sequences(part, "music")
    return {key: [roll.astype(np.uint8) for roll in part] for key, part in parts.items()}


def _read_chorales(path: Path) -> list[list[np.ndarray]]:
    stored = sources.read_npz(path)
    try:
        rolls = np.split(stored["frames"], np.cumsum(stored["lengths"])[:-1])
        labels = stored["names"].tolist()
    except KeyError as error:
        raise DataError(f"{path} holds no chorales: delete it and run `gatedrnn data fetch bach_chorales`.") from error
    return [[rolls[i] for i in np.flatnonzero(split_by_name(labels) == part)] for part in range(3)]


def _read_windows(source: sources.Source, path: Path) -> tuple[list[np.ndarray], float, float]:
    stored = preparation.synthetic_speech(path) if source.how == "packaged" else sources.read_npz(path)
    windows = stored["windows"]
    part = split_by_name(stored["utterances"].tolist())[stored["utterance"]]  # by utterance, never by window
    mean, std = windows[part == 0].mean(dtype=np.float64), windows[part == 0].std(dtype=np.float64)
    scaled = ((windows - mean) / std).astype(np.float32)
    return [scaled[part == number] for number in range(3)], float(mean), float(std)


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

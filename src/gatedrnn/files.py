"""Files on this machine: one cache directory, writes and downloads that leave no halves, .npz without pickles.

Data are looked for in `GATEDRNN_DATA`, where that variable is set, and then in the platform's cache directory of this
user. They are written to the first of the two that can be written to, so a read-only `GATEDRNN_DATA` still serves what
it has. Layout of either directory: ``music/JSB_Chorales.mat``, ``speech/speech_a.npz``, ``speech/raw/*.wav``, ...

The lowest room but `extras`: it imports nothing else of the package.
"""

import hashlib
import os
import platform
import re
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from platformdirs import user_cache_path
from tqdm import tqdm

from .extras import Extra

DAY = 86_400  # seconds


class DataError(ValueError):
    """Data that cannot be had or cannot be used; the message is one sentence that says what to do."""


def cache_dir() -> Path:
    """The cache directory: `GATEDRNN_DATA` where that is set, otherwise the platform's cache directory of this user."""
    return directories()[0]


def directories() -> list[Path]:
    """Where files are looked for, in this order. DataError where `GATEDRNN_DATA` names no directory."""
    own = os.environ.get("GATEDRNN_DATA")
    try:
        first = [Path(own).expanduser()] if own else []
    except RuntimeError as error:  # ~somebody, whom this machine does not know
        raise DataError(f"GATEDRNN_DATA is {own}, and there is no such user: set it to a directory.") from error
    return [*first, user_cache_path("gatedrnn", appauthor=False)]


def find(file: str) -> Path | None:
    """The path of `file` (relative to a cache directory) where it is present, else None."""
    return next((path for path in (base / file for base in directories()) if path.is_file()), None)


def target(file: str) -> Path:
    """Where `file` is to be written; its folder is made. DataError where no cache directory can be written to."""
    for base in directories():
        folder = (base / file).parent
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        # root may write to anything: a directory without any write bit was marked read-only on purpose
        if existing.is_dir() and existing.stat().st_mode & 0o222 and os.access(existing, os.W_OK):
            folder.mkdir(parents=True, exist_ok=True)
            return base / file
    tried = " or ".join(map(str, directories()))
    raise DataError(f"Cannot write {file} to {tried}: set GATEDRNN_DATA to a directory that you can write to.")


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file while the block runs; False where another holds it, unless told to wait. It is removed after."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, blocking=wait)
    with suppress(Timeout):
        lock.acquire()
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows does not remove an open file
                path.unlink()
            lock.release()


# --- writing --------------------------------------------------------------------------------------------------------
@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """An open temporary file beside `path` that takes its place when the block ends well, and goes away otherwise.

    Those of processes that were killed are swept. DataError where nothing can be written there.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "a.bin"
    >>> with atomic(path) as stream:
    ...     _ = stream.write(b"whole")
    >>> path.read_bytes()
    b'whole'
    """
    if not path.parent.is_dir():
        raise DataError(f"Cannot write {path}: the folder {path.parent} does not exist, so make it first.")
    if path.is_dir():
        raise DataError(f"Cannot write {path}: it is a folder, so name a file.")
    for part in path.parent.glob(".*.part"):
        if _is_left_over(part):
            part.unlink(missing_ok=True)
    part = path.with_name(f".{path.name}.{threading.get_ident()}.{os.getpid()}@{platform.node()}.part")
    try:
        with open(part, "wb") as stream:
            yield stream
        os.replace(part, path)
    except OSError as error:
        raise DataError(
            f"Cannot write {path} ({error.strerror or error}): make room, or choose another place."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _is_left_over(part: Path) -> bool:
    """Whether nobody writes to a temporary file of `atomic` any more: its process is gone, or it is a day old."""
    owner = re.fullmatch(r"\..+\.(\d+)@(.*)\.part", part.name)
    if owner is None:
        return False
    try:
        if os.name == "posix" and owner[2] == platform.node():
            os.kill(int(owner[1]), 0)  # sends nothing, and fails where there is no such process
        return time.time() - part.stat().st_mtime > DAY
    except (ProcessLookupError, FileNotFoundError):
        return True
    except OSError:  # a process of somebody else
        return False


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files, all of them or none. DataError where one cannot be written."""
    with ExitStack() as stack:
        for path, content in contents.items():
            stream = stack.enter_context(atomic(path))
            stream.write(content)
            stream.flush()  # a full disk is met here, before any file takes its place


# --- reading --------------------------------------------------------------------------------------------------------
def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays, with names, types and shapes: the same on every system, however a file packs them."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()


def read_npz(path: Path, limit: int | None = None) -> dict[str, np.ndarray]:
    """All arrays of a .npz file; pickles and arrays of objects are refused with DataError and never loaded.

    So is a file that unpacks to more than `limit` bytes, or, without a limit, to more than a hundred times its size.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
        if size <= (100 * path.stat().st_size if limit is None else limit):
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
    except Exception as error:  # the readers of zip and npy raise many kinds: whichever it is, the file is no use
        raise DataError(
            f"{path} is not a .npz file of plain arrays (damaged, or a pickle, which is never opened): delete it, "
            f"and it is fetched or made anew."
        ) from error
    raise DataError(f"{path} unpacks to {size:,} bytes, far more than expected: delete it.")


# --- downloading ----------------------------------------------------------------------------------------------------
class _Refused(Exception):
    """What a mirror sends is not the file; says why."""


def _chunks(url: str, checksum: str, size: int) -> Iterator[bytes]:
    """What a mirror sends, as long as it can be the file."""
    with Extra("data"):
        import requests  # half a second that whoever has the data need not spend

    found, left = hashlib.sha256(), size
    try:
        with requests.get(url, stream=True, timeout=20) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_content(65_536):
                left -= len(chunk)
                if left < 0:
                    raise _Refused("more bytes than expected")
                found.update(chunk)
                yield chunk
    except requests.RequestException as error:  # an OSError, but none of writing
        code = getattr(error.response, "status_code", None)
        raise _Refused("no connection" if code is None else f"answer {code}") from error
    if found.hexdigest() != checksum:
        raise _Refused("wrong checksum")


def download(name: str, file: str, checksum: str, size: int, urls: Sequence[str], progress: bool = True) -> Path:
    """Fetch `file` from the first of `urls` that has it with the right checksum, and keep it in the cache directory.

    `size` in bytes; `name` is that of the data set, for what an error says. Raises DataError where no mirror has it: no
    network, an error of the server, other bytes than expected or more of them (it stops at the expected size).
    """
    path, failures = target(file), []
    for url in urls:
        bar = tqdm(desc=path.name, total=size, unit="B", unit_scale=True, leave=False, disable=not progress or None)
        try:
            with bar, atomic(path) as stream:
                for chunk in _chunks(url, checksum, size):
                    stream.write(chunk)
                    bar.update(len(chunk))
            return path
        except _Refused as reason:
            failures.append(f"{'/'.join(url.split('/')[2:4])}: {reason}")
    raise DataError(
        f"Could not download {file} ({'; '.join(failures)}): run `gatedrnn data fetch {name}` once there is a network, "
        f"or set GATEDRNN_DATA to a directory that holds the data."
    )

"""Build the book: `_build/html/index.html`, every chapter executed live.

jupyter-cache looks at a notebook alone, so this script adds what the chapters stand on: when the package, the records
of finished runs or the pinned versions change, everything is executed again; when the configuration of the book
changes, every page is written again.

A build can be ended at any moment, and its files can be damaged. Whatever cannot be trusted is made anew: the pages
when the last build did not finish or one of its files is gone, the executed chapters when their cache cannot be read.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import nbformat
from chapters import ROOT, execute_all
from check_book import check, pages_of
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

BUILD = ROOT / "_build"
HTML = BUILD / "html"
PAGES = (HTML, BUILD / ".doctrees", BUILD / "jupyter_execute")  # what Sphinx writes
CACHE = BUILD / ".jupyter_cache"
STAMP = BUILD / ".made-from.json"
LOCK = BUILD / ".lock"
PROGRAMS = Path(sys.executable).parent


def digest(paths: Iterable[Path]) -> str:
    """One hash over the names and the contents of files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def files(*patterns: str) -> list[Path]:
    """Files under the repository's root that match any pattern, caches of the interpreter left out."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def sources() -> dict[str, str]:
    """Hashes of what the book is made from."""
    return {
        "execution": sys.version + digest(files("src/gatedrnn/**/*", "book/results/**/*", "constraints.txt")),
        "pages": digest(files("_config.yml", "_toc.yml", "CITATION.cff", "book/_*/*", "scripts/*.py")),
        "text": digest(files("index.md", "book/*", "notebooks/*.ipynb")),
    }


def written() -> str:
    """A hash over the names and the sizes of all files that the last build wrote."""
    found = [path for folder in PAGES for path in folder.rglob("*") if path.is_file()]
    listing = sorted(f"{path.relative_to(BUILD)} {path.stat().st_size}" for path in found)
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def read_stamp() -> dict[str, str] | None:
    """What the last build was made from, {} where there was none; None where the note on it cannot be trusted."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf8"))
    except FileNotFoundError:
        return None if HTML.exists() or CACHE.exists() else {}
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and {"execution", "pages", "text"} <= stamp.keys() else None


def write_stamp(stamp: dict[str, str]) -> None:
    """Keep the note on this build; it is never half there."""
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps(stamp), encoding="utf8")
    os.replace(part, STAMP)


def readable(folder: Path) -> bool:
    """Whether the cache of executed chapters holds what its database says, every notebook whole."""
    try:
        with closing(sqlite3.connect(folder / "global.db")) as database:
            if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return False
        cache = get_cache(folder)
        bundles = [cache.get_cache_bundle(record.pk) for record in cache.list_cache_records()]
        return all(cache.create_hashed_notebook(bundle.nb)[1] == bundle.record.hashkey for bundle in bundles)
    except Exception:  # the readers of databases and notebooks raise many kinds: whichever it is, the cache is no use
        return False


def doubt(now: dict[str, str], before: dict[str, str] | None) -> tuple[str, list[Path]]:
    """Why the last build cannot be built upon, and the folders to make anew. Sphinx itself sees changes in the text."""
    pages, everything = [*PAGES], [*PAGES, CACHE]
    if before == {}:
        return "this is the first build", everything
    if before is None:
        return "the note on the last build is missing or damaged", everything
    if now["execution"] != before["execution"]:
        return "the package, the records or the versions have changed", everything
    if CACHE.exists() and not readable(CACHE):
        return "the cache of executed chapters is damaged", everything
    if "written" not in before:
        return "the last build did not finish", pages
    if now["pages"] != before["pages"]:
        return "the configuration of the book has changed", pages
    if written() != before["written"]:
        return "files of the built book are missing or changed", pages
    return "", []


def execute_changed_chapters() -> bool:
    """Execute each chapter that the cache does not hold yet; true if none failed."""
    pages = [ROOT / f"{name}.ipynb" for name in pages_of(ROOT / "_toc.yml")]
    cache = get_cache(CACHE)

    def cached(path: Path) -> bool:
        try:
            cache.match_cache_notebook(nbformat.read(path, as_version=4))
        except KeyError:
            return False
        return True

    def keep(path: Path, notebook: nbformat.NotebookNode, seconds: float) -> None:
        bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)

    changed = [path for path in reversed(pages) if path.is_file() and not cached(path)]  # the last ones take longest
    return execute_all(changed, keep) if changed else True


def fetch_data() -> bool:
    """Prepare the data set of the live cells; true if it is there."""
    return subprocess.run([PROGRAMS / "gatedrnn", "data", "fetch", "bach_chorales"]).returncode == 0


def write_pages(lock: int) -> bool:
    """Run Sphinx; true if it had nothing to warn of."""
    command = [PROGRAMS / "jupyter-book", "build", ".", "-W", "-n", "--keep-going", "-q"]
    return subprocess.run(command, cwd=ROOT, pass_fds=(lock,)).returncode == 0


def build(lock: int) -> bool:
    """Prepare the data, execute, write the pages, check them; true if all went well."""
    if not (fetch_data() and execute_changed_chapters()):
        return False
    if not write_pages(lock):
        print("the build failed: every warning above counts as an error", file=sys.stderr)
        return False
    problems = check(HTML, ROOT / "_toc.yml")
    print("\n".join(problems), file=sys.stderr)
    return not problems


@contextmanager
def alone() -> Iterator[int]:
    """Hold the build folder's lock. Sphinx inherits it, so one that outlives a killed build is waited for."""
    with open(LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another build is still at work: waiting for its end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def main() -> int:
    """Build the book, unless it stands already."""
    BUILD.mkdir(exist_ok=True)
    with alone() as lock:
        now, before = sources(), read_stamp()
        reason, folders = doubt(now, before)
        if reason or before != now | {"written": written()}:
            if any(folder.exists() for folder in folders):
                what = "executing all chapters again" if CACHE in folders else "writing all pages again"
                print(f"{reason}: {what}", flush=True)
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            write_stamp(now)  # without "written" until all is: a build that is ended here is not trusted
            if not build(lock):
                return 1
            write_stamp(now | {"written": written()})
    print(f"the book is at {HTML / 'index.html'}")
    return 0


def stop(number: int, frame: object) -> None:
    """End like an interrupted program, so that what this one started ends with it."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores a hang-up, and that stays so
            signal.signal(number, stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted: the next `make book` goes on with the chapters that are done")

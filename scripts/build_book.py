"""Build the book: `_build/html/index.html`, every chapter executed live.

jupyter-cache looks at a notebook alone, so this script adds what the chapters stand on: when the package, the records
of finished runs or the pinned versions change, everything is executed again; when the configuration of the book
changes, every page is written again.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
import yaml
from chapters import ROOT, execute_all
from check_book import check
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

BUILD = ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
PROGRAMS = Path(sys.executable).parent
STAMP = BUILD / ".made-from.json"


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
        "pages": digest(files("_config.yml", "_toc.yml", "book/_ext/*", "book/_static/*", "scripts/*.py")),
        "text": digest(files("index.md", "book/*", "notebooks/*.ipynb")),
    }


def forget_what_changed(now: dict[str, str], before: dict[str, str]) -> None:
    """Delete what was made from older sources. Sphinx itself sees changes in the text."""
    stale = []
    if now["execution"] != before.get("execution"):
        stale.append(CACHE)
    if stale or now["pages"] != before.get("pages"):
        stale += [BUILD / "html", BUILD / ".doctrees"]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)


def execute_changed_chapters() -> bool:
    """Execute each chapter that the cache does not hold yet; true if none failed."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    pages = [ROOT / f"{chapter['file']}.ipynb" for part in toc["parts"] for chapter in part["chapters"]]
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


def build() -> bool:
    """Prepare the data, execute, write the pages, check them; true if all went well."""
    if subprocess.run([PROGRAMS / "gatedrnn", "data", "fetch", "bach_chorales"]).returncode:
        return False
    if not execute_changed_chapters():
        return False
    command = [PROGRAMS / "jupyter-book", "build", ".", "-W", "-n", "--keep-going", "-q"]
    if subprocess.run(command, cwd=ROOT).returncode:
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)  # or the next run would not repeat the warnings
        print("the build failed: every warning above counts as an error", file=sys.stderr)
        return False
    problems = check(BUILD / "html", ROOT / "_toc.yml")
    print("\n".join(problems), file=sys.stderr)
    return not problems


def main() -> int:
    """Build the book, unless it stands already."""
    BUILD.mkdir(exist_ok=True)
    page = BUILD / "html" / "index.html"
    now, before = sources(), json.loads(STAMP.read_text()) if STAMP.is_file() else {}
    if before != now | {"complete": True} or not page.is_file():
        forget_what_changed(now, before)
        STAMP.write_text(json.dumps(now))
        if not build():
            return 1
        STAMP.write_text(json.dumps(now | {"complete": True}))
    print(f"the book is at {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

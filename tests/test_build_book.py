"""A build that was ended and files that were damaged lead to a sound book the next time, and to one line about it."""

import fcntl
import importlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from nbformat import v4, write

TOC = "format: jb-book\nroot: index\nparts:\n  - caption: Part\n    chapters:\n      - file: notebooks/one\n"
CONFIG = "title: Tiny\nonly_build_toc_files: true\nexecute: {execute_notebooks: cache}\n"
SCRIPTS = ("build_book", "chapters", "check_book")


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> Path:
    """A project with one page and one notebook, and the scripts that build it."""
    for folder in ("scripts", "notebooks", "src/gatedrnn", "book"):
        (tmp_path / folder).mkdir(parents=True)
    for name in SCRIPTS:
        shutil.copy(root / "scripts" / f"{name}.py", tmp_path / "scripts")
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "_config.yml").write_text(
        "title: Tiny\nonly_build_toc_files: true\nexecute: {execute_notebooks: cache}\n"
    )
    (tmp_path / "index.md").write_text("# Tiny\n")
    (tmp_path / "constraints.txt").write_text("nothing==1\n")
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [v4.new_markdown_cell("# One"), v4.new_code_cell("print(1 + 1)")]
    write(v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "one.ipynb")
    return tmp_path


@pytest.fixture
def book(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """That project with stand-ins for Sphinx and the kernels: what they were asked for is noted in `done`."""
    monkeypatch.syspath_prepend(tree / "scripts")
    for name in SCRIPTS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    script, done = importlib.import_module("build_book"), []

    def execute_all(paths, keep) -> bool:
        for path in paths:
            done.append(path.stem)
            keep(path, script.nbformat.read(path, as_version=4), 0.1)
        return True

    def write_pages(lock: int) -> bool:
        done.append("pages")
        for name in ("index", "notebooks/one"):
            page = script.HTML / f"{name}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(f"<article><h1>{name}</h1></article>")
        script.PAGES[1].mkdir(exist_ok=True)
        (script.PAGES[1] / "environment.pickle").write_text("what Sphinx knows")
        return True

    monkeypatch.setattr(script, "execute_all", execute_all)
    monkeypatch.setattr(script, "write_pages", write_pages)
    monkeypatch.setattr(script, "fetch_data", lambda: True)
    yield SimpleNamespace(script=script, done=done, html=script.HTML, tree=tree, write_pages=write_pages)
    for name in SCRIPTS:
        sys.modules.pop(name, None)


@pytest.fixture
def built(book: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> SimpleNamespace:
    """The same, built once."""
    assert book.script.main() == 0
    assert book.done == ["one", "pages"]
    assert capsys.readouterr().out.startswith("the book is at ")
    book.done.clear()
    return book


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What a build printed before its last line, which names the book."""
    *lines, last = capsys.readouterr().out.splitlines()
    assert last.startswith("the book is at ")
    assert len(lines) <= 1, "one line, not more"
    return "".join(lines)


def test_a_book_that_stands_is_left_alone(built, capsys):
    assert built.script.main() == 0
    assert built.done == [] and said(capsys) == ""


@pytest.mark.parametrize(
    ("file", "work", "why"),
    [
        ("constraints.txt", ["one", "pages"], "the versions have changed"),
        ("src/gatedrnn/new.py", ["one", "pages"], "the package"),
        ("_config.yml", ["pages"], "the configuration of the book has changed"),
        ("index.md", ["pages"], ""),
    ],
)
def test_what_changed_is_made_again(built, capsys, file: str, work: list[str], why: str):
    with open(built.tree / file, "a") as stream:
        stream.write("\n# more\n")
    assert built.script.main() == 0
    assert built.done == work and why in said(capsys)


@pytest.mark.parametrize(
    "stamp", [b"", b'{"execution": "3.1', b"once", b"null", b"[]", b"{}", b'"x"', b"\xff\xfe", None]
)
def test_a_damaged_note_on_the_last_build(built, capsys, stamp: bytes | None):
    (built.html / "half.html").write_text("<a href=nowhere.html>")
    built.script.STAMP.unlink() if stamp is None else built.script.STAMP.write_bytes(stamp)
    assert built.script.main() == 0
    assert built.done == ["one", "pages"] and not (built.html / "half.html").exists()
    assert said(capsys) == "the note on the last build is missing or damaged: executing all chapters again"


def database(cache: Path) -> Path:
    return cache / "global.db"


def notebook(cache: Path) -> Path:
    (path,) = cache.rglob("*.ipynb")
    return path


DAMAGE = {
    "cut database": lambda cache: os.truncate(database(cache), database(cache).stat().st_size // 2),
    "cut to its first page": lambda cache: os.truncate(database(cache), 100),
    "empty database": lambda cache: os.truncate(database(cache), 0),
    "no database": lambda cache: database(cache).unlink(),
    "foreign database": lambda cache: database(cache).write_text("not a database"),
    "no notebook": lambda cache: notebook(cache).unlink(),
    "empty notebook": lambda cache: os.truncate(notebook(cache), 0),
    "cut notebook": lambda cache: os.truncate(notebook(cache), 50),
    "null notebook": lambda cache: notebook(cache).write_text("null"),
    "another notebook": lambda cache: write(v4.new_notebook(), notebook(cache)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_of_chapters(built, capsys, damage):
    damage(built.script.CACHE)
    assert built.script.main() == 0
    assert built.done == ["one", "pages"]
    assert said(capsys) == "the cache of executed chapters is damaged: executing all chapters again"
    assert built.script.readable(built.script.CACHE)


def test_no_cache_at_all(built):
    shutil.rmtree(built.script.CACHE)
    with open(built.tree / "index.md", "a") as stream:
        stream.write("\nMore.\n")
    assert built.script.main() == 0
    assert built.done == ["one", "pages"]


@pytest.mark.parametrize("page", ["index.html", "notebooks/one.html"])
@pytest.mark.parametrize("change", [Path.unlink, lambda path: os.truncate(path, 9)], ids=["deleted", "cut"])
def test_a_page_that_is_not_as_it_was_written(built, capsys, page: str, change):
    change(built.html / page)
    assert built.script.main() == 0
    assert built.done == ["pages"]
    assert said(capsys) == "files of the built book are missing or changed: writing all pages again"


@pytest.mark.parametrize("end", [KeyboardInterrupt, "warnings"])
def test_a_build_that_ended_while_pages_were_written(built, capsys, monkeypatch, end):
    def half(lock: int) -> bool:
        (built.html / "searchindex.js").write_text("Search.setIndex(")
        if end is KeyboardInterrupt:
            raise end
        return False

    with open(built.tree / "index.md", "a") as stream:
        stream.write("\nMore.\n")
    with monkeypatch.context() as patch:
        patch.setattr(built.script, "write_pages", half)
        if end is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                built.script.main()
        else:
            assert built.script.main() == 1
    capsys.readouterr()
    assert built.script.main() == 0
    assert built.done == ["pages"] and not (built.html / "searchindex.js").exists()
    assert said(capsys) == "the last build did not finish: writing all pages again"


def test_two_builds_take_turns(built, capsys):
    with open(built.script.LOCK, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        later = threading.Timer(0.2, fcntl.flock, (other, fcntl.LOCK_UN))
        later.start()
        assert built.script.main() == 0
        later.join()
    assert said(capsys) == "another build is still at work: waiting for its end"


@pytest.mark.slow
def test_a_hang_up_that_nohup_ignores_is_ignored(tree: Path):
    (tree / "_build").mkdir()
    command = f"trap '' HUP; exec {shlex.quote(sys.executable)} scripts/build_book.py"
    with open(tree / "_build" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that it waits
        build = subprocess.Popen(["sh", "-c", command], cwd=tree, stdout=subprocess.PIPE, text=True)
        with build:
            assert "waiting" in build.stdout.readline()
            build.send_signal(signal.SIGHUP)
            with pytest.raises(subprocess.TimeoutExpired):
                build.wait(3)
            build.kill()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_sphinx_itself_ended_midway(tree: Path, number: signal.Signals):
    command = [sys.executable, "scripts/build_book.py"]
    first = subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while first.poll() is None and not (tree / "_build" / "html").exists():
        time.sleep(0.01)
    first.send_signal(number)
    output = first.communicate()[0]
    assert first.returncode not in (0, None), output
    assert "written" not in json.loads((tree / "_build" / ".made-from.json").read_text())
    assert "Traceback" not in output
    second = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "the last build did not finish: writing all pages again" in second.stdout
    assert "executing" not in second.stdout
    third = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert third.returncode == 0 and third.stdout.splitlines()[:-1] == []

"""The comparison of stored and fresh outputs: strict about words and whole numbers, tolerant of rounding, no more."""

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from nbformat import v4


@pytest.fixture(scope="module")
def comparison(load_script):
    """The module `notebooks/conftest.py`."""
    return load_script("notebooks/conftest.py")


SOUND = '<audio src="data:audio/ogg;base64,{}"></audio> 31.0 s'
PANEL = '<div class="panel" data-panel="{}" id="{}" role="group">{}</div>'
AGREE = [
    (PANEL.format("slider", "reach", "[0.1]"), PANEL.format("slider", "reach", "[2, 3]")),
    ("", ""),
    ("loss 8.51234 nats", "loss 8.51235 nats"),
    ("0.0000001", "-0.0000002"),
    ("[ 0.25 -1.5e-03]", "[0.25 -0.0015]"),
    ("<td>   9.99999</td>", "<td>10.00001</td>"),
    ("-0.0", "0.0"),
    (SOUND.format("AAAA+/=="), SOUND.format("BBBBBBBB")),
]
DIFFER = [
    (PANEL.format("slider", "reach", ""), PANEL.format("slider", "recall", "")),
    (PANEL.format("slider", "reach", ""), PANEL.format("listen", "reach", "")),
    (PANEL.format("slider", "reach", ""), "0.1"),
    ("", "x"),
    ("loss 8.51234 nats", "loss 8.51234 bits"),
    ("loss 8.512", "loss 8.514"),
    ("0.5", "-0.5"),
    ("0.00001", "0.00002"),
    ("epoch 3", "epoch 4"),
    ("100000 steps.", "100001 steps."),
    ("3", "3.0"),
    ("1.5", "nan"),
    ("[0.1 0.2]", "[0.1 0.2 0.3]"),
    ("x1 = 2.0", "x2 = 2.0"),
    ("one two", "onetwo"),
    (SOUND.format("AAAA"), SOUND.replace("31.0", "30.0").format("AAAA")),
]


@pytest.mark.parametrize(("stored", "fresh"), AGREE)
def test_agree(comparison, stored: str, fresh: str):
    assert comparison.Output(stored) == fresh
    assert comparison.Output(fresh) == stored


@pytest.mark.parametrize(("stored", "fresh"), DIFFER)
def test_differ(comparison, stored: str, fresh: str):
    assert comparison.Output(stored) != fresh
    assert comparison.Output(fresh) != stored


def printed(text: str) -> nbformat.NotebookNode:
    return v4.new_output("stream", name="stdout", text=text)


def shown(**data: str) -> nbformat.NotebookNode:
    return v4.new_output("display_data", data={kind.replace("_", "/"): value for kind, value in data.items()})


CELLS = {  # name: (source, stored outputs, whether nbval must accept it)
    "same": ("print('h', 1 / 3)", [printed("h 0.3333333333333333\n")], True),
    "within": ("print('h', 1 / 3)", [printed("h 0.33333\n")], True),
    "beyond": ("print('h', 1 / 3)", [printed("h 0.3334\n")], False),
    "word": ("print('h', 1 / 3)", [printed("c 0.3333333333333333\n")], False),
    "whole number": ("print(42)", [printed("43\n")], False),
    "missing": ("print(42)", [], False),
    "extra": ("pass", [printed("42\n")], False),
    "stderr": ("import sys\nprint('careful', file=sys.stderr)", [], False),
    "plain text": ("0.25", [v4.new_output("execute_result", {"text/plain": "0.26"}, execution_count=1)], False),
    "html within": (
        "from IPython.display import HTML, display\ndisplay(HTML('<b>0.25</b>'))",
        [shown(text_plain="<IPython.core.display.HTML object>", text_html="<b>0.250001</b>")],
        True,
    ),
    "html beyond": (
        "display(HTML('<b>0.25</b>'))",
        [shown(text_plain="<IPython.core.display.HTML object>", text_html="<b>0.26</b>")],
        False,
    ),
    "picture": (
        "display({'image/png': 'AAAA', 'text/plain': 'a figure'}, raw=True)",
        [shown(text_plain="a figure", image_png="BBBB")],
        True,
    ),
    "error": ("1 / 0", [], False),
}


def test_nbval_uses_it(tmp_path: Path, root: Path):
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell(source, outputs=stored, execution_count=1) for source, stored, _ in CELLS.values()]
    )
    nbformat.write(notebook, tmp_path / "cells.ipynb")
    shutil.copy(root / "notebooks" / "conftest.py", tmp_path)
    options = ["--nbval", "--nbval-current-env", "--junitxml=report.xml", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    cases = ElementTree.parse(tmp_path / "report.xml").iter("testcase")
    accepted = [case.find("failure") is None and case.find("error") is None for case in cases]
    assert dict(zip(CELLS, accepted, strict=True)) == {name: expected for name, (*_, expected) in CELLS.items()}

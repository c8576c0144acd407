"""The public face: every name is where it says, is documented, and its examples run; nothing is imported too early."""

import ast
import doctest
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gatedrnn

DOCTESTED = ("checks", "units", "cells", "layers", "model", "network", "evaluation", "diagnostics")


def test_importing_the_package_imports_neither_torch_nor_numpy():
    heavy = ("torch", "numpy", "pandas")
    code = f"import sys, gatedrnn; print(gatedrnn.__version__, *(m for m in {heavy} if m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert found == [gatedrnn.__version__]


@pytest.mark.parametrize("name", sorted(set(gatedrnn.__all__) - {"__version__"}))
def test_every_public_name_is_its_modules_own_and_says_what_it_is(name):
    (home,) = (module for module, names in gatedrnn.HOMES.items() if name in names)
    found = getattr(gatedrnn, name)
    assert found is getattr(importlib.import_module(f"gatedrnn.{home}"), name)
    assert name in dir(gatedrnn)
    if name != "UNITS":
        assert found.__module__ == f"gatedrnn.{home}" and inspect.getdoc(found)


def test_type_checkers_are_told_of_the_same_names():
    tree = ast.parse(Path(gatedrnn.__file__).with_suffix(".pyi").read_text(encoding="utf8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    told = {(node.module, alias.asname) for node in imports for alias in node.names}
    assert told == {(module, name) for module, names in gatedrnn.HOMES.items() for name in names}


def imported(path: Path) -> set[str]:
    """The rooms of the package that a module imports anywhere in it; a package inside is one room."""
    own = path.relative_to(Path(gatedrnn.__file__).parent).parts
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))) if isinstance(node, ast.ImportFrom)]
    names = [
        node.module.split(".")[:1] if node.module else [alias.name for alias in node.names]
        for node in nodes
        if node.level == len(own)
    ]
    return {name for several in names for name in several}


def test_imports_follow_the_plan_and_make_no_circle(root: Path):
    package = Path(gatedrnn.__file__).parent
    plan = (root / "CONTRIBUTING.md").read_text(encoding="utf8").split("| rooms |")[1].split("\n\n")[0]
    floors = {room: k for k, row in enumerate(plan.splitlines()) for room in re.findall(r"`(\w+)`", row.split("|")[1])}
    rooms: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room != "__init__":
            rooms[room] = rooms.get(room, set()) | imported(path)
    assert floors.keys() == rooms.keys(), "CONTRIBUTING.md names the rooms of the package, each in one row"
    upwards = [(room, other) for room, others in rooms.items() for other in others if floors[other] < floors[room]]
    assert not upwards
    graphlib.TopologicalSorter(rooms).prepare()  # raises CycleError


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'gatedrnn' has no attribute 'Elman'"):
        gatedrnn.Elman  # noqa: B018


@pytest.mark.parametrize("module", DOCTESTED)
def test_examples_run(module):
    found = doctest.testmod(importlib.import_module(f"gatedrnn.{module}"))
    assert found.attempted > 0 and found.failed == 0


def test_the_page_of_the_package_has_every_public_name_with_its_parameters(load_script):
    api = load_script("book/_ext/api.py")
    sections = {section.children[0].astext(): section.astext() for section in api.sections()}
    assert {*sections, "__version__"} == set(gatedrnn.__all__)
    assert "GRUCell(input_size, hidden_size, *, reset='before', **kwargs)" in sections["GRUCell"]
    assert "run(x, state=None)" in sections["GRUCell"] and "load(path)" in sections["Network"]
    assert ">>> h.shape, last.shape" in sections["TanhRNN"] and "extra_repr" not in sections["TanhRNN"]

"""The core does without the optional libraries, and one that is missing is reported in one sentence with its extra."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gatedrnn.extras import Extra

CORE = {
    "batching",
    "cells",
    "cli",
    "evaluation",
    "extras",
    "files",
    "layers",
    "model",
    "recurrence",
    "training",
    "units",
}


def test_what_is_there_is_imported():
    with Extra("data"):
        import json
    assert json.loads("1") == 1


def test_a_missing_library_is_named_with_its_extra():
    sentence = r"^nowhere is not installed: pip install 'gatedrnn\[data\]' brings it\.$"
    with pytest.raises(ModuleNotFoundError, match=sentence), Extra("data"):
        import nowhere.inside  # noqa: F401


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), Extra("data"):
        1 / 0  # noqa: B018


@pytest.fixture(scope="module")
def libraries(root: Path) -> dict[str, set[str]]:
    """The libraries that each extra of the package brings, those of the extras that it takes in included."""
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))["project"]["optional-dependencies"]

    def brought(extra: str) -> set[str]:
        lines = [Requirement(line) for line in extras[extra]]
        taken_in = [brought(name) for line in lines if line.name == "gatedrnn" for name in line.extras]
        return {line.name for line in lines if line.name != "gatedrnn"}.union(*taken_in)

    return {extra: brought(extra) for extra in extras}


def optional_imports(node: ast.AST, optional: set[str], guard: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Imports of optional libraries, each with the extra that the `with` around it names."""
    if isinstance(node, ast.With):
        call = node.items[0].context_expr
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Extra":
            guard = ast.literal_eval(call.args[0])
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [node.module or ""]
    yield from ((name.partition(".")[0], guard) for name in names if name.partition(".")[0] in optional)
    if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from optional_imports(child, optional, guard)


def test_every_optional_import_names_the_extra_that_brings_it(root: Path, libraries: dict[str, set[str]]):
    optional = set().union(*libraries.values())
    wrong = []
    for path in sorted((root / "src").rglob("*.py")):
        for library, extra in optional_imports(ast.parse(path.read_text(encoding="utf8")), optional):
            if extra is None or library not in libraries[extra]:
                wrong.append(f"{path.name} imports {library} under {extra}")
    assert not wrong


WITHOUT = """
import importlib, pkgutil, sys
import gatedrnn
sys.modules.update(dict.fromkeys({optional!r}))
for module in pkgutil.iter_modules(gatedrnn.__path__):
    try:
        importlib.import_module("gatedrnn." + module.name)
    except ModuleNotFoundError as error:
        assert "pip install 'gatedrnn[" in str(error), (module.name, str(error))
    else:
        print(module.name)
"""


@pytest.mark.slow
def test_the_core_does_without_them(libraries: dict[str, set[str]]):
    script = WITHOUT.format(optional=set().union(*libraries.values()))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) >= CORE

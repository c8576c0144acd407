"""What is installed: pyproject.toml, constraints.txt and environment.yml agree, and a missing extra names itself."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    """The [project] table."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))["project"]


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, Requirement]:
    """The constraints, by canonical name."""
    lines = (root / "constraints.txt").read_text(encoding="utf8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    by_name = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    assert len(by_name) == len(requirements), "a package is pinned twice"
    return by_name


def needs(project: dict, *extras: str) -> Iterator[Requirement]:
    """What the package needs with some extras, those that an extra takes in included."""
    optional = project["optional-dependencies"]
    for line in [*project["dependencies"], *(line for extra in extras for line in optional[extra])]:
        requirement = Requirement(line)
        if requirement.name == project["name"]:
            yield from needs(project, *requirement.extras)
        else:
            yield requirement


def names(project: dict, *extras: str) -> set[str]:
    """Canonical names of what the package needs with some extras."""
    return {canonicalize_name(requirement.name) for requirement in needs(project, *extras)}


def test_every_constraint_is_an_exact_public_version(pins: dict[str, Requirement]):
    for pin in pins.values():
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and Version(specifier.version).local is None and pin.url is None, pin


def test_every_direct_dependency_is_pinned_within_its_bounds(project: dict, pins: dict[str, Requirement]):
    for requirement in needs(project, *project["optional-dependencies"]):
        assert requirement.specifier, f"{requirement.name} has no lower bound"
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), requirement


def test_each_command_installs_what_it_needs_and_no_more(project: dict):
    assert {"torch", "numpy"} <= names(project) and len(names(project)) <= 6
    assert "numba" not in names(project)
    for extra in ("book", "study", "bench", "test"):  # the book's appendices compare the engines
        assert "numba" in names(project, extra), extra
    assert names(project, "book") | names(project, "study") < names(project, "test")


def test_jupyter_book_stays_at_version_1(project: dict):
    (book,) = [requirement for requirement in needs(project, "book") if requirement.name == "jupyter-book"]
    assert not book.specifier.contains("2.0.0") and not book.specifier.contains("0.15.1")


def test_conda_installs_the_same(root: Path, project: dict):
    environment = yaml.safe_load((root / "environment.yml").read_text(encoding="utf8"))
    *conda, pip = environment["dependencies"]
    (python,) = [requirement for requirement in map(Requirement, conda) if requirement.name == "python"]
    assert python.specifier == Requirement(f"python{project['requires-python']}").specifier
    (constraints,) = [line.removeprefix("-c ") for line in pip["pip"] if line.startswith("-c ")]
    assert (root / constraints).is_file()
    (editable,) = [line.removeprefix("-e ") for line in pip["pip"] if line.startswith("-e ")]
    installed = Requirement(f"{project['name']}{editable.removeprefix('.')}").extras
    assert names(project, "book", "test", "study") <= names(project, *installed)
    assert len(pip["pip"]) == 2, "everything else comes from the project itself"


def test_the_same_commands_run_everywhere(root: Path, project: dict):
    """The README's commands are targets, and both automatic runs call them; every declared Python is tried."""
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf8"), re.MULTILINE))
    workflow = yaml.safe_load((root / ".github" / "workflows" / "book.yml").read_text(encoding="utf8"))
    steps = [step.get("run", "") for step in workflow["jobs"]["check"]["steps"]]
    for name, text in {"README.md": "", ".ci/run": "", "CONTRIBUTING.md": "", "workflow": "\n".join(steps)}.items():
        called = set(re.findall(r"^make ([a-z-]+)", text or (root / name).read_text(encoding="utf8"), re.MULTILINE))
        assert {"book", "test"} <= called <= targets, name
    declared = {line.rpartition(" ")[2] for line in project["classifiers"] if line.count("::") == 2 and "3." in line}
    assert set(workflow["jobs"]["check"]["strategy"]["matrix"]["python"]) == declared
    for version in declared:
        assert Requirement(f"python{project['requires-python']}").specifier.contains(version)

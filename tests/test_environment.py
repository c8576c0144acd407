"""pyproject.toml, constraints.txt and environment.yml say the same thing."""

import tomllib
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
def pins(root: Path) -> list[Requirement]:
    """The lines of the constraints file."""
    lines = (root / "constraints.txt").read_text(encoding="utf8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def environment(root: Path) -> dict:
    """The conda environment."""
    return yaml.safe_load((root / "environment.yml").read_text(encoding="utf8"))


def test_constraints_are_exact_and_unique(pins: list[Requirement]):
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(names) == len(set(names))
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and Version(specifier.version).local is None and pin.url is None, pin


def test_every_direct_dependency_is_pinned_within_its_bounds(project: dict, pins: list[Requirement]):
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (Requirement(line) for group in groups for line in group):
        assert requirement.specifier, f"{requirement.name} has no lower bound"
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_jupyter_book_stays_at_version_1(project: dict):
    (book,) = [Requirement(line) for line in project["optional-dependencies"]["book"] if "jupyter-book" in line]
    assert not book.specifier.contains("2.0.0") and not book.specifier.contains("0.15.1")


def test_conda_installs_the_same(project: dict, environment: dict):
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["channels"] == ["conda-forge"]
    *conda, pip = environment["dependencies"]
    conda = {requirement.name: requirement for requirement in map(Requirement, conda)}
    assert set(conda) == {"python", "pip"}
    allowed = Requirement(f"python{project['requires-python']}").specifier
    tried = [f"3.{minor}" for minor in range(9, 16)]
    assert [v for v in tried if conda["python"].specifier.contains(v)] == [v for v in tried if allowed.contains(v)]
    assert set(pip) == {"pip"}
    options = [line for line in pip["pip"] if line.startswith("-")]
    assert pip["pip"] == options, "everything comes from the project itself"
    assert "-c constraints.txt" in options and "-e .[book,test,study]" in options
    assert {"book", "test"} <= set(project["optional-dependencies"])

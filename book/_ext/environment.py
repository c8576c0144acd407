"""Sphinx extension: the directive `{environment}`, a table of the machine and the versions that built the book."""

import platform
from importlib.metadata import requires, version

from docutils import nodes
from packaging.requirements import Requirement
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gatedrnn import process


def direct_dependencies(*extras: str) -> set[str]:
    """Names of the package's own dependencies and of those of some extras, with what an extra takes in."""
    names = set()
    for requirement in map(Requirement, requires("gatedrnn") or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            own = requirement.name == "gatedrnn"
            names |= direct_dependencies(*requirement.extras) if own else {requirement.name}
    return names


class Environment(SphinxDirective):
    """A two-column table, read from the environment that runs the build: the machine, then software and version."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        machine = process.environment("cpu")
        rows = [("processor", f"{machine['processor']}, {machine['cores']} cores"), ("system", platform.system())]
        rows += [("Python", platform.python_version()), ("gatedrnn", version("gatedrnn"))]
        rows += [(name, version(name)) for name in sorted(direct_dependencies("book"), key=str.lower)]
        lines = ["| part | version |", "|---|---|", *(f"| {name} | {number} |" for name, number in rows)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("environment", Environment)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

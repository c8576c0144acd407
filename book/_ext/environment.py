"""Sphinx extension: the directive `{environment}`, a table of the versions that built the book."""

import platform
import re
from importlib.metadata import requires, version

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def direct_dependencies(extra: str = "book") -> list[str]:
    """Names of the package's own dependencies and of those of one extra, sorted."""
    names = []
    for requirement in requires("gatedrnn"):
        name, _, marker = requirement.partition(";")
        if not marker or f'extra == "{extra}"' in marker:
            names.append(re.match(r"[\w.-]+", name)[0])
    return sorted(names, key=str.lower)


class Environment(SphinxDirective):
    """A two-column table: software and version, read from the environment that runs the build."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        rows = [("Python", platform.python_version()), ("gatedrnn", version("gatedrnn"))]
        rows += [(name, version(name)) for name in direct_dependencies()]
        lines = ["| software | version |", "|---|---|", *(f"| {name} | {number} |" for name, number in rows)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("environment", Environment)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

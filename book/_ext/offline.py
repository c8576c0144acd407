"""Sphinx extension: a built book that is complete without a network.

MathJax is carried inside the book, and the scripts that Jupyter Book adds for running code on a server are left out.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Copy the file that `mathjax_path` names from the package `sphinx-mathjax-offline`."""
    if exception is not None or app.builder.format != "html":
        return
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent
    target = Path(app.outdir) / "_static" / app.config.mathjax_path
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / "static" / app.config.mathjax_path, target)


def drop_thebe(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Leave out thebe: it runs cells on a server, which a page on a disk does not have."""
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, ()) if not is_thebe(file)]


def is_thebe(file: object) -> bool:
    """Whether a script or a style sheet of a page belongs to thebe."""
    body = getattr(file, "attributes", {}).get("body") or ""
    return "thebe" in str(getattr(file, "filename", None) or "") or "thebe" in body


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hooks."""
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

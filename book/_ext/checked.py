"""Sphinx extension: the role `{checked}`, a small mark that leads from a sentence to the cell which checks it.

Written behind a sentence, the role with the word *below* means the next cell of the page whose first line begins with
`# Checked`, with *above* the one before. Such cells are folded; what the mark leads to lies inside, so that the cell
unfolds when the mark is followed. Every code cell of a notebook is also a label, PAGE#CELL, for the role `{ref}`.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.writers.html5 import HTML5Translator

FIRST_WORDS = "# Checked"  # of a cell that holds the evidence for the text around it
# Most browsers open what a link leads into; this is for those that do not.
UNFOLD = """["load", "hashchange"].forEach((event) => addEventListener(event, () =>
document.querySelector(":target")?.closest("details")?.setAttribute("open", "")))"""
LOG = logging.getLogger(__name__)


class Mark(nodes.Inline, nodes.Element):
    """A mark behind a sentence: `where` the check stands, and its cell in `refid`."""


class Checked(SphinxRole):
    """The role: below or above."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Build the mark; `Lead` finds its cell when the whole page is read."""
        if self.text not in ("below", "above"):
            LOG.warning("write {checked}`below` or {checked}`above`, not %r", self.text, location=self.get_location())
            return [], []
        mark = Mark(where=self.text)
        self.set_source_info(mark)
        return [mark], []


class Lead(SphinxTransform):
    """Give each code cell its id, and each mark its cell."""

    default_priority = 500  # after the page is put together, before references are resolved

    def apply(self) -> None:
        """Walk through the page in its order."""
        cells = [node for node in self.document.findall(nodes.container) if node.get("nb_element") == "cell_code"]
        if cells:
            self.name(cells)
        inside = [node for node in self.document.findall() if isinstance(node, Mark) or is_check(node)]
        for place, mark in enumerate(inside):
            if isinstance(mark, Mark):
                ahead = inside[place + 1 :] if mark["where"] == "below" else inside[:place][::-1]
                target = next((node for node in ahead if not isinstance(node, Mark)), None)
                if target is None:
                    LOG.warning("no cell %s this mark begins with %r", mark["where"], FIRST_WORDS, location=mark)
                    mark.parent.remove(mark)
                else:
                    mark["refid"] = target["ids"][0]

    def name(self, cells: list[nodes.container]) -> None:
        """The ids that the notebook itself has, on the code of its cells."""
        page = self.env.docname
        stored = json.loads(Path(self.env.doc2path(page)).read_text(encoding="utf8"))["cells"]
        labels = self.env.get_domain("std").anonlabels
        for cell in cells:
            code = cell.children[0]
            if code.get("nb_element") == "cell_code_source":
                name = stored[cell["cell_index"]]["id"]
                code["ids"].append(name)
                labels[f"{page}#{name}"] = page, name


def is_check(node: nodes.Node) -> bool:
    """Whether a node is the code of a cell that checks."""
    is_code = isinstance(node, nodes.container) and node.get("nb_element") == "cell_code_source"
    return is_code and node.astext().startswith(FIRST_WORDS)


def visit_mark(translator: HTML5Translator, mark: Mark) -> None:
    """A link of one sign, whose name says in words what it is."""
    name = f"checked {mark['where']}"
    translator.body.append(f'<sup class="checked"><a href="#{mark["refid"]}" aria-label="{name}">✓</a></sup>')
    raise nodes.SkipNode


def on_page(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Add the script to a page with a mark."""
    if 'class="checked"' in context.get("body", ""):
        app.add_js_file(None, body=UNFOLD)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role and the walk."""
    app.add_node(Mark, html=(visit_mark, None))
    app.add_role("checked", Checked())
    app.add_transform(Lead)
    app.connect("html-page-context", on_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

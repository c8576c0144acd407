"""Sphinx extension: captions of tables.

The caption of a table that a cell shows comes from the cell's metadata (`"caption": "..."`): a data frame has none of
its own; figures have theirs in the metadata, too. A table has a number only if it has a label by which a sentence can
name it; without one, "Table 1" is always the paper's.
"""

import re
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class TableCaptions(SphinxTransform):
    """Put a caption into the first table of each cell whose metadata holds one."""

    default_priority = 400

    def apply(self) -> None:
        """Look at every cell."""
        for cell in self.document.findall(nodes.container):
            caption = (cell.get("cell_metadata") or {}).get("caption")
            if caption:
                self.add(cell, f"<caption>{escape(caption)}</caption>")

    def add(self, cell: nodes.container, caption: str) -> None:
        """Write the caption into the HTML of the cell's table."""
        for html in cell.findall(nodes.raw):
            if html.get("format") == "html" and "<table" in html.astext():
                text = re.sub(r"<table\b[^>]*>", lambda opening: opening[0] + caption, html.astext(), count=1)
                html[:] = [nodes.Text(text)]
                return


class Unnumbered(nodes.table):
    """A table with a caption and without a number: Sphinx counts tables of exactly the class `table`."""


class TablesWithoutLabel(SphinxTransform):
    """Take tables that have no label out of the numbering, before Sphinx gives them an id to count them by."""

    default_priority = 200

    def apply(self) -> None:
        """Look at every table."""
        for table in list(self.document.findall(nodes.table)):
            if not table["ids"]:
                table.replace_self(Unnumbered("", *table.children, **table.attributes))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transforms."""
    app.add_transform(TableCaptions)
    app.add_transform(TablesWithoutLabel)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

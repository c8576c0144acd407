"""Sphinx extension: the caption of a table that a cell shows, from the cell's metadata (`"caption": "..."`).

A data frame has no caption of its own; figures have theirs in the metadata, too.
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


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(TableCaptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

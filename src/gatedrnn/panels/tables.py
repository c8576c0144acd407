"""Tables of a chapter: numbers with the digits that mean something, and a caption."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .words import escape

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Table:
    """Head and rows as text; the first column names the rows."""

    head: list[str]
    rows: list[list[str]]
    caption: str = ""

    def __repr__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in lines]
        return "\n".join([*filter(None, [self.caption]), *map("  ".join, lines)])

    def _repr_html_(self) -> str:
        def line(row: list[str], tag: str) -> str:
            return f"<tr><th>{escape(row[0])}</th>{''.join(f'<{tag}>{escape(c)}</{tag}>' for c in row[1:])}</tr>"

        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        body = "".join(line(row, "td") for row in self.rows)
        return f"<table>{caption}<thead>{line(self.head, 'th')}</thead><tbody>{body}</tbody></table>"


def table(frame: "pd.DataFrame", *, digits: Mapping[str, int] | None = None, caption: str = "") -> Table:
    """A frame as a table of the book: its index names the rows, a missing number is a dash.

    digits : column -> decimals of its floats, 2 unless given. Raises ValueError for columns that are not there.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"test NLL": [9.041, 8.472], "updates": [1200, 900]}, index=["tanh", "LSTM"])
    >>> table(frame, caption="Nats a step.")
    Nats a step.
          test NLL  updates
    tanh      9.04    1,200
    LSTM      8.47      900
    """
    columns, digits = [str(name) for name in frame.columns], digits or {}
    if missing := set(digits) - set(columns):
        raise ValueError(f"The table has no column {', '.join(sorted(missing))}: it has {', '.join(columns)}.")
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.index]
    rows = [
        [name, *(written(value, digits.get(column, 2)) for value, column in zip(row, columns, strict=True))]
        for name, row in zip(names, frame.itertuples(index=False, name=None), strict=True)
    ]
    return Table([str(frame.index.name or ""), *columns], rows, caption)


def written(value: object, digits: int) -> str:
    """A value as it stands in a table: thousands with a comma, a dash for what is missing.

    >>> written(12345, 2), written(-0.5, 3), written(float("nan"), 1), written("GRU", 2)
    ('12,345', '-0.500', '–', 'GRU')
    """
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:,.{digits}f}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else str(value)

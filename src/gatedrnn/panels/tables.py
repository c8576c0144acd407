"""Tables of a chapter: numbers with the digits that mean something, the best marked, a caption."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from .words import escape

if TYPE_CHECKING:
    import pandas as pd

BEST = {"min": min, "max": max}


@dataclass(frozen=True, repr=False)
class Table:
    """Head and rows as text, and the places (row, column) of the best; the first column names the rows."""

    head: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]]
    caption: str = ""

    def __repr__(self) -> str:
        rows = enumerate(self.rows)
        marked = [[cell + "*" * ((i, j) in self.best) for j, cell in enumerate(row)] for i, row in rows]
        widths = [max(map(len, column)) for column in zip(self.head, *marked, strict=True)]
        lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in (self.head, *marked)]
        return "\n".join([*filter(None, [self.caption]), *map("  ".join, lines)])

    def _repr_html_(self) -> str:
        def cell(i: int, j: int, text: str) -> str:
            text = f"<strong>{escape(text)}</strong>" if (i, j) in self.best else escape(text)
            return f"<td>{text}</td>" if j else f"<th>{text}</th>"

        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.head)
        body = "".join(f"<tr>{''.join(cell(i, j, c) for j, c in enumerate(r))}</tr>" for i, r in enumerate(self.rows))
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table(
    frame: "pd.DataFrame",
    *,
    best: str | Mapping[str, str] = "",
    by: str = "column",
    digits: int | Mapping[str, int] = 2,
    caption: str = "",
) -> Table:
    """A frame as a table of the book: its index names the rows, its floats have `digits` decimals.

    best : "min" or "max" marks the best number of each column, or with by="row" of each row; a mapping from columns to
    these marks only those columns. Numbers that read alike are equally good. digits : one number, or one a column.
    A missing number is a dash. Raises ValueError for another `best` or `by`, and for columns that are not there.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"test NLL": [9.041, 8.472], "updates": [1200, 900]}, index=["tanh", "LSTM"])
    >>> table(frame, best="min", caption="Nats a step.")
    Nats a step.
          test NLL  updates
    tanh      9.04    1,200
    LSTM     8.47*     900*
    """
    columns = [str(name) for name in frame.columns]
    wanted = dict(best) if isinstance(best, Mapping) else {name: best for name in columns if best}
    chosen = dict(digits) if isinstance(digits, Mapping) else {}
    if by not in ("column", "row") or (by == "row" and isinstance(best, Mapping)):
        raise ValueError("by is 'column', or 'row' where best is one word for all columns.")
    if missing := (wanted.keys() | chosen.keys()) - set(columns):
        raise ValueError(f"The table has no column {', '.join(sorted(missing))}: it has {', '.join(columns)}.")
    if wrong := set(wanted.values()) - set(BEST):
        raise ValueError(f"best is 'min' or 'max', not {', '.join(map(repr, sorted(wrong)))}.")
    decimals = [chosen.get(name, 2 if isinstance(digits, Mapping) else digits) for name in columns]
    values = [list(row) for row in frame.itertuples(index=False, name=None)]
    texts = [[written(value, n) for value, n in zip(row, decimals, strict=True)] for row in values]
    marked: set[tuple[int, int]] = set()
    lines = [[(i, j) for i in range(len(values))] for j in range(len(columns))]
    for line in lines if by == "column" else zip(*lines, strict=True):
        numbers = {at: values[at[0]][at[1]] for at in line if columns[at[1]] in wanted}
        numbers = {at: value for at, value in numbers.items() if is_number(value) and np.isfinite(value)}
        if len(numbers) > 1:
            top = BEST[wanted[columns[line[0][1]]]](numbers, key=numbers.__getitem__)
            same = texts[top[0]][top[1]]
            marked |= {(i, j + 1) for i, j in numbers if texts[i][j] == same}
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.index]
    rows = [[name, *row] for name, row in zip(names, texts, strict=True)]
    return Table([str(frame.index.name or ""), *columns], rows, frozenset(marked), caption)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number and no truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def written(value: object, digits: int) -> str:
    """A value as it stands in a table: thousands with a comma, a dash for what is missing.

    >>> written(12345, 2), written(-0.5, 3), written(float("nan"), 1), written("GRU", 2)
    ('12,345', '-0.500', '–', 'GRU')
    """
    if value is None or (is_number(value) and np.isnan(value)):
        return "–"
    if not is_number(value):
        return str(value)
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{value:,.{digits}f}"

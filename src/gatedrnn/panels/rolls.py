"""Piano rolls as a part of a plot."""

from collections.abc import Iterable

import numpy as np

from ..rolls import LOWEST_PITCH, held_notes
from . import markup

GIVEN = "#8A8A8A"  # grey: what a voice was given before it went on by itself


def pitch_span(rolls: Iterable[np.ndarray]) -> tuple[int, int]:
    """The lowest and the highest column that sounds in any roll, at least an octave apart, with one to spare."""
    columns = np.flatnonzero(np.any([roll.any(0) for roll in rolls], axis=0))
    low, high = (int(columns[0]), int(columns[-1])) if len(columns) else (27, 63)
    return min(low, high - 12) - 1, max(high, low + 12) + 1


def pitch_axis(low: int, high: int, height: str = "", y: float = 0) -> str:
    """A faint line at each C, with its name; MIDI pitch 60 is C4. height, y : of the roll in pixels."""
    parts = []
    for column in range(low, high + 1):
        if (column + LOWEST_PITCH) % 12 == 0:
            share = (high + 0.5 - column) / (high - low + 1)
            at = f"{y + share * float(height):.1f}" if height else f"{100 * share:.2f}%"
            parts.append(markup.rule("0", at, "100%", at))
            parts.append(markup.text("0", at, f"C{(column + LOWEST_PITCH) // 12 - 1}", "end", dx=-8, dy=5))
    return "".join(parts)


def notes(
    roll: np.ndarray,
    span: tuple[int, int],
    color: str,
    opening: int,
    steps: int,
    where: str = 'width="100%" height="100%"',
) -> str:
    """The notes of a roll as bars, grey within the opening; where : place of the drawing."""
    low, high = span
    paths = []
    for first, last, tone in ((0, opening, GIVEN), (opening, len(roll), color)):
        bars = ""
        for column, start, end in held_notes(roll):
            start, end = max(start, first), min(end, last)
            if start < end:
                bars += f"M{start + 0.06:g} {high - column + 0.08:g}h{end - start - 0.12:g}v.84h{0.12 - end + start:g}z"
        kind = ' class="given"' if first < opening else ""
        paths.append(f'<path{kind} d="{bars}" fill="{tone}"/>' if bars else "")
    return markup.stretched("".join(paths), f"0 0 {steps} {high - low + 1}", where)

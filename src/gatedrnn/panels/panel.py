"""What all panels share: a title, a picture that is complete by itself, and the data that the script reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from ..palette import COLORS, MORE
from .words import as_json, escape, slug

OTHERS = (*MORE, "#999999")  # for what is not a unit


class About(TypedDict, total=False):
    """What every panel can be told besides."""

    title: str
    alt: str  # what a screen reader says of the picture
    caption: str
    name: str  # the panel's id, by default the title in small letters


@dataclass(frozen=True, repr=False)
class Panel:
    """One component of a page; `picture` is HTML that is complete by itself, `data` what the script reads."""

    kind: str
    title: str
    picture: str = field(repr=False)
    data: Mapping = field(repr=False)
    summary: str = ""
    readout: str = ""
    caption: str = ""
    name: str = ""
    alt: str = ""  # stands in the picture already

    def __post_init__(self):
        name = self.name or slug(self.title)
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(f"A panel's name is made of small letters, digits and hyphens; {name!r} is not: set name.")
        object.__setattr__(self, "name", name)

    def __repr__(self) -> str:
        return f"Panel {self.name} ({self.kind}): {self.summary}"

    def _repr_html_(self) -> str:
        caption = f'<p class="panel-caption">{escape(self.caption)}</p>' if self.caption else ""
        return (
            f'<div class="panel" data-panel="{self.kind}" id="{self.name}" role="group" '
            f'aria-label="{escape(self.title)}" style="margin:1.5em 0">'
            f'<p class="panel-title"><strong>{escape(self.title)}</strong></p>'
            f'<div class="panel-body">{self.picture}</div>'
            f'<p class="panel-readout" aria-live="polite">{self.readout}</p>{caption}'
            f'<script type="application/json">{as_json(self.data)}</script></div>'
        )


def color_of(name: str, k: int = 0) -> str:
    """The colour of a curve or voice: a unit's own if the name begins with a unit's, else the k-th of the others."""
    unit = re.split("[^a-z]", name.lower(), maxsplit=1)[0]
    return COLORS.get(unit, OTHERS[k % len(OTHERS)])


def array(values: object) -> np.ndarray:
    """An array, or a tensor with or without gradient, as float64 in NumPy."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=float)


def sequence(values: object, what: str) -> np.ndarray:
    """Shape (T, n) from (T, n) or, for one sequence, (T, 1, n). Raises ValueError for any other."""
    out = array(values)
    out = out[:, 0] if out.ndim == 3 and out.shape[1] == 1 else out
    if out.ndim != 2 or not len(out):
        raise ValueError(f"{what} must have shape (T, n) or (T, 1, n) with T at least 1; it is {out.shape}.")
    return out

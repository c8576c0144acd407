"""Data-flow diagrams of the three units as SVG, in which CSS lights one part after the other.

Each drawing follows the paper's equations: sections 2 (tanh unit), 3.1 (LSTM, with peepholes) and 3.2 (GRU, reset gate
before the matrix product), element by element in `assets/diagrams.txt`; the equations below it are those of
`gatedrnn.units`. Every stroke carries a class for each part that it belongs to (`part-z`, `part-h_tilde`, ...), in the
names of `Cell.gates`. The picture itself has the class `lit` and one for each part that is lit (`lit-z`): a script can
move the light by changing those, and nothing else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from .palette import DARK, DIM, DIM_TEXT, FRAME, INK, PAPER, dark
from .units import UNITS, check_unit

SCALE = 56  # pixels for one unit of length of a drawing

SIZES = {"tanh": (7.1, 3.4, 1), "gru": (10.4, 5.75, 2), "lstm": (10.9, 5.95, 2)}  # width, top, columns of equations

# Without a light everything is at full strength; with one, what no lit part owns is dim. A page sets its own colours.
STYLE = f"""
.cell-diagram {{ max-width: 100%; height: auto; --ink: {INK}; --paper: {PAPER}; --dim: {DIM}; --dim-text: {DIM_TEXT};
  --frame: {FRAME}; font-family: "STIX Two Text", "Times New Roman", "Liberation Serif", serif; }}
.cell-diagram * {{ --line: var(--ink); --text: var(--ink); --edge: var(--unit); --fill: var(--paper); }}
.cell-diagram.lit .part * {{ --line: var(--dim); --text: var(--dim-text); --edge: var(--dim); }}
.cell-diagram .frame {{ fill: var(--frame); stroke: var(--dim); }}
.cell-diagram .line {{ fill: none; stroke: var(--line); stroke-width: 2; }}
.cell-diagram .halo {{ fill: none; stroke: var(--frame); stroke-width: 7; }}
.cell-diagram .peep .line {{ stroke-dasharray: 6 4; }}
.cell-diagram .dot {{ fill: var(--line); }}
.cell-diagram .box {{ fill: var(--fill); stroke: var(--edge); stroke-width: 2.4; }}
.cell-diagram text {{ fill: var(--text); }}
.cell-diagram .math {{ font-style: italic; }}
html[data-theme="dark"] .cell-diagram {{ --ink: {DARK[INK]}; --paper: {DARK[PAPER]}; --dim: {DARK[DIM]};
  --dim-text: {DARK[DIM_TEXT]}; --frame: {DARK[FRAME]}; }}
""".strip()

GREEK = {r"\sigma": "σ", r"\tanh": "tanh", r"\odot": "⊙", r"\,": "\u2009", r"\exp": "exp"}
TOKEN = re.compile(r"\\tilde\{(\w)\}|(\\[a-z]+|\\,)|_\{([^}]*)\}|_(\w)|([A-Za-z])|(\s*[-+=]\s*)|(.)")


def spans(tex: str) -> str:
    """TeX of the units' equations as the inside of an SVG text: letters in italics, subscripts below the line.

    >>> spans("h_{t-1}")
    '<tspan class="math">h</tspan><tspan class="math" dy=".25em" font-size="72%">t−1</tspan>'
    """
    out, below = [], False
    for tilde, command, braced, single, letter, sign, other in TOKEN.findall(tex):
        back = ' dy="-.18em"' if below else ""  # of the larger type: as much as the subscript went down
        below = False
        if subscript := braced or single:
            text = subscript.replace("-", "−")
            out.append(f'<tspan class="math" dy=".25em" font-size="72%">{escape(text)}</tspan>')
            below = True
        elif tilde or letter:
            out.append(f'<tspan class="math"{back}>{tilde + chr(0x303) if tilde else letter}</tspan>')
        else:
            text = GREEK[command] if command else f" {sign.strip().replace('-', '−')} " if sign else other
            out.append(f"<tspan{back}>{escape(text)}</tspan>")
    return "".join(out)


def plain(tex: str) -> str:
    """TeX of the units' equations as a line of text, for those who hear it: `h_t = tanh(W x_t + U h_t-1)`."""
    text = re.sub(r"\\tilde\{(\w)\}", r"\1~", tex)
    return re.sub(r"\s+", " ", re.sub(r"\\[a-z]+|\\,", lambda m: GREEK[m[0]], text).replace("{", "").replace("}", ""))


@cache
def drawings() -> dict[str, list[tuple[str, ...]]]:
    """Unit -> its elements, as (kind, parts, points, text)."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in (Path(__file__).parent / "assets" / "diagrams.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            rows = found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            rows.append(tuple(cell.strip() for cell in line.split("|")))
    return found


@dataclass(frozen=True)
class Diagram:
    """One step of a unit as a picture; a notebook shows it inline, where a page's style and scripts reach it."""

    unit: str
    lit: tuple[str, ...] = ()
    peepholes: bool = True
    equations: bool = True

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        width, top, columns = SIZES[self.unit]
        rows = len(UNITS[self.unit].parts) // columns
        return (width + 0.15) * SCALE, (top + (1.0 + 0.55 * rows if self.equations else 0.7)) * SCALE

    @property
    def svg(self) -> str:
        """The picture, complete in itself."""
        unit, (width, height) = UNITS[self.unit], self.size
        names = ["cell-diagram", f"unit-{self.unit}", *(["lit"] if self.lit else []), *(f"lit-{p}" for p in self.lit)]
        lights = ", ".join(f".cell-diagram.lit.lit-{part} .part.part-{part} *" for part in unit.parts)
        style = (
            f"{STYLE}\n{lights} {{ --line: var(--ink); --text: var(--ink); --edge: var(--unit);\n"
            "  --fill: color-mix(in srgb, var(--unit) 22%, var(--paper)); }\n"
            f".unit-{self.unit} {{ --unit: {unit.color}; }}\n"
            f'html[data-theme="dark"] .unit-{self.unit} {{ --unit: {dark(unit.color)}; }}'
        )
        title = f"One step of the {unit.title}" + ("" if self.unit != "tanh" else " unit")
        said = "; ".join(plain(unit.equation(part, peepholes=self.peepholes)) for part in unit.parts)
        shown = f"Lit: {', '.join(self.lit)}. " if self.lit else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="{" ".join(names)}" role="img" aria-label="{title}" '
            f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
            f"<title>{title}</title><desc>{shown}{escape(said)}</desc><style>{style}</style>"
            f"{''.join(self._elements())}</svg>"
        )

    def _elements(self) -> Iterable[str]:
        """The drawing's elements, lines first, so that boxes lie on them, and the equations."""
        rank = {"frame": 0, "line": 1, "arrow": 1, "bridge": 2, "fork": 3}
        rows = sorted(drawings()[self.unit], key=lambda row: rank.get(row[0].removeprefix("peep "), 4))
        for kind, parts, points, text in rows:
            if kind.startswith("peep") and not self.peepholes:
                continue
            owners = [part.removeprefix("+") for part in parts.split() if self.peepholes or not part.startswith("+")]
            at = [self._pixels(*map(float, point.split(","))) for point in points.split()]
            body = ELEMENTS[kind.removeprefix("peep ")](at, text)
            yield _group(owners, body, "peep" if kind.startswith("peep") else "") if owners else body
        if self.equations:
            unit, (width, _, columns) = UNITS[self.unit], SIZES[self.unit]
            for k, part in enumerate(unit.parts):
                column, row = divmod(k, len(unit.parts) // columns)
                x = width / 2 if columns == 1 else 0.15 + column * (0.2 + width / 2)
                at = [self._pixels(x, -1.1 - 0.55 * row)]
                tex = unit.equation(part, peepholes=self.peepholes)
                yield _group([part], _text(at, tex, "middle" if columns == 1 else "start", 18), "equation")

    def _pixels(self, x: float, y: float) -> tuple[float, float]:
        return round((x + 0.15) * SCALE, 1), round((SIZES[self.unit][1] - y) * SCALE, 1)

    def _repr_html_(self) -> str:
        return self.svg

    _repr_svg_ = _repr_html_


def _group(parts: Iterable[str], body: str, kind: str) -> str:
    names = " ".join(["part", *(f"part-{part}" for part in parts), *filter(None, [kind])])
    return f'<g class="{names}">{body}</g>'


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in points)


def _text(at: list, tex: str, anchor: str, size: float = 19) -> str:
    (x, y), *_ = at
    return f'<text x="{x:g}" y="{y + 6:g}" font-size="{size:g}" text-anchor="{anchor}">{spans(tex)}</text>'


def _line(at: list, _: str, head: bool = False, over: bool = False) -> str:
    body = f'<path class="halo" d="{_path(at)}"/>' if over else ""
    if head:  # the line stops inside the head, whose tip would otherwise be blunted
        (x0, y0), (x, y) = at[-2:]
        length = abs(x - x0) + abs(y - y0)  # all lines are level or upright
        dx, dy = (x - x0) / length, (y - y0) / length
        sides = ((x - 10 * dx - side * dy, y - 10 * dy + side * dx) for side in (4.5, -4.5))
        body += f'<path class="dot" d="{_path([(x, y), *sides])} Z"/>'
        at = [*at[:-1], (x - 6 * dx, y - 6 * dy)]
    return f'{body}<path class="line" d="{_path(at)}"/>'


def _dot(at: list, _: str) -> str:
    return f'<circle class="dot" cx="{at[0][0]:g}" cy="{at[0][1]:g}" r="4"/>'


def _frame(at: list, _: str) -> str:
    (left, bottom), (right, top) = at
    return f'<rect class="frame" x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="14"/>'


def _box(at: list, tex: str) -> str:
    """A layer: what comes out, and the function that makes it; or a function alone."""
    (x, y), names = at[0], tex.split()
    width, height = 1.15 * SCALE, (1.0 if len(names) > 1 else 0.7) * SCALE
    size = f'width="{width:g}" height="{height:g}"'
    rect = f'<rect class="box" x="{x - width / 2:g}" y="{y - height / 2:g}" {size} rx="7"/>'
    if len(names) == 1:
        return rect + _text([(x, y)], names[0], "middle", 17)
    return rect + _text([(x, y - 11)], names[0], "middle", 21) + _text([(x, y + 14)], names[1], "middle", 17)


def _node(at: list, sign: str) -> str:
    """An operation number by number: a circle with a dot is a product, one with a cross a sum."""
    x, y = at[0]
    cross = f'<path class="line" d="M{x - 7:g} {y:g} h14 M{x:g} {y - 7:g} v14"/>'
    return f'<circle class="box" cx="{x:g}" cy="{y:g}" r="13.4"/>' + (_dot(at, "") if sign == "*" else cross)


ELEMENTS = {
    "frame": _frame,
    "line": _line,
    "arrow": lambda at, text: _line(at, text, head=True),
    "bridge": lambda at, text: _line(at, text, head=True, over=True),
    "fork": _dot,
    "box": _box,
    "product": lambda at, text: _node(at, "*"),
    "sum": lambda at, text: _node(at, "+"),
    "text": lambda at, text: _text(at, text, "middle"),
    "left": lambda at, text: _text(at, text, "end"),
    "right": lambda at, text: _text(at, text, "start", 17),
}


def cell_diagram(unit: str, lit: Iterable[str] = (), *, peepholes: bool = True, equations: bool = True) -> Diagram:
    """Draw one step of a unit ("tanh", "gru", "lstm") with its equations below; the parts in `lit` stand out.

    Parts: `UNITS[unit].parts`. With nothing lit the whole diagram has full strength. A circle with a dot is a product
    number by number, one with a cross a sum; a dot on a line is a fork; lines that cross on a bridge do not meet;
    dashed lines are peepholes (LSTM, left out with peepholes=False). Raises ValueError for an unknown unit or part, and
    lists the known ones.

    >>> cell_diagram("gru", ["z"])
    Diagram(unit='gru', lit=('z',), peepholes=True, equations=True)
    """
    lit, known = tuple(lit), UNITS[check_unit(unit)].parts
    if unknown := sorted(set(lit) - set(known)):
        raise ValueError(f"unknown part {', '.join(unknown)} of {unit}: the known parts are {', '.join(known)}")
    return Diagram(unit, lit, peepholes, equations)

"""Data-flow diagrams of the three units, drawn so that a chapter can light one part after the other.

Each drawing follows the paper's equations: sections 2 (tanh unit), 3.1 (LSTM, with peepholes) and 3.2 (GRU, reset gate
before the matrix product). Every stroke carries the names of the parts it belongs to, in the names of `Cell.gates`;
a part that is lit takes all its strokes, its box and its equation with it.
"""

from collections.abc import Iterable

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.patheffects import withStroke

from .units import UNITS, check_unit

INK, DIM, DIM_TEXT, FRAME, PAPER = "#222222", "#C4C4C4", "#8A8A8A", "#F7F7F7", "#FFFFFF"
INCHES = 0.58  # of one unit of the drawing

Point = tuple[float, float]


class _Canvas:
    """An Axes and what is lit on it; each method draws one element, `of` names the parts that it belongs to."""

    def __init__(self, ax: Axes, color: str, lit: frozenset[str]):
        self.ax, self.color, self.lit = ax, color, lit

    def shines(self, of: str) -> bool:
        return not self.lit or not self.lit.isdisjoint(of.split())

    def ink(self, of: str, dim: str = DIM) -> str:
        return INK if self.shines(of) else dim

    def path(self, of: str, *points: Point, head: bool = True, dashed: bool = False, over: bool = False):
        """A line through the points, with an arrow head at its end; `over` passes across other lines on a bridge."""
        level = 3.0 + 0.2 * over + 0.1 * self.shines(of)  # where two share a stretch, the lit one is seen
        xs, ys = zip(*points, strict=True)
        if head:  # the line stops inside the head, whose tip would otherwise be blunted
            dx, dy = xs[-1] - xs[-2], ys[-1] - ys[-2]
            length = (dx**2 + dy**2) ** 0.5
            xs, ys = (*xs[:-1], xs[-1] - 0.1 * dx / length), (*ys[:-1], ys[-1] - 0.1 * dy / length)
            arrow = FancyArrowPatch(points[-2], points[-1], arrowstyle="-|>", mutation_scale=14, shrinkA=0, shrinkB=0)
            arrow.set(color=self.ink(of), linewidth=0, zorder=level + 0.05)
            self.ax.add_patch(arrow)
        (line,) = self.ax.plot(xs, ys, color=self.ink(of), lw=1.6, ls=(0, (2.6, 1.4)) if dashed else "-", zorder=level)
        line.set(solid_capstyle="butt", solid_joinstyle="round", dash_capstyle="butt")
        if over:
            line.set_path_effects([withStroke(linewidth=5.5, foreground=FRAME)])

    def fork(self, of: str, *at: Point):
        """The dot where a line splits in two."""
        for point in at:
            self.ax.add_patch(Circle(point, 0.075, color=self.ink(of), linewidth=0, zorder=3.5))

    def box(self, of: str, at: Point, name: str, function: str = ""):
        """A layer: the name of what comes out, and the function that makes it."""
        width, height = 1.15, 1.0 if function else 0.7
        red, green, blue = to_rgb(self.color)
        tint = tuple(0.68 + 0.32 * channel for channel in (red, green, blue))
        patch = FancyBboxPatch((at[0] - width / 2, at[1] - height / 2), width, height)
        patch.set_boxstyle("round", pad=0, rounding_size=0.12)
        patch.set(facecolor=tint if self.lit and self.shines(of) else PAPER, linewidth=1.9, zorder=4)
        patch.set_edgecolor(self.color if self.shines(of) else DIM)
        self.ax.add_patch(patch)
        if function:
            self.label(of, (at[0], at[1] + 0.17), name, 16)
            self.label(of, (at[0], at[1] - 0.27), function, 12)
        else:
            self.label(of, at, name, 12)

    def node(self, of: str, at: Point, sign: str):
        """An operation number by number: "*", a circle with a dot, is a product; "+", a circle with a cross, a sum."""
        self.ax.add_patch(Circle(at, 0.24, facecolor=PAPER, linewidth=1.9, zorder=4))
        self.ax.patches[-1].set_edgecolor(self.color if self.shines(of) else DIM)
        if sign == "*":
            self.ax.add_patch(Circle(at, 0.07, color=self.ink(of), linewidth=0, zorder=5))
        else:
            for dx, dy in ((0.13, 0), (0, 0.13)):
                ends = (at[0] - dx, at[0] + dx), (at[1] - dy, at[1] + dy)
                self.ax.plot(*ends, color=self.ink(of), lw=1.9, zorder=5)

    def label(self, of: str, at: Point, text: str, size: float = 15, ha: str = "center"):
        self.ax.text(
            *at, text, ha=ha, va="center", color=self.ink(of, DIM_TEXT), fontsize=size, math_fontfamily="cm", zorder=6
        )

    def frame(self, left: float, bottom: float, right: float, top: float):
        """The outline of one step of the unit."""
        patch = FancyBboxPatch((left, bottom), right - left, top - bottom)
        patch.set_boxstyle("round", pad=0, rounding_size=0.25)
        patch.set(facecolor=FRAME, edgecolor=DIM, linewidth=1.0, zorder=1)
        self.ax.add_patch(patch)


def _tanh(d: _Canvas):
    d.frame(1.0, 0.1, 6.2, 3.3)
    d.label("h", (0.72, 1.9), r"$h_{t-1}$", 15, "right")
    d.label("h", (3.6, -0.35), r"$x_t$")
    d.path("h", (0.8, 1.9), (3.02, 1.9))
    d.path("h", (3.6, -0.1), (3.6, 1.4))
    d.label("h", (2.0, 2.15), "$U$", 13)
    d.label("h", (3.8, 0.7), "$W$", 13, "left")
    d.box("h", (3.6, 1.9), "$h_t$", r"$\tanh$")
    d.path("h", (4.18, 1.9), (6.4, 1.9))
    d.label("h", (6.75, 1.9), "$h_t$")


def _gru(d: _Canvas):
    d.frame(1.0, 0.1, 9.5, 5.65)
    everything = "z r h_tilde h"
    # the previous state: to the leak on top, and down to the two gates and the reset product
    d.label(everything, (0.72, 5.0), r"$h_{t-1}$", 15, "right")
    d.path(everything, (0.8, 5.0), (1.45, 5.0), head=False)
    d.path("h", (1.45, 5.0), (2.46, 5.0))
    d.path("z r h_tilde", (1.45, 5.0), (1.45, 1.05), (2.95, 1.05), head=False)
    d.path("r h_tilde", (2.95, 1.05), (4.85, 1.05), head=False)
    d.path("h_tilde", (4.85, 1.05), (6.0, 1.05), (6.0, 1.96))
    d.path("z", (2.95, 1.05), (2.95, 1.7))
    d.path("r", (4.85, 1.05), (4.85, 1.7))
    d.fork(everything, (1.45, 5.0))
    d.fork("z r h_tilde", (2.95, 1.05))
    d.fork("r h_tilde", (4.85, 1.05))
    # the input
    d.label("z r h_tilde", (4.35, -0.35), r"$x_t$")
    d.path("z r h_tilde", (4.35, -0.1), (4.35, 0.45), head=False)
    d.path("z", (4.35, 0.45), (2.45, 0.45), (2.45, 1.7), over=True)
    d.path("r", (4.35, 0.45), (4.35, 1.7), over=True)
    d.path("h_tilde", (4.35, 0.45), (7.6, 0.45), (7.6, 1.7))
    d.fork("z r h_tilde", (4.35, 0.45))
    # update gate, reset gate, candidate
    d.box("z", (2.7, 2.2), "$z_t$", r"$\sigma$")
    d.box("r", (4.6, 2.2), "$r_t$", r"$\sigma$")
    d.path("h_tilde", (5.18, 2.2), (5.76, 2.2))
    d.node("h_tilde", (6.0, 2.2), "*")
    d.path("h_tilde", (6.24, 2.2), (7.02, 2.2))
    d.label("h_tilde", (6.58, 2.45), "$U$", 13)
    d.label("h_tilde", (7.75, 1.1), "$W$", 13, "left")
    d.box("h_tilde", (7.6, 2.2), r"$\tilde{h}_t$", r"$\tanh$")
    # the new state
    d.path("h", (2.7, 2.7), (2.7, 3.7), (7.36, 3.7))
    d.path("h", (2.7, 3.7), (2.7, 4.76))
    d.fork("h", (2.7, 3.7))
    d.label("h", (2.9, 4.3), "$1 - z_t$", 13, "left")
    d.label("h", (6.7, 3.97), "$z_t$", 13)
    d.path("h", (7.6, 2.7), (7.6, 3.46))
    d.path("h", (7.6, 3.94), (7.6, 4.76))
    d.path("h", (2.94, 5.0), (7.36, 5.0))
    d.node("h", (2.7, 5.0), "*")
    d.node("h", (7.6, 3.7), "*")
    d.node("h", (7.6, 5.0), "+")
    d.path("h", (7.84, 5.0), (9.7, 5.0))
    d.label("h", (10.05, 5.0), "$h_t$")


def _lstm(d: _Canvas, peepholes: bool):
    d.frame(1.0, 0.1, 10.0, 5.85)
    gates = "f i c_tilde o"
    # what every gate reads: the input, and the previous output
    columns = {"f": 2.75, "i": 4.35, "c_tilde": 5.95, "o": 7.9}
    d.label(gates, (0.72, 1.05), r"$h_{t-1}$", 15, "right")
    d.label(gates, (4.1, -0.35), r"$x_t$")
    d.path(gates, (4.1, -0.1), (4.1, 0.45), head=False)
    left = 0.8
    for k, (gate, x) in enumerate(columns.items()):
        onwards = " ".join(list(columns)[k:])
        d.path(onwards, (left, 1.05), (x + 0.25, 1.05), head=False)
        d.path(gate, (x + 0.25, 1.05), (x + 0.25, 1.7))
        if gate != "o":
            d.fork(onwards, (x + 0.25, 1.05))
        left = x + 0.25
    d.path("c_tilde o", (4.1, 0.45), (5.7, 0.45), head=False)
    d.path("f", (4.1, 0.45), (2.5, 0.45), (2.5, 1.7), over=True)
    d.path("i", (4.1, 0.45), (4.1, 1.7), over=True)
    d.path("c_tilde", (5.7, 0.45), (5.7, 1.7), over=True)
    d.path("o", (5.7, 0.45), (7.65, 0.45), (7.65, 1.7), over=True)
    d.fork(gates, (4.1, 0.45))
    d.fork("c_tilde o", (5.7, 0.45))
    for gate, name in (("f", "$f_t$"), ("i", "$i_t$"), ("c_tilde", r"$\tilde{c}_t$"), ("o", "$o_t$")):
        d.box(gate, (columns[gate], 2.2), name, r"$\tanh$" if gate == "c_tilde" else r"$\sigma$")
    # the memory cell
    old = "f i c" if peepholes else "c"
    d.label(old, (0.72, 5.2), r"$c_{t-1}$", 15, "right")
    d.path(old, (0.8, 5.2), (1.5, 5.2), head=False)
    d.path("c", (1.5, 5.2), (2.51, 5.2))
    d.path("c", (2.75, 2.7), (2.75, 4.96))
    d.path("c", (2.99, 5.2), (4.91, 5.2))
    d.path("c", (4.35, 2.7), (4.35, 4.05), (4.91, 4.05))
    d.path("c", (5.95, 2.7), (5.95, 4.05), (5.39, 4.05))
    d.path("c", (5.15, 4.29), (5.15, 4.96))
    d.node("c", (2.75, 5.2), "*")
    d.node("c", (5.15, 4.05), "*")
    d.node("c", (5.15, 5.2), "+")
    d.path("c o h" if peepholes else "c h", (5.39, 5.2), (7.5, 5.2), head=False)
    d.path("c h", (7.5, 5.2), (9.2, 5.2), head=False)
    d.path("c", (9.2, 5.2), (10.2, 5.2))
    d.label("c", (10.55, 5.2), "$c_t$")
    # the output
    d.path("h", (9.2, 5.2), (9.2, 4.4))
    d.fork("c h", (9.2, 5.2))
    d.box("h", (9.2, 4.05), r"$\tanh$")
    d.path("h", (9.2, 3.7), (9.2, 2.44))
    d.path("h", (8.48, 2.2), (8.96, 2.2))
    d.node("h", (9.2, 2.2), "*")
    d.path("h", (9.44, 2.2), (10.2, 2.2))
    d.label("h", (10.55, 2.2), "$h_t$")
    if peepholes:
        d.path("f i", (1.5, 5.2), (1.5, 3.4), (2.35, 3.4), head=False, dashed=True)
        d.path("f", (2.35, 3.4), (2.35, 2.7), dashed=True)
        d.path("i", (2.35, 3.4), (3.95, 3.4), (3.95, 2.7), dashed=True, over=True)
        d.path("o", (7.5, 5.2), (7.5, 2.7), dashed=True)
        d.fork("f i c", (1.5, 5.2))
        d.fork("f i", (2.35, 3.4))
        d.fork("c o h", (7.5, 5.2))


def cell_diagram(unit: str, lit: Iterable[str] = (), ax: Axes | None = None, *, peepholes: bool = True) -> Axes:
    """Draw one step of a unit ("tanh", "gru", "lstm") with its equations below; the parts in `lit` stand out.

    Parts: tanh "h"; GRU "z", "r", "h_tilde", "h"; LSTM "i", "f", "c_tilde", "c", "o", "h". With nothing lit the whole
    diagram has full strength. A circle with a dot is a product number by number, one with a cross a sum; a dot on a
    line is a fork; lines that cross on a bridge do not meet; dashed lines are peepholes (LSTM, left out with
    peepholes=False). Raises ValueError for an unknown unit or part, and lists the known ones.
    """
    check_unit(unit)
    lit, parts = frozenset(lit), UNITS[unit].parts
    if not lit <= set(parts):
        unknown = ", ".join(sorted(lit - set(parts)))
        raise ValueError(f"unknown part {unknown} of {unit}: the known parts are {', '.join(parts)}")
    width, top, columns = {"tanh": (7.1, 3.4, 1), "gru": (10.4, 5.75, 2), "lstm": (10.9, 5.95, 2)}[unit]
    rows = len(parts) // columns
    bottom = -1.0 - 0.55 * rows
    if ax is None:
        ax = plt.figure(figsize=(INCHES * (width + 0.15), INCHES * (top - bottom)), layout="none").add_axes(
            (0, 0, 1, 1)
        )
    ax.set(xlim=(-0.15, width), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    canvas = _Canvas(ax, UNITS[unit].color, lit)
    if unit == "lstm":
        _lstm(canvas, peepholes)
    else:
        {"tanh": _tanh, "gru": _gru}[unit](canvas)
    for k, part in enumerate(parts):
        text = f"${UNITS[unit].equation(part, peepholes=peepholes)}$"
        column, row = divmod(k, rows)
        at = (width / 2, -1.1) if columns == 1 else (0.15 + column * (0.2 + width / 2), -1.1 - 0.55 * row)
        canvas.label(part, at, text, 13, "center" if columns == 1 else "left")
    return ax

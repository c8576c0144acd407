"""The plots of what a network reads, computes and learns, in the book's one style, drawn for a light page.

A notebook stores them as SVG; when the book is built each gets a twin in the colours of a dark page (`palette`). Heat
maps use the book's own colour maps, which begin at the page's colour in both: the stronger, the larger.
Every function draws on the Axes it is given, or makes a figure of its own, and returns what it drew on; none shows it.
T = steps, H = hidden size. A unit has the same colour everywhere (`COLORS`). The plots of results are in `charts`, the
diagrams of the units in `diagrams`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .extras import Extra
from .palette import COLORS, DIM_TEXT, INK, MAPS, MORE, ramp
from .rolls import LOWEST_PITCH, PITCHES, check_roll, held_notes
from .units import SIGMOID_GATES, SYMBOLS, UNITS

with Extra("figures"):
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

NAMES = {name: unit.title for name, unit in UNITS.items()}
MARKERS = {name: unit.marker for name, unit in UNITS.items()}
WIDTH = 6.0  # inches, 576 pixels on a page: type is a little smaller there than the text around it
RULE = "#DDDDDD"  # faint lines
STYLE: dict[Any, Any] = {
    "figure.figsize": (WIDTH, 3.6),
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.grid": False,
    "grid.color": RULE,
    "lines.linewidth": 1.8,
    "image.interpolation": "none",
    "image.composite_image": False,  # a heat map is stored with a pixel a value
    "mathtext.fontset": "cm",
    "svg.hashsalt": "gatedrnn",  # the same figure is the same file
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
}

for _name, _stops in MAPS.items():
    matplotlib.colormaps.register(ListedColormap(ramp(_stops[0]) / 255, _name), force=True)


def use_style() -> None:
    """Set matplotlib's defaults for the book; in a notebook, show figures as SVG that is the same every time."""
    plt.rcParams.update(STYLE)
    plt.rcParams["axes.prop_cycle"] = plt.cycler(color=[*COLORS.values(), *MORE, INK])
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})


def _axes(ax: Axes | None, height: float = 3.6) -> Axes:
    return plt.subplots(figsize=(WIDTH, height), layout="constrained")[1] if ax is None else ax


def _pitch_axis(ax: Axes, columns: Sequence[int]) -> None:
    """Show the pitches around `columns` and name the Cs and the Gs; MIDI pitch 60 is C4, the middle C."""
    lowest, highest = (min(columns), max(columns)) if len(columns) else (27, 63)
    low, high = min(lowest, highest - 12) - 1.5, max(highest, lowest + 12) + 1.5
    letters = {0: "C", 7: "G"}
    named = [c for c in range(PITCHES) if (c + LOWEST_PITCH) % 12 in letters and low < c < high]
    ax.set_ylim(low, high)
    ax.set_yticks(named, [f"{letters[(c + LOWEST_PITCH) % 12]}{(c + LOWEST_PITCH) // 12 - 1}" for c in named])
    ax.set_ylabel("pitch")


def _time_axis(ax: Axes, steps: int) -> None:
    """Number the steps from 1."""
    ax.set_xlim(0, steps)
    ticks = [1, *(int(t) for t in MaxNLocator(8, integer=True).tick_values(1, steps) if 1 < t <= steps)]
    ax.set_xticks([tick - 0.5 for tick in ticks], [f"{tick:.0f}" for tick in ticks])
    ax.set_xlabel("step $t$")


def piano_roll(roll: ArrayLike, ax: Axes | None = None, *, opening: int = 0, color: str = INK, title: str = "") -> Axes:
    """Draw a roll (T, 88), a bar a held note. The first `opening` steps are grey and end at a line: what was given.

    Faint lines stand four steps apart, a ruler only: a roll does not say where its bars begin. Raises ValueError for
    anything but a piano roll, and when the opening is longer than the roll.
    """
    roll, notes = check_roll(roll), held_notes(roll)
    if not 0 <= opening <= len(roll):
        raise ValueError(f"opening must be between 0 and the roll's {len(roll)} steps; it is {opening}.")
    ax = _axes(ax, 3.2)
    _time_axis(ax, len(roll))
    for x in range(4, len(roll), 4):
        ax.axvline(x, color=RULE, lw=0.8, zorder=0)
    _pitch_axis(ax, [column for column, _, _ in notes])
    for first, last, tone in ((0, opening, DIM_TEXT), (opening, len(roll), color)):
        cut = [(column, max(start, first), min(end, last)) for column, start, end in notes]
        bars = [Rectangle((s + 0.06, c - 0.42), e - s - 0.12, 0.84) for c, s, e in cut if e > s]
        ax.add_collection(PatchCollection(bars, facecolor=tone, edgecolor="none", zorder=2))
    if opening:
        ax.axvline(opening, color=INK, lw=1.4, ls=(0, (4, 2)))
        text: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        text |= {"va": "bottom", "fontsize": 9}
        ax.annotate("opening", (opening, 1), (-5, 3), ha="right", **text)
        ax.annotate("continuation", (opening, 1), (5, 3), ha="left", color=color, **text)
    if title:
        ax.set_title(title, pad=20 if opening else None)
    return ax


def gate_map(gates: Mapping[str, ArrayLike], roll: ArrayLike) -> Figure:
    """Draw heat maps of what a unit computes, units by steps, below the piano roll it reads; one time axis for all.

    gates: name -> (T, H). The hidden units stand in the order of their mean in the first map. Gates (z, r, i, f, o) are
    coloured from 0 to 1, all else from -1 to 1 around white; only c_t has no bound, so that its colours end where a
    tenth of its values lies further out.
    """
    arrays = {name: np.asarray(values) for name, values in gates.items()}
    order = np.argsort(next(iter(arrays.values())).mean(0), kind="stable")
    heights = [2.0, *[1.7] * len(arrays)]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(WIDTH, sum(heights) + 0.4), height_ratios=heights, sharex=True, layout="constrained"
    )
    piano_roll(roll, axes[0])
    for ax, (name, values) in zip(axes[1:], arrays.items(), strict=True):
        limit = float(np.quantile(np.abs(values), 0.9)) or 1.0 if name == "c" else 1.0
        scale = {"cmap": "gate", "vmin": 0} if name in SIGMOID_GATES else {"cmap": "signed", "vmin": -limit}
        box = (0, len(values), 0.5, values.shape[1] + 0.5)
        mesh = ax.imshow(values[:, order].T, origin="lower", aspect="auto", extent=box, vmax=limit, **scale)
        bar = figure.colorbar(mesh, ax=ax, pad=0.015, aspect=12, extend="both" if name == "c" else "neither")
        bar.set_label(f"${SYMBOLS[name]}$", rotation=0, fontsize=13, labelpad=10, va="center")
        bar.locator = MaxNLocator(2)
        _time_axis(ax, len(values))
        ax.set_yticks([1, values.shape[1]])
        ax.set_ylabel("hidden unit")
    for ax in axes:
        ax.label_outer()
    return figure


def gradient_flow_plot(flows: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Draw gradient norms by lag on a log scale: unit -> one norm of `diagnostics.gradient_flow`, (K,).

    Norms of exactly 0 are left out, for a log scale has no place for them.
    """
    ax = _axes(ax)
    for unit, flow in flows.items():
        norms = np.array(flow, dtype=float)
        norms[norms <= 0] = np.nan
        every = max(1, len(norms) // 8)
        style = {"color": COLORS[unit], "marker": MARKERS[unit], "markevery": every, "ms": 5}
        ax.semilogy(np.arange(len(norms)), norms, label=NAMES[unit], **style)
    ax.set_xlabel("lag $T - t$ (steps back)")
    ax.set_ylabel("gradient norm")
    ax.grid(axis="y")
    ax.legend(ncols=len(flows), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def learning_curves(
    histories: Mapping[str, Sequence], ax: Axes | None = None, *, by: str = "epoch", train: bool = True
) -> Axes:
    """Draw negative log-likelihood by "epoch", "update" or "seconds": unit -> the `training.History` of its members.

    For each unit: the mean over members on validation (solid) and, unless `train` is False, on training (dashed), and
    a band from the best to the worst member on validation. Members stop at different times; a curve ends where the
    first of its members ends, so that every point of it is a mean over the same members. By seconds, the members'
    curves are interpolated to common times. The frame ends at the highest validation value after the first epoch: what
    lies above it, the untrained model first of all, would flatten the rest and is cut. Raises ValueError for another
    `by`.
    """
    if by not in ("epoch", "update", "seconds"):
        raise ValueError(f"by must be epoch, update or seconds, not {by!r}")
    ax = _axes(ax)
    low, high = np.inf, -np.inf
    for unit, members in histories.items():
        color = COLORS[unit]
        times = [np.asarray(getattr(member, by), dtype=float) for member in members]
        grid = min(times, key=lambda own: own[-1])
        valid = np.array([np.interp(grid, own, member.valid) for own, member in zip(times, members, strict=True)])
        fitted = np.array([np.interp(grid, own, member.train) for own, member in zip(times, members, strict=True)])
        every = max(1, len(grid) // 8)
        ax.plot(grid, valid.mean(0), color=color, label=NAMES[unit], marker=MARKERS[unit], markevery=every, ms=5)
        if len(members) > 1:
            ax.fill_between(grid, valid.min(0), valid.max(0), color=color, alpha=0.2, linewidth=0)
        if train:
            ax.plot(grid, fitted.mean(0), color=color, ls=(0, (3, 1.5)), lw=1.6)
        after_first = valid[:, 1:] if len(grid) > 1 else valid
        low = min(low, np.nanmin(after_first), np.nanmin(fitted.mean(0), initial=np.inf) if train else np.inf)
        high = max(high, np.nanmax(after_first))
    margin = 0.06 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel({"epoch": "epoch", "update": "updates", "seconds": "seconds of training"}[by])
    ax.set_ylabel("NLL, nats a step")
    ax.grid(axis="y")
    ax.legend(ncols=len(histories), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    if train:
        ax.annotate("solid: validation, dashed: training", (1, 1), (0, -4), xycoords="axes fraction",
                    textcoords="offset points", ha="right", va="top", fontsize=9)  # fmt: skip
    return ax

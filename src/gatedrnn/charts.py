"""The plots of results: intervals, Table 2 as a forest, learning curves side by side, claims, the (train, test) plane.

Drawn as those of `figures` are, with one colour and one marker a unit. NLL in nats a step.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .claims import AGAINST, MISSING, MIXED, OPEN, SUPPORTED, Differences
from .comparison import PRINTED, SETS, Found, train_test
from .extras import Extra
from .figures import COLORS, INK, MARKERS, NAMES, RULE, WIDTH, learning_curves
from .palette import BAD, DIM_TEXT, GOOD, PAPER, UNSURE
from .statistics import Estimate, interval
from .units import UNITS

with Extra("records"):
    import pandas as pd
with Extra("figures"):
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

LOOKS = {  # label of a pair or a unit -> colour, marker; a pair looks like its second unit, LSTM - GRU like neither
    "tanh - GRU": (COLORS["gru"], MARKERS["gru"]),
    "tanh - LSTM": (COLORS["lstm"], MARKERS["lstm"]),
    "LSTM - GRU": (INK, "D"),
} | {NAMES[unit]: (COLORS[unit], MARKERS[unit]) for unit in UNITS}
SET_MARKERS = ("o", "s", "D", "^", "v", "P")  # a data set each, where colours tell the units apart
# how a column fills its marker
COLUMN_FACES: tuple[Literal["none", "full", "left", "right"], ...] = ("none", "full", "left", "right")
MOST = 20.0  # nats a step: the end of an axis of costs
TONES = {SUPPORTED: GOOD, AGAINST: BAD, OPEN: UNSURE, MIXED: UNSURE}


def _unit_handles(line: str = "-") -> list[Line2D]:
    return [Line2D([], [], color=COLORS[unit], marker=MARKERS[unit], ls=line, label=NAMES[unit]) for unit in UNITS]


def _grid(titles: Sequence[str], height: float, more: float, share: bool = False) -> tuple[Figure, list[Any]]:
    """A panel a title, two side by side; height : inches of a row of panels, and `more` for what stands around them."""
    rows = -(-len(titles) // 2)
    size = (WIDTH, more + height * rows)
    figure, grid = plt.subplots(
        rows, min(len(titles), 2), figsize=size, layout="constrained", squeeze=False, sharey=share
    )
    axes = list(grid.flat)
    for ax in axes[len(titles) :]:
        ax.remove()
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title)
    return figure, axes[: len(titles)]


def interval_plot(rows: Mapping[str, Mapping[str, Differences]], *, margin: float = 0.0, xlabel: str = "") -> Axes:
    """Draw means with 95 % intervals: row -> label -> values (a small mark each) or an `Estimate`, one below the other.

    Labels of LOOKS keep their colour and marker. margin : a band around 0, of differences that count as none.
    """
    ax = plt.subplots(figsize=(WIDTH, 0.9 + 0.5 * len(rows)), layout="constrained")[1]
    labels = list(dict.fromkeys(label for row in rows.values() for label in row))
    if margin:
        ax.axvspan(-margin, margin, color="#E8E8E8", lw=0, zorder=0)
    ax.axvline(0, color=INK, lw=1, ls=(0, (4, 2)))
    for at, row in enumerate(rows.values()):
        for label, values in row.items():
            color, marker = LOOKS.get(label, (INK, "o"))
            y = at + 0.8 * ((labels.index(label) + 0.5) / len(labels) - 0.5)
            mean, half = interval(values)
            ax.errorbar(mean, y, xerr=half, fmt=marker, color=color, capsize=3, ms=5, lw=1.6)
            if not isinstance(values, Estimate):
                ax.plot(values, np.full(len(values), y + 0.1), "|", color=color, ms=4)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(xlabel or "difference in test NLL, nats a step")
    looks = {label: LOOKS.get(label, (INK, "o")) for label in labels}
    handles = [Line2D([], [], color=c, marker=m, ls="", label=label) for label, (c, m) in looks.items()]
    ax.legend(handles=handles, ncols=len(labels), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def forest(frame: pd.DataFrame) -> Figure:
    """Table 2 of the paper as a figure: a panel a data set, a line a unit, a marker a column with its 95 % interval.

    frame : rows of `comparison.table`. A star is the paper's printed figure; columns differ in how their marker is
    filled, in the order of the rows. Each panel has its own scale.
    """
    columns, sets = list(dict.fromkeys(frame["column"])), list(dict.fromkeys(frame["data"]))
    if len(columns) > len(COLUMN_FACES):
        raise ValueError(f"a forest tells {len(COLUMN_FACES)} columns apart, not {len(columns)}: choose some")
    figure, axes = _grid([SETS.get(name, name) for name in sets], 1.35, 0.9, share=True)
    for ax, name in zip(axes, sets, strict=True):
        for _, row in frame[frame["data"] == name].iterrows():
            unit, k = row["unit"], columns.index(row["column"])
            y = list(UNITS).index(unit) + 0.5 * ((k + 0.5) / len(columns) - 0.5)
            look = {"color": COLORS[unit], "fillstyle": COLUMN_FACES[k], "ms": 6, "capsize": 3, "lw": 1.6}
            ax.errorbar(row[f"test_{PRINTED}"], y, xerr=row[f"test_{PRINTED}_ci"], fmt=MARKERS[unit], **look)
            if pd.notna(row.get("paper")):
                ax.plot(row["paper"], list(UNITS).index(unit), "*", color=INK, ms=9, zorder=3)
        ax.grid(axis="x")
    axes[0].set_yticks(range(len(UNITS)), list(NAMES.values()))
    axes[0].set_ylim(len(UNITS) - 0.5, -0.5)
    figure.supxlabel("test NLL, nats a step", fontsize=10)
    faces = zip(columns, COLUMN_FACES, strict=False)
    handles = [Line2D([], [], color=INK, marker="o", ls="", fillstyle=face, label=column) for column, face in faces]
    if "paper" in frame and frame["paper"].notna().any():
        handles.append(Line2D([], [], color=INK, marker="*", ms=9, ls="", label="the paper's figure"))
    figure.legend(handles=handles, ncols=len(handles), loc="outside upper center")
    return figure


def cost_panels(
    panels: Mapping[str, Mapping[tuple[str, str], Mapping[str, Estimate]]], *, linear: float = 0.1
) -> Figure:
    """Draw what parts of units cost, panels side by side with common rows: title -> (unit, part) -> data set -> cost.

    Rows have their unit's colour, data sets a marker each, with a 95 % interval. The axis is straight between -linear
    and +linear and logarithmic beyond, so that small and large costs can be read off one figure; a cost above MOST is
    an arrow at its end, and on the left the axis ends soon after the last mean, wherever an interval ends.
    """
    rows = list(dict.fromkeys(row for panel in panels.values() for row in panel))
    seen = dict.fromkeys(name for panel in panels.values() for row in panel.values() for name in row)
    sets = [*(name for name in SETS if name in seen), *(name for name in seen if name not in SETS)]
    markers = dict(zip(sets, SET_MARKERS, strict=False))
    if len(sets) > len(SET_MARKERS):
        raise ValueError(f"cost panels tell {len(SET_MARKERS)} data sets apart, not {len(sets)}: choose some")
    figure, axes = plt.subplots(
        1, len(panels), figsize=(WIDTH, 1.1 + len(rows) * (0.16 + 0.11 * len(sets))), layout="constrained",
        sharex=True, sharey=True, squeeze=False,
    )  # fmt: skip
    for ax, (title, panel) in zip(axes.flat, panels.items(), strict=True):
        ax.set_xscale("symlog", linthresh=linear, linscale=1.2)
        ax.axvline(0, color=INK, lw=1, ls=(0, (4, 2)))
        for (unit, part), row in panel.items():
            for name, cost in row.items():
                y = rows.index((unit, part)) + 0.76 * ((sets.index(name) + 0.5) / len(sets) - 0.5)
                look = {"color": COLORS[unit], "ms": 4.5, "capsize": 2, "lw": 1.4}
                if cost.mean > MOST:
                    ax.plot(MOST, y, ">", color=COLORS[unit], ms=6, clip_on=False)
                else:
                    ax.errorbar(cost.mean, y, xerr=cost.half, fmt=markers[name], **look)
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color=INK if rows[y][0] != rows[y - 1][0] else RULE, lw=0.8, zorder=0)
        ax.set_title(title)
        ax.grid(axis="x")
    ends = [linear, *([linear / 2] if len(panels) < 2 else []), *(t for t in (0.1, 1, 10, 100) if t > 4 * linear)]
    low, high = axes[0, 0].get_xlim()
    least = min((cost.mean for panel in panels.values() for row in panel.values() for cost in row.values()), default=0)
    low = max(low, 2 * min(least, -linear))
    axes[0, 0].set_xlim(low, high)
    left = sorted(-end for end in ends if low <= -end)
    if len(panels) > 1:  # narrow ones, where marks on the left would touch
        del left[1:]
    ticks = [*left, 0, *(end for end in ends if end <= high)]
    axes[0, 0].set_xticks(ticks, [f"{tick:g}".replace("-", "\u2212") for tick in ticks])
    axes[0, 0].minorticks_off()
    axes[0, 0].set_yticks(range(len(rows)), [f"{NAMES[unit]}, {part}" for unit, part in rows])
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel("cost in test NLL, nats a step", fontsize=10)
    looks = [(SETS.get(name, name), marker) for name, marker in markers.items()]
    handles = [Line2D([], [], color=INK, marker=marker, ls="", ms=5, label=name) for name, marker in looks]
    figure.legend(handles=handles, ncols=len(handles), loc="outside upper center")
    return figure


def small_multiples(runs: Mapping[str, Mapping[str, Sequence]], *, by: str, xlabel: str = "") -> Figure:
    """Draw mean validation curves with their range, a panel a data set: data set -> unit -> `claims.histories`.

    A panel begins where the first twentieth of the slowest curve has passed: what lies above would flatten the rest.
    """
    figure, axes = _grid([SETS.get(name, name) for name in runs], 2.2, 0.6)
    for ax, units in zip(axes, runs.values(), strict=True):
        learning_curves(units, ax, by=by, train=False)
        ax.get_legend().remove()
        members = [run for several in units.values() for run in several]
        ends = [run.best_valid for run in members]
        early = [run.valid[min(len(run.valid) // 20 + 1, len(run.valid) - 1)] for run in members]
        low, high = min(ends), max(*early, *ends)
        ax.set_ylim(low - 0.05 * (high - low), high + 0.02 * (high - low))
        ax.set(xlabel="", ylabel="")
    figure.legend(handles=_unit_handles(), ncols=len(UNITS), loc="outside upper center")
    figure.supxlabel(xlabel or {"epoch": "epoch", "update": "updates", "seconds": "seconds"}[by], fontsize=10)
    figure.supylabel("validation NLL, nats a step", fontsize=10)
    return figure


def claim_matrix(
    judged: Mapping[str, Mapping[str, str]],
    texts: Mapping[str, Mapping[str, str]] | None = None,
    names: Mapping[str, str] = SETS,
) -> Axes:
    """Draw claim x data set as a field of coloured cells: claim -> data set -> verdict, as `claims.judged` gives them.

    A cell shows a sign, so that it can be read without colour, and below it its `texts`, e.g. an interval in two lines:
    "+" the claim holds, "−" it does not, "?" the interval leaves it open, "±" it is mixed (of several data sets), empty
    where no record is.
    """
    sets = list(dict.fromkeys(name for row in judged.values() for name in row))
    signs = {SUPPORTED: "+", AGAINST: "−", OPEN: "?", MIXED: "±", MISSING: ""}
    ax = plt.subplots(figsize=(WIDTH, 0.7 + 0.62 * len(judged)), layout="constrained")[1]
    for y, (claim, row) in enumerate(judged.items()):
        for x, name in enumerate(sets):
            verdict = row.get(name, MISSING)
            tone = TONES.get(verdict, PAPER)
            ax.add_patch(Rectangle((x + 0.03, y + 0.05), 0.94, 0.9, facecolor=tone, edgecolor=RULE))
            below = (texts or {}).get(claim, {}).get(name, "")
            ax.text(x + 0.5, y + (0.26 if below else 0.5), signs[verdict], ha="center", va="center", fontsize=12)
            ax.text(x + 0.5, y + 0.67, below, ha="center", va="center", fontsize=8, linespacing=1)
    ax.set(xlim=(0, len(sets)), ylim=(len(judged), 0))
    titles = [names.get(name, name).replace(" ", "\n").replace("-", "-\n") for name in sets]
    ax.set_xticks(np.arange(len(sets)) + 0.5, titles)
    ax.set_yticks(np.arange(len(judged)) + 0.5, list(judged))
    ax.xaxis.tick_top()
    ax.tick_params(length=0, labelsize=8.5)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def train_test_plane(found: Found, data: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draw every recorded network at (train, test), a panel a data set, with the paper's figures as stars.

    Whole units, that is: a variant in `found` is passed over. Networks of a unit share a colour and a marker; those of
    the first of `columns` are filled. On the dotted line both parts are fitted alike.
    """
    wholes = {at: record for at, record in found.items() if len(at) == 3}
    chosen = [record for (column, name, _), record in wholes.items() if column in columns and name in data]
    points = train_test(chosen, PRINTED)
    figure, axes = _grid([SETS.get(name, name) for name in data], 2.6, 0.7)
    for ax, name in zip(axes, data, strict=True):
        here = points[points["data"] == name]
        for (column, unit), group in here.groupby(["column", "unit"]):
            if column == "printed":
                ax.plot(group["train"], group["test"], "*", color=COLORS[unit], mec=INK, ms=12, zorder=3)
            else:
                face = "full" if column == columns[0] else "none"
                ax.plot(group["train"], group["test"], MARKERS[unit], color=COLORS[unit], fillstyle=face, ms=5)
        ends = np.array([here[["train", "test"]].min().max(), here[["train", "test"]].max().min()])
        ax.plot(ends, ends, ls=":", color=DIM_TEXT, lw=1.2, zorder=0)
    star = Line2D([], [], color=PAPER, marker="*", mec=INK, ms=10, ls="", label="the paper's figure")
    handles = [*_unit_handles(""), star]
    figure.legend(handles=handles, ncols=len(handles), loc="outside upper center")
    figure.supxlabel("train NLL, nats a step", fontsize=10)
    figure.supylabel("test NLL, nats a step", fontsize=10)
    return figure

"""Curves and points that a reader chooses from: families of curves, a memory with three sliders, tables of results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from . import markup
from .panel import COLORS, MORE, About, Panel, array, color_of
from .words import compact, escape, phrase

Choices = Mapping[str, Sequence]
NUMBERS = ("value", "low", "high", "reference")  # of a row of `explorer`


def slider(
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    sliders: Choices,
    *,
    start: Mapping[str, object] | None = None,
    readout: str = "",
    values: Mapping[str, ArrayLike] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    ylim: tuple[float, float] | None = None,
    fit: str = "",
    lines: Sequence[tuple[str, float, str]] = (),
    points: bool = False,
    **about: Unpack[About],
) -> Panel:
    """A family of curves, computed beforehand; one or more sliders choose which member is shown.

    sliders : label -> values; numbers make a slider, words a menu. curves : name -> array (n_1, ..., n_k, len(x)), one
    leading axis a slider. x : (n,), or with the same leading axes. values : further numbers for the readout, each
    (n_1, ..., n_k) or (n_k) and the like, that broadcasts. readout : a sentence with {value:.2f}, {value:.1e} or
    {slider label}. start : label -> value to begin with, by default the first. log : axes with a logarithmic scale,
    "x", "y" or "xy"; fit : axes whose range follows what is shown. lines : ("y" or "x", value, label). Raises
    ValueError where shapes do not fit, a start is not among the values or the readout names what is not there.
    """
    shape = tuple(len(options) for options in sliders.values())
    family = {key: array(y) for key, y in curves.items()}
    if not sliders or not family:
        raise ValueError("A slider needs at least one slider and one curve.")
    x = array(x)
    n = x.shape[-1]
    for key, y in family.items():
        if y.shape != (*shape, n):
            raise ValueError(f"The curve {key!r} must have shape {(*shape, n)}, one axis a slider; it has {y.shape}.")
    if x.shape not in ((n,), (*shape, n)):
        raise ValueError(f"x must have shape ({n},) or {(*shape, n)}; it has {x.shape}.")
    numbers = {key: compact(np.broadcast_to(array(v), shape).ravel(), 6) for key, v in (values or {}).items()}
    spec = {
        "x": axis(xlabel, "x" in log, None, [x], "x" in fit),
        "y": axis(ylabel, "y" in log, ylim, [*family.values(), [v for w, v, _ in lines if w == "y"]], "y" in fit),
        "lines": [[which, float(value), label] for which, value, label in lines],
        "points": points,
    }
    controls, chosen = menus(sliders, start)
    k = int(np.ravel_multi_index(chosen, shape))
    places = compact(x if x.ndim == 1 else x.reshape(-1, n))
    flat = [
        {"name": key, "color": color_of(key, j), "x": places, "y": compact(y.reshape(-1, n))}
        for j, (key, y) in enumerate(family.items())
    ]
    data: dict[str, Any] = {"controls": controls, "start": chosen, "chart": spec, "readout": readout}
    data |= {"curves": flat, "values": numbers}
    shown = [curve | {"x": places if x.ndim == 1 else places[k], "y": curve["y"][k]} for curve in flat]
    words = {c["label"]: c["options"][i] for c, i in zip(controls, chosen, strict=True)}
    words |= {key: v[k] for key, v in numbers.items()}
    about.setdefault("title", "Move the slider")
    summary = f"{', '.join(family)} by {', '.join(sliders)}; {int(np.prod(shape))} settings"
    return _chart(data, shown, words, summary, about)


def latch(offers: ArrayLike, *, write: Sequence[int] = (), show: Sequence[int] = (), **about: Unpack[About]) -> Panel:
    """An LSTM's memory of one unit, c_t = f c_{t-1} + i n_t and h_t = o tanh(c_t), with a slider for each gate.

    offers : the candidates n_t, (T,). At the steps `write` (counted from 0) f is 0 and i is 1, at the steps `show` o is
    1; the sliders set the gates at all other steps, and begin with f = 1, i = o = 0: the memory is kept and not shown.
    Raises ValueError for another shape and a step that is not there.
    """
    offers = array(offers)
    if offers.ndim != 1 or not len(offers):
        raise ValueError(f"offers must be one axis of candidates; it has shape {offers.shape}.")
    if not set(write) | set(show) <= set(range(len(offers))):
        raise ValueError(f"write and show hold steps between 0 and {len(offers) - 1}.")
    c, h = run_latch(offers, write, show, 1.0, 0.0, 0.0)
    steps = list(range(1, len(offers) + 1))
    shown = [
        {"name": name, "color": color, "x": steps, "y": compact(y), "dots": name == "offered"}
        for name, color, y in (("memory c", COLORS["lstm"], c), ("shown h", MORE[0], h), ("offered", "#999999", offers))
    ]
    options = [round(0.05 * k, 2) for k in range(21)]
    controls, chosen = menus({"f": options, "i": options, "o": options}, {"f": 1.0})
    top = 1.1 * max(1.0, float(np.abs(c).max()))
    spec = {
        "x": {"label": "step t", "log": False, "lim": [0.5, len(offers) + 0.5]},
        "lines": [["y", 0.0, ""]],
        "points": False,
        "y": {"label": "", "log": False, "lim": [-top, top]},
    }
    readout = (
        "f = {f:.2f} while holding, i = {i:.2f} while not writing, o = {o:.2f} while not asked; last memory {c:.3f}"
    )
    data = {"controls": controls, "start": chosen, "chart": spec, "readout": readout, "curves": shown}
    data |= {"model": {"offers": compact(offers, 6), "write": list(map(int, write)), "show": list(map(int, show))}}
    about.setdefault("title", "Three gates and a memory")
    summary = f"{len(offers)} steps, f = 1, i = 0, o = 0, last memory {c[-1]:.3f}"
    return _chart(data, shown, {"f": 1.0, "i": 0.0, "o": 0.0, "c": float(c[-1])}, summary, about)


def run_latch(offers: np.ndarray, write, show, f: float, i: float, o: float) -> tuple[np.ndarray, np.ndarray]:
    """Memory c and output h at every step, (T,) each."""
    c, memory, shown = 0.0, [], []
    for t, offer in enumerate(offers):
        c = offer if t in write else f * c + i * offer
        memory.append(c)
        shown.append((1.0 if t in show else o) * np.tanh(c))
    return np.array(memory), np.array(shown)


def explorer(
    rows: Iterable[Mapping],
    selects: Sequence[str],
    *,
    reference: str = "",
    baseline: str = "",
    best: str = "",
    start: Mapping[str, object] | None = None,
    xlabel: str = "",
    titles: Mapping[str, str] | None = None,
    **about: Unpack[About],
) -> Panel:
    """Values with intervals, a row a unit; menus choose what they are of.

    rows : mappings (or a table's records) that hold the columns `selects`, "unit", "value", and, where there are some,
    "low" and "high" (the interval) and `reference` (a diamond, such as the paper's figure). A combination that is not
    there says so. baseline : a unit whose value becomes a line through the others. best : "lowest" or "highest", named
    below. titles : how column names, options and units read. Raises ValueError when a column is missing, when a
    combination comes twice, or for another `best`.
    """
    rows = list(rows.to_dict("records") if hasattr(rows, "to_dict") else rows)
    if best not in ("", "lowest", "highest"):
        raise ValueError(f"best must be 'lowest' or 'highest', not {best!r}.")
    if not rows:
        raise ValueError("There are no rows to explore.")
    for column in (*selects, "unit", "value"):
        if any(column not in row for row in rows):
            raise ValueError(f"Every row needs the column {column!r}.")
    titles = titles or {}
    options = {s: list(dict.fromkeys(row[s] for row in rows)) for s in selects}
    units = list(dict.fromkeys(row["unit"] for row in rows))
    cells: dict[tuple[int, ...], list] = {}
    for row in rows:
        at = (*(options[s].index(row[s]) for s in selects), units.index(row["unit"]))
        if at in cells:
            place = ", ".join(str(row[column]) for column in (*selects, "unit"))
            raise ValueError(f"Two rows stand for the same place: {place}.")
        cells[at] = [None if row.get(k) is None else float(row[k]) for k in (*NUMBERS[:3], reference)]
    controls, chosen = menus({s: [str(o) for o in os] for s, os in options.items()}, start, titles)
    read = [titles.get(unit, str(unit)) for unit in units]
    colors = [COLORS.get(str(unit), markup.INK) for unit in units]
    spec = {"x": {"label": xlabel, "log": False, "lim": None}, "lines": [], "points": False}
    data = {"controls": controls, "start": chosen, "chart": spec, "categories": read, "colors": colors, "best": best}
    data |= {"baseline": units.index(baseline) if baseline else None, "digits": 2}
    data |= {"cells": [[*at, *compact(numbers, 6)] for at, numbers in cells.items()]}
    shown, spec_now, words = explored(data, chosen)
    title = about.setdefault("title", "Results")
    left = round(18 + 8.2 * max(map(len, read)))
    picture = markup.plot(markup.forest(spec_now, shown), 42 * len(read), about.get("alt") or title, left=left, top=20)
    summary = f"{len(cells)} values by {', '.join((*selects, 'unit'))}"
    return Panel("explorer", picture=picture, data=data, summary=summary, readout=escape(words), **about)


def explored(data: Mapping, chosen: Sequence[int]) -> tuple[list[dict], dict, str]:
    """The rows, the specification and the sentence that one choice of the menus shows."""
    found = {row[len(chosen)]: row[len(chosen) + 1 :] for row in data["cells"] if row[: len(chosen)] == list(chosen)}
    shown = [
        {"name": name, "color": color} | dict(zip(NUMBERS, found.get(k, [None] * 4), strict=True))
        for k, (name, color) in enumerate(zip(data["categories"], data["colors"], strict=True))
    ]
    base = None if data["baseline"] is None else shown[data["baseline"]]["value"]
    parts, there = [], [row for row in shown if row["value"] is not None]
    for row in there:
        interval = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
        parts.append(f"{row['name']}: {row['value']:.2f}{interval}")
    text = "; ".join(parts) or "no record"
    if data["best"] and there:
        winner = (min if data["best"] == "lowest" else max)(there, key=lambda row: row["value"])
        text += f". {data['best'].capitalize()}: {winner['name']}."
    lines = [] if base is None else [["x", base, ""]]
    return shown, data["chart"] | {"lines": lines}, text.replace("-", "−")


def axis(label: str, log: bool, lim, groups: Sequence, fit: bool) -> dict:
    """An axis of a chart; without limits it takes the range of all groups, with fit=True that of what is shown."""
    if lim is None and not fit:
        lim = markup.limits(groups, log)
    return {"label": label, "log": log, "lim": None if lim is None else compact(lim, 6)}


def menus(choices: Choices, start: Mapping | None, titles: Mapping | None = None) -> tuple[list[dict], list[int]]:
    """What the controls offer, and the place of the start in each."""
    controls, chosen, start, titles = [], [], start or {}, titles or {}
    if unknown := set(start) - set(choices):
        raise ValueError(f"start names {', '.join(map(str, unknown))}: the controls are {', '.join(choices)}.")
    for label, options in choices.items():
        words = all(isinstance(option, str) for option in options)
        options = list(options) if words else [float(option) for option in options]
        wanted = start.get(label, options[0])
        if wanted not in options:
            raise ValueError(f"start: {label} has no value {wanted!r}.")
        chosen.append(options.index(wanted))
        shown = [titles.get(option, option) for option in options] if words else compact(options, 6)
        controls.append({"label": titles.get(label, label), "options": shown, "menu": words})
    return controls, chosen


def _chart(data: Mapping, shown: list[dict], words: Mapping, summary: str, about: About) -> Panel:
    """The panel of a chart. Raises ValueError when its readout names what is not among `words`."""
    try:
        readout = escape(phrase(data["readout"], words))
    except KeyError as error:
        raise ValueError(f"The readout names {error}: it may name {', '.join(words)}.") from None
    chosen = (f"{c['label']} = {c['options'][i]}" for c, i in zip(data["controls"], data["start"], strict=True))
    alt = about.get("alt") or f"{about['title']}: {', '.join(chosen)}"
    picture = markup.legend(shown) + markup.plot(markup.chart(data["chart"], shown), 260, alt, top=28)
    return Panel("slider", picture=picture, data=data, summary=summary, readout=readout, **about)

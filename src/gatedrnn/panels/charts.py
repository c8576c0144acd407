"""Curves and points that a reader chooses from: families of curves, a memory with three sliders, tables of results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import markup
from .panel import COLORS, Panel, array, color_of
from .words import compact, escape, phrase

Choices = Mapping[str, Sequence]


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
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    fit: str = "",
    lines: Iterable[tuple[str, float, str]] = (),
    points: bool = False,
    colors: Mapping[str, str] | None = None,
    height: int = 260,
    title: str = "Move the slider",
    alt: str = "",
    caption: str = "",
    name: str = "",
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
    family = {key: array(y).astype(float) for key, y in curves.items()}
    if not sliders or not family:
        raise ValueError("A slider needs at least one slider and one curve.")
    x = array(x).astype(float)
    n = x.shape[-1]
    for key, y in family.items():
        if y.shape != (*shape, n):
            raise ValueError(f"The curve {key!r} must have shape {(*shape, n)}, one axis a slider; it has {y.shape}.")
    if x.shape not in ((n,), (*shape, n)):
        raise ValueError(f"x must have shape ({n},) or {(*shape, n)}; it has {x.shape}.")
    numbers = {key: np.broadcast_to(array(v).astype(float), shape) for key, v in (values or {}).items()}
    spec = {
        "x": axis(xlabel, "x" in log, xlim, [x], "x" in fit),
        "y": axis(ylabel, "y" in log, ylim, [*family.values(), [v for w, v, _ in lines if w == "y"]], "y" in fit),
        "lines": [[which, float(value), label] for which, value, label in lines],
        "points": points,
    }
    controls, chosen = menus(sliders, start)
    k = int(np.ravel_multi_index(chosen, shape))
    flat = [
        {
            "name": key,
            "color": (colors or {}).get(key) or color_of(key, j),
            "x": compact(x if x.ndim == 1 else x.reshape(-1, n)),
            "y": compact(y.reshape(-1, n)),
        }
        for j, (key, y) in enumerate(family.items())
    ]
    data: dict[str, Any] = {"controls": controls, "start": chosen, "chart": spec, "readout": readout}
    data |= {"curves": flat, "values": {key: compact(v.ravel(), 6) for key, v in numbers.items()}}
    shown = [c | {"x": c["x"] if x.ndim == 1 else c["x"][k], "y": c["y"][k]} for c in flat]
    words = {c["label"]: c["options"][i] for c, i in zip(controls, chosen, strict=True)}
    words |= {key: v[k] for key, v in data["values"].items()}
    summary = f"{', '.join(family)} by {', '.join(sliders)}; {int(np.prod(shape))} settings"
    return _chart("slider", data, shown, sentence(readout, words), height, summary, title, alt, caption, name)


def latch(
    offers: ArrayLike,
    *,
    write: Sequence[int] = (),
    show: Sequence[int] = (),
    f: float = 1.0,
    i: float = 0.0,
    o: float = 0.0,
    title: str = "Three gates and a memory",
    alt: str = "",
    caption: str = "",
    name: str = "",
) -> Panel:
    """An LSTM's memory of one unit, c_t = f c_{t-1} + i n_t and h_t = o tanh(c_t), with a slider for each gate.

    offers : the candidates n_t, (T,). At the steps `write` (counted from 0) f is 0 and i is 1, at the steps `show` o is
    1; the sliders set the gates at all other steps. The start is given by f, i and o. Raises ValueError for another
    shape, a step that is not there and a gate outside [0, 1].
    """
    offers = array(offers).astype(float)
    if offers.ndim != 1 or not len(offers):
        raise ValueError(f"offers must be one axis of candidates; it has shape {offers.shape}.")
    if not set(write) | set(show) <= set(range(len(offers))):
        raise ValueError(f"write and show hold steps between 0 and {len(offers) - 1}.")
    if not all(0 <= gate <= 1 for gate in (f, i, o)):
        raise ValueError("A gate lies between 0 and 1.")
    c, h = run_latch(offers, write, show, f, i, o)
    steps = list(range(1, len(offers) + 1))
    colors = {"memory c": COLORS["lstm"], "shown h": "#CC79A7", "offered": "#999999"}
    shown = [
        {"name": key, "color": colors[key], "x": steps, "y": compact(y), "dots": key == "offered"}
        for key, y in zip(colors, (c, h, offers), strict=True)
    ]
    options = [round(0.05 * k, 2) for k in range(21)]
    controls, _ = menus({"f": options, "i": options, "o": options}, None)
    spec = {"x": axis("step t", False, (0.5, len(offers) + 0.5), [], False), "lines": [["y", 0.0, ""]], "points": False}
    top = 1.1 * max(1.0, float(np.abs(c).max()))
    spec["y"] = {"label": "", "log": False, "lim": [-top, top]}
    readout = (
        "f = {f:.2f} while holding, i = {i:.2f} while not writing, o = {o:.2f} while not asked; last memory {c:.3f}"
    )
    # The nearest options stand for what was asked; the curves of the start are exact.
    chosen = [round(20 * gate) for gate in (f, i, o)]
    data = {"controls": controls, "start": chosen, "chart": spec, "readout": readout, "curves": shown}
    data |= {"model": {"offers": compact(offers, 6), "write": list(map(int, write)), "show": list(map(int, show))}}
    words = {"f": f, "i": i, "o": o, "c": float(c[-1])}
    summary = f"{len(offers)} steps, f = {f:g}, i = {i:g}, o = {o:g}, last memory {c[-1]:.3f}"
    return _chart("slider", data, shown, sentence(readout, words), 260, summary, title, alt, caption, name)


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
    category: str = "unit",
    value: str = "value",
    low: str = "low",
    high: str = "high",
    reference: str = "",
    baseline: str = "",
    best: str = "",
    start: Mapping[str, object] | None = None,
    xlabel: str = "",
    digits: int = 2,
    log: bool = False,
    titles: Mapping[str, str] | None = None,
    title: str = "Results",
    alt: str = "",
    caption: str = "",
    name: str = "",
) -> Panel:
    """Values with intervals, a row a category; menus choose what they are of.

    rows : mappings (or a table's records) that hold the columns `selects`, `category`, `value`, and, where there are
    some, `low` and `high` (the interval) and `reference` (a diamond, such as the paper's figure). A combination that
    is not there says so. baseline : a category whose value becomes a line through the others. best : "lowest" or
    "highest", named below. titles : how column names, options and categories read. Raises ValueError when a column is
    missing, when a combination comes twice, or for another `best`.
    """
    rows = list(rows.to_dict("records") if hasattr(rows, "to_dict") else rows)
    if best not in ("", "lowest", "highest"):
        raise ValueError(f"best must be 'lowest' or 'highest', not {best!r}.")
    if not rows:
        raise ValueError("There are no rows to explore.")
    for column in (*selects, category, value):
        if any(column not in row for row in rows):
            raise ValueError(f"Every row needs the column {column!r}.")
    titles = titles or {}
    options = {s: list(dict.fromkeys(row[s] for row in rows)) for s in selects}
    categories = list(dict.fromkeys(row[category] for row in rows))
    cells: dict[tuple[int, ...], list] = {}
    for row in rows:
        at = (*(options[s].index(row[s]) for s in selects), categories.index(row[category]))
        if at in cells:
            raise ValueError(
                f"Two rows stand for the same place: {', '.join(str(row[s]) for s in (*selects, category))}."
            )
        cells[at] = [None if row.get(k) is None else float(row[k]) for k in (value, low, high, reference)]
    controls, chosen = menus({s: [str(o) for o in os] for s, os in options.items()}, start, titles)
    read = [titles.get(c, str(c)) for c in categories]
    colors = [COLORS.get(str(c), markup.INK) for c in categories]
    spec = {"x": {"label": xlabel, "log": log, "lim": None}, "lines": [], "points": False}
    data = {"controls": controls, "start": chosen, "chart": spec, "categories": read, "colors": colors, "best": best}
    data |= {"baseline": categories.index(baseline) if baseline else None, "digits": digits}
    data |= {"cells": [[*at, *compact(numbers, 6)] for at, numbers in cells.items()]}
    shown, spec_now, words = explored(data, chosen)
    left = 18 + 8.2 * max(map(len, read))
    picture = markup.plot(markup.forest(spec_now, shown), 42 * len(read), alt or title, left=round(left), top=20)
    summary = f"{len(cells)} values by {', '.join((*selects, category))}"
    return Panel("explorer", title, picture, data, summary, escape(words), caption, name)


def explored(data: Mapping, chosen: Sequence[int]) -> tuple[list[dict], dict, str]:
    """The rows, the specification and the sentence that one choice of the menus shows."""
    found = {row[len(chosen)]: row[len(chosen) + 1 :] for row in data["cells"] if row[: len(chosen)] == list(chosen)}
    shown = [
        dict(
            zip(("name", "color", "value", "low", "high", "reference"), (n, c, *found.get(k, [None] * 4)), strict=True)
        )
        for k, (n, c) in enumerate(zip(data["categories"], data["colors"], strict=True))
    ]
    lines = []
    if data["baseline"] is not None and shown[data["baseline"]]["value"] is not None:
        lines = [["x", shown[data["baseline"]]["value"], ""]]
    parts, there = [], [row for row in shown if row["value"] is not None]
    for row in there:
        digits = data["digits"]
        words = f"{row['name']}: {row['value']:.{digits}f}"
        if row["low"] is not None:
            words += f" ({row['low']:.{digits}f} to {row['high']:.{digits}f})"
        parts.append(words)
    text = "; ".join(parts) or "no record"
    if data["best"] and there:
        winner = (min if data["best"] == "lowest" else max)(there, key=lambda row: row["value"])
        text += f". {data['best'].capitalize()}: {winner['name']}."
    return shown, data["chart"] | {"lines": lines}, text.replace("-", "−")


def axis(label: str, log: bool, lim, groups: Sequence, fit: bool) -> dict:
    """An axis of a chart; without limits it takes the range of all groups, with fit=True that of what is shown."""
    if lim is None and not fit:
        lim = markup.limits(groups, log)
    return {"label": label, "log": log, "lim": None if lim is None else compact(lim, 6)}


def menus(
    choices: Choices, start: Mapping | None, titles: Mapping[str, str] | None = None
) -> tuple[list[dict], list[int]]:
    """What the controls offer, and the place of the start in each."""
    controls, chosen, titles = [], [], titles or {}
    if unknown := set(start or {}) - set(choices):
        raise ValueError(f"start names {', '.join(map(str, unknown))}: the controls are {', '.join(choices)}.")
    for label, options in choices.items():
        words = all(isinstance(option, str) for option in options)
        options = list(options) if words else [float(option) for option in options]
        if not options:
            raise ValueError(f"The control {label!r} has nothing to choose from.")
        wanted = (start or {}).get(label, options[0])
        if wanted not in options:
            raise ValueError(f"start: {label} has no value {wanted!r}.")
        chosen.append(options.index(wanted))
        shown = [titles.get(option, option) for option in options] if words else compact(options, 6)
        controls.append({"label": titles.get(label, label), "options": shown, "menu": words})
    return controls, chosen


def sentence(readout: str, words: Mapping) -> str:
    """The readout with its numbers, as HTML. Raises ValueError when it names what is not there."""
    try:
        return escape(phrase(readout, words))
    except KeyError as error:
        raise ValueError(f"The readout names {error}: it may name {', '.join(words)}.") from None


def _chart(kind, data, shown, readout, height, summary, title, alt, caption, name) -> Panel:
    setting = ", ".join(
        f"{c['label']} = {c['options'][i]}" for c, i in zip(data["controls"], data["start"], strict=True)
    )
    picture = markup.legend(shown) + markup.plot(
        markup.chart(data["chart"], shown), height, alt or f"{title}: {setting}", top=28
    )
    return Panel(kind, title, picture, data, summary, readout, caption, name)

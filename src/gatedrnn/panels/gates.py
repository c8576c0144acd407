"""Looking into a unit while it reads: step by step in its diagram, and all of its gates at once."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Unpack

import numpy as np

from ..diagrams import GREEK, cell_diagram
from ..rolls import PITCHES, check_roll
from ..units import SIGMOID_GATES, UNITS, check_unit, suffix
from . import markup
from .panel import COLORS, MORE, About, Panel, array, sequence
from .words import compact, escape, symbols

LETTERS = {"h_tilde": "h\u0303", "c_tilde": "c\u0303"}  # every other part is its own letter
SIGNS = GREEK | {r"\,": " "}  # as in the diagrams, but type on a page needs no thin spaces
ROLL, STRIP, GAP = 110, 34, 12  # heights in pixels
# What is no sigmoid or tanh of a sum, with numbers: {z} at this step, {h-} at the step before.
BLENDS = {
    ("gru", "h"): "(1 − {z}) · {h-} + {z} · {h_tilde} = {h}",
    ("lstm", "c"): "{f} · {c-} + {i} · {c_tilde} = {c}",
    ("lstm", "h"): "{o} · tanh({c}) = {h}",
}


def stepper(
    unit: str,
    gates: Mapping[str, object],
    x: object,
    *,
    weights: Mapping[str, object] | None = None,
    units: Sequence[int] = (0,),
    start: int = 0,
    part: str = "",
    **about: Unpack[About],
) -> Panel:
    """The diagram of a unit, its equations with the numbers in them, and its state, step by step and part by part.

    gates : part -> (T, H) or (T, 1, H), as `Cell.run` gives it, from a state of zeros. x : what was read, (T, D); 88
    columns are drawn as a piano roll. weights : the parameters by their names in the paper (`W_z`, `U_z`, `b_z`, ...);
    with them a sum is shown term by term. units : which of the H hidden units can be chosen. The panel opens at step
    `start`, counted from 0, and at `part`. Raises ValueError for an unknown unit or part, a part that is missing, and
    shapes that do not fit.
    """
    parts = UNITS[check_unit(unit)].parts
    if part and part not in parts:
        raise ValueError(f"unknown part {part!r} of {unit}: the known parts are {', '.join(parts)}")
    values, x = _read(unit, gates, parts, x)
    T, H = values["h"].shape
    if not units or not all(0 <= k < H for k in units) or not 0 <= start < T:
        raise ValueError(f"units lie between 0 and {H - 1}, start between 0 and {T - 1}.")
    terms = summands(unit, values, x, weights) if weights is not None else inside(unit, values)
    series = {key: compact(v[:, units].T) for key, v in (values | terms).items()}
    tall = {key: 1.0 if key != "c" else max(1.0, float(np.abs(values["c"][:, units]).max())) for key in parts}
    data = {"steps": T, "start": start, "part": part or parts[0], "units": [f"unit {k}" for k in units]}
    data |= {"parts": list(parts), "numbers": {key: numbers(unit, key, terms) for key in parts}, "series": series}
    data["low"] = {key: 0 if key in SIGMOID_GATES else -tall[key] for key in parts}
    data["high"] = tall
    equations = "".join(
        f'<div class="eq part-{key}"><span class="symbolic">{symbols(formula(unit, key, terms))}</span>'
        f'<span class="numbers">{escape(with_numbers(filled, data, 0, start))}</span></div>'
        for key, filled in data["numbers"].items()
    )
    diagram = cell_diagram(unit, peepholes=any(term.endswith(":v") for term in terms), equations=False)
    picture = f'<div class="diagram">{diagram.svg}</div><div class="equations">{equations}</div>'
    alt = about.get("alt") or f"The input and every part of unit {units[0]} over {T} steps"
    picture += strips(unit, x, data, alt)
    about.setdefault("title", "One step after the other")
    summary = f"{unit}, {T} steps, {', '.join(parts)}; h of unit {units[0]} ends at {values['h'][-1, units[0]]:.3f}"
    return Panel("stepper", picture=picture, data=data, summary=summary, **about)


def _read(unit: str, gates: Mapping[str, object], parts: Iterable[str], x: object) -> tuple[dict, np.ndarray]:
    """The parts (T, H) and what was read (T, D). Raises ValueError where one is missing or shapes do not fit."""
    if missing := sorted(set(parts) - set(gates)):
        raise ValueError(f"gates lacks {', '.join(missing)}: {unit} has {', '.join(UNITS[unit].parts)}.")
    values = {key: sequence(gates[key], f"gates[{key!r}]") for key in parts}
    x = sequence(x, "x")
    T, H = next(iter(values.values())).shape
    if any(v.shape != (T, H) for v in values.values()) or len(x) != T:
        raise ValueError(f"All parts and x must have the same {T} steps, and all parts the same {H} units.")
    return values, x


def formula(unit: str, part: str, terms: Mapping) -> str:
    """The equation of a part with its bias and, where it is among the terms, its peephole."""
    tex = UNITS[unit].equation(part, peepholes=f"{part}:v" in terms)
    tex = re.sub(r"\\tilde\{(\w)\}", "\\1\u0303", tex)
    text = re.sub(r"\\[a-z]+|\\,", lambda sign: SIGNS[sign[0]], tex)
    biased = f"{part}:s" in terms or f"{part}:b" in terms
    return f"{text[:-1]} + b{suffix(part)})" if biased else text


def numbers(unit: str, part: str, terms: Mapping) -> str:
    """The equation of a part with places for its numbers, a term of its sum by the other."""
    if (unit, part) in BLENDS:
        return BLENDS[unit, part]
    total = " + ".join(f"{{{term}}}" for term in terms if term.startswith(f"{part}:"))
    return f"{'σ' if part in SIGMOID_GATES else 'tanh'}({total}) = {{{part}}}"


def inside(unit: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The sums, found from what a sigmoid or tanh has made of them, (T, H) each: ":s"."""
    with np.errstate(divide="ignore"):
        return {
            f"{key}:s": np.clip(np.log(v) - np.log1p(-v) if key in SIGMOID_GATES else np.arctanh(v), -99, 99)
            for key, v in values.items()
            if key in UNITS[unit].gates
        }


def summands(unit: str, values: Mapping[str, np.ndarray], x: np.ndarray, weights: Mapping) -> dict[str, np.ndarray]:
    """What each sum is made of, (T, H) each: ":x" input, ":u" state, ":v" peephole, ":b" bias."""
    weights = {key.split(".")[-1]: array(v) for key, v in weights.items() if v is not None}
    before = {k: np.vstack([np.zeros_like(values[k][:1]), values[k][:-1]]) for k in ("h", "c") if k in values}
    out = {}
    for key in values:
        if key not in UNITS[unit].gates:
            continue
        end = suffix(key)
        if f"W{end}" not in weights or f"U{end}" not in weights:
            raise ValueError(f"weights lacks W{end} or U{end}.")
        W, U = weights[f"W{end}"], weights[f"U{end}"]
        if W.shape != (x.shape[1], values["h"].shape[1]):
            raise ValueError(f"W{end} must have shape {(x.shape[1], values['h'].shape[1])}; it has {W.shape}.")
        out[f"{key}:x"] = x @ W
        if key == "h_tilde" and "b_U" in weights:
            out[f"{key}:u"] = values["r"] * (before["h"] @ U + weights["b_U"])
        else:
            out[f"{key}:u"] = (values["r"] * before["h"] if key == "h_tilde" else before["h"]) @ U
        if f"V_{key}" in weights:
            out[f"{key}:v"] = weights[f"V_{key}"] * (values["c"] if key == "o" else before["c"])
        if f"b{end}" in weights:
            out[f"{key}:b"] = np.broadcast_to(weights[f"b{end}"], values["h"].shape)
    return out


def with_numbers(template: str, data: Mapping, unit: int, step: int) -> str:
    """A formula with the numbers of one step, a negative factor in brackets; panels.js has its twin.

    >>> series = {"a": [[-0.1, -0.2]], "b": [[0.3, -0.4]]}
    >>> with_numbers("{b-} · {a} + {b}", {"series": series}, unit=0, step=1)
    '0.30 · (−0.20) − 0.40'
    """

    def number(name: re.Match) -> str:
        at = step - bool(name[2])
        return f"{data['series'][name[1]][unit][at] if at >= 0 else 0:.2f}".replace("-", "−")

    filled = re.sub(r"\{([^{}-]+)(-?)\}", number, template)
    return re.sub(r"· (−[\d.]+)", r"· (\1)", filled.replace("+ −", "− "))


def letter(part: str, y: float) -> str:
    """A part's symbol, z_t, right of which the plot begins."""
    return (
        f'<text x="0" y="{y}" dx="-10" text-anchor="end"><tspan font-style="italic">{LETTERS.get(part, part)}</tspan>'
        '<tspan dy="4" font-size="10">t</tspan></text>'
    )


def strip(values: Sequence[float], low: float, high: float) -> str:
    """A value a step as a line of stairs, in a box of T x 100."""
    return "M0" + "".join(f" {100 * (high - v) / (high - low):.1f}H{t + 1}V" for t, v in enumerate(values))[:-1]


def roll_above(x: np.ndarray) -> str:
    """The notes that a unit reads, at the top of its plot."""
    roll = check_roll(x)
    return markup.piano_roll(roll, markup.pitch_span([roll]), markup.INK, height=ROLL)


def strips(unit: str, x: np.ndarray, data: Mapping, alt: str) -> str:
    """The input on top and a strip for each part below."""
    T, content, top = data["steps"], "", 0
    if x.shape[1] == PITCHES:
        content, top = roll_above(x), ROLL + GAP
    for part in data["parts"]:
        values, low, high = data["series"][part][0], data["low"][part], data["high"][part]
        zero = str(top + STRIP * high / (high - low))
        line = markup.stroke(strip(values, low, high), COLORS[unit], 1.8)
        now = f"{values[data['start']]:.2f}".replace("-", "−")
        content += (
            f'<g class="strip part-{part}" data-part="{part}">{markup.rule("0", zero, "100%", zero)}'
            + letter(part, top + STRIP / 2 + 5)
            + markup.stretched(line, f"0 -4 {T} 108", f'y="{top}" width="100%" height="{STRIP}"')
            + markup.text("100%", str(top + STRIP / 2), now, "start", 8, 5)
            + "</g>"
        )
        top += STRIP + GAP
    content += markup.linear_axis("step", 0.5, T + 0.5)
    return markup.plot(content, top - GAP + 6, alt, left=40, right=52)


def gate_map(
    unit: str, gates: Mapping[str, object], x: object, *, parts: Sequence[str] = (), **about: Unpack[About]
) -> Panel:
    """The roll above, the gates of all hidden units below, one cursor through both.

    gates : part -> (T, H) or (T, 1, H); parts : which of them to show, by default the unit's sigmoid gates, of a tanh
    unit h. Units stand in the order of their time constants, the slowest on top: -1 / mean log(1 - z) steps for a GRU,
    -1 / mean log f for an LSTM; for a tanh unit in their own order. Values are kept to 0.01. Raises ValueError when a
    part is missing or shapes do not fit.
    """
    check_unit(unit)
    parts = tuple(parts) or tuple(p for p in UNITS[unit].parts if p in SIGMOID_GATES or unit == "tanh")
    values, x = _read(unit, gates, parts, x)
    T, H = values[parts[0]].shape
    tau = time_constants(unit, gates)
    order = np.argsort(-tau, kind="stable") if tau is not None else np.arange(H)
    content, tall = roll_above(x), max(90, min(4 * H, 200))
    top, tops = ROLL + GAP, []
    for part in parts:
        scale = max(1.0, float(np.abs(values[part]).max()))
        png = base64.b64encode(markup.heat_map((values[part][:, order] / scale).T, COLORS[unit], MORE[0])).decode()
        content += (
            f'<rect y="{top}" width="100%" height="{tall}" fill="none" stroke="{markup.INK}" opacity="0.3"/>'
            f'<image data-part="{part}" data-scale="{scale:.6g}" href="data:image/png;base64,{png}" y="{top}" '
            f'width="100%" height="{tall}" preserveAspectRatio="none" style="image-rendering:pixelated"/>'
            + letter(part, top + tall / 2)
        )
        tops.append(top)
        top += tall + GAP
    data = {"steps": T, "parts": list(parts), "letters": [LETTERS.get(p, p) for p in parts], "order": order.tolist()}
    data |= {"tops": tops, "tall": tall, "height": top - GAP, "tau": None if tau is None else compact(tau[order])}
    alt = about.get("alt") or f"Piano roll, and {', '.join(parts)} of {H} units"
    about.setdefault("title", "All gates at once")
    slowest = "" if tau is None else f"slowest unit {order[0]}: {tau[order[0]]:.1f} steps"
    summary = "; ".join(filter(None, [f"{unit}, {', '.join(parts)}, {T} steps x {H} units", slowest]))
    picture = markup.plot(content + markup.linear_axis("step", 0.5, T + 0.5), top - GAP, alt, left=40)
    return Panel("gates", picture=picture, data=data, summary=summary, readout=escape(slowest), **about)


def time_constants(unit: str, gates: Mapping[str, object]) -> np.ndarray | None:
    """Steps until a unit's content has fallen to 1/e, (H,): -1 / mean log of the share that is kept; None for tanh."""
    key = {"gru": "z", "lstm": "f"}.get(unit, "")
    if key not in gates:
        return None
    gate = sequence(gates[key], key)
    kept = np.clip(gate if key == "f" else 1 - gate, 1e-12, 1 - 1e-12)
    return -1 / np.log(kept).mean(0)

"""Looking into a unit while it reads: step by step in its diagram, and all of its gates at once."""

import base64
import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..rolls import PITCHES, check_roll
from ..units import UNITS, check_unit
from . import markup
from .panel import COLORS, Panel, array, sequence
from .rolls import notes, pitch_axis, pitch_span
from .words import compact, escape, symbols

LETTERS = {"h_tilde": "h\u0303", "c_tilde": "c\u0303"}  # every other part is its own letter
SIGMOID = {gate for unit in UNITS.values() for gate in unit.sigmoid_gates}  # between 0 and 1
NEGATIVE = "#CC79A7"
ROLL, STRIP, GAP = 110, 34, 12  # heights in pixels

# Part -> formula, and the same with numbers: {z} at this step, {h-} at the step before, {z:s} the sum inside.
STEPS = {
    "tanh": {"h": ("h_t = tanh(W x_t + U h_{t-1} + b)", "tanh({h:s}) = {h}")},
    "gru": {
        "z": ("z_t = σ(W_z x_t + U_z h_{t-1} + b_z)", "σ({z:s}) = {z}"),
        "r": ("r_t = σ(W_r x_t + U_r h_{t-1} + b_r)", "σ({r:s}) = {r}"),
        "h_tilde": ("h\u0303_t = tanh(W x_t + U (r_t ⊙ h_{t-1}) + b)", "tanh({h_tilde:s}) = {h_tilde}"),
        "h": ("h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h\u0303_t", "(1 − {z}) · {h-} + {z} · {h_tilde} = {h}"),
    },
    "lstm": {
        "i": ("i_t = σ(W_i x_t + U_i h_{t-1} + V_i ⊙ c_{t-1} + b_i)", "σ({i:s}) = {i}"),
        "f": ("f_t = σ(W_f x_t + U_f h_{t-1} + V_f ⊙ c_{t-1} + b_f)", "σ({f:s}) = {f}"),
        "c_tilde": ("c\u0303_t = tanh(W_c x_t + U_c h_{t-1} + b_c)", "tanh({c_tilde:s}) = {c_tilde}"),
        "c": ("c_t = f_t ⊙ c_{t-1} + i_t ⊙ c\u0303_t", "{f} · {c-} + {i} · {c_tilde} = {c}"),
        "o": ("o_t = σ(W_o x_t + U_o h_{t-1} + V_o ⊙ c_t + b_o)", "σ({o:s}) = {o}"),
        "h": ("h_t = o_t ⊙ tanh(c_t)", "{o} · tanh({c}) = {h}"),
    },
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
    title: str = "One step after the other",
    alt: str = "",
    caption: str = "",
    name: str = "",
) -> Panel:
    """The diagram of a unit, its equations with the numbers in them, and its state, step by step and part by part.

    gates : part -> (T, H) or (T, 1, H), as `Cell.run` gives it, from a state of zeros. x : what was read, (T, D); 88
    columns are drawn as a piano roll. weights : the parameters by their names in the paper (`W_z`, `U_z`, `b_z`, ...);
    with them a sum is shown term by term. units : which of the H hidden units can be chosen. The panel opens at step
    `start`, counted from 0, and at `part`. Raises ValueError for an unknown unit or part, a part that is missing, and
    shapes that do not fit.
    """
    check_unit(unit)
    steps, part = STEPS[unit], part or next(iter(STEPS[unit]))
    if part not in steps:
        raise ValueError(f"unknown part {part!r} of {unit}: the known parts are {', '.join(steps)}")
    if missing := set(steps) - set(gates):
        raise ValueError(f"gates lacks {', '.join(sorted(missing))}: {unit} has {', '.join(steps)}.")
    values = {key: sequence(gates[key], f"gates[{key!r}]") for key in steps}
    x = sequence(x, "x")
    T, H = values["h"].shape
    if any(v.shape != (T, H) for v in values.values()) or len(x) != T:
        raise ValueError(f"All parts and x must have the {T} steps of h, and all parts its {H} units.")
    if not units or not all(0 <= k < H for k in units) or not 0 <= start < T:
        raise ValueError(f"units lie between 0 and {H - 1}, start between 0 and {T - 1}.")
    series = {key: v[:, units].T for key, v in values.items()}
    terms, formulas = {}, {key: list(formula) for key, formula in steps.items()}
    if weights is not None:
        terms = {key: v[:, units].T for key, v in summands(unit, values, x, weights).items()}
    for key, formula in formulas.items():
        own = [term for term in terms if term.startswith(f"{key}:")]
        if own:
            total = " + ".join(f"{{{term}}}" for term in own)
            formula[1] = formula[1].replace(f"{{{key}:s}}", total)
        elif f"{{{key}:s}}" in formula[1]:
            inverse = logit if key in SIGMOID else np.arctanh
            with np.errstate(divide="ignore"):
                series[f"{key}:s"] = np.clip(inverse(series[key].astype(float)), -99, 99)
        if not any(term.endswith(":v") for term in own):
            formula[0] = formula[0].replace(f" + V_{key} ⊙ c_{'t' if key == 'o' else '{t-1}'}", "")
        if own and f"{key}:b" not in own:
            formula[0] = formula[0].replace(" + b)", ")").replace(f" + b_{key[0]})", ")")
    series |= terms
    tall = {key: 1.0 if key != "c" else max(1.0, float(np.abs(series["c"]).max())) for key in steps}
    data = {"steps": T, "start": start, "part": part, "units": [f"unit {k}" for k in units], "parts": list(steps)}
    data["numbers"] = {key: formula[1] for key, formula in formulas.items()}
    data["series"] = {key: compact(v, 4) for key, v in series.items()}
    data["low"] = {key: 0 if key in SIGMOID else -tall[key] for key in steps}
    data["high"] = tall
    peepholes = any(term.endswith(":v") for term in terms)
    equations = "".join(
        f'<div class="eq part-{key}"><span class="symbolic">{symbols(formula[0])}</span>'
        f'<span class="numbers">{escape(with_numbers(formula[1], data, 0, start))}</span></div>'
        for key, formula in formulas.items()
    )
    picture = f'<div class="diagram">{drawing(unit, peepholes)}</div><div class="equations">{equations}</div>'
    picture += strips(unit, x, data, alt or f"The input and every part of {data['units'][0]} over {T} steps")
    summary = f"{unit}, {T} steps, {', '.join(steps)}; h of unit {units[0]} ends at {values['h'][-1, units[0]]:.3f}"
    return Panel("stepper", title, picture, data, summary, "", caption, name)


def logit(p: np.ndarray) -> np.ndarray:
    """The sum whose sigmoid is p."""
    return np.log(p) - np.log1p(-p)


def summands(unit: str, values: Mapping[str, np.ndarray], x: np.ndarray, weights: Mapping) -> dict[str, np.ndarray]:
    """What each sum is made of, (T, H) each: ":x" input, ":u" state, ":v" peephole, ":b" bias."""
    weights = {key.split(".")[-1]: array(v).astype(float) for key, v in weights.items() if v is not None}
    before = {k: np.vstack([np.zeros_like(values[k][:1]), values[k][:-1]]) for k in ("h", "c") if k in values}
    out = {}
    for key in STEPS[unit]:
        suffix = {"h_tilde": "", "c_tilde": "_c", "h": ""}.get(key, f"_{key}")
        if "σ" not in STEPS[unit][key][0] and "W" not in STEPS[unit][key][0]:
            continue
        if f"W{suffix}" not in weights or f"U{suffix}" not in weights:
            raise ValueError(f"weights lacks W{suffix} or U{suffix}.")
        W, U = weights[f"W{suffix}"], weights[f"U{suffix}"]
        if W.shape != (x.shape[1], values["h"].shape[1]):
            raise ValueError(f"W{suffix} must have shape {(x.shape[1], values['h'].shape[1])}; it has {W.shape}.")
        out[f"{key}:x"] = x.astype(float) @ W
        if key == "h_tilde" and "b_U" in weights:
            out[f"{key}:u"] = values["r"] * (before["h"] @ U + weights["b_U"])
        else:
            out[f"{key}:u"] = (values["r"] * before["h"] if key == "h_tilde" else before["h"]) @ U
        if f"V_{key}" in weights:
            out[f"{key}:v"] = weights[f"V_{key}"] * (values["c"] if key == "o" else before["c"])
        if f"b{suffix}" in weights:
            out[f"{key}:b"] = np.broadcast_to(weights[f"b{suffix}"], values["h"].shape)
    return out


def with_numbers(template: str, data: Mapping, unit: int, step: int) -> str:
    """A formula with the numbers of one step; panels.js has its twin."""
    for key, runs in data["series"].items():
        template = template.replace(f"{{{key}}}", f"{runs[unit][step]:.2f}".replace("-", "−"))
        if f"{{{key}-}}" in template:
            before = runs[unit][step - 1] if step else 0
            template = template.replace(f"{{{key}-}}", f"{before:.2f}".replace("-", "−"))
    return tidy(template)


def tidy(formula: str) -> str:
    """A sum with a negative term as a difference, a negative factor in brackets.

    >>> tidy("σ(0.10 + −0.20) + 0.5 · −0.30")
    'σ(0.10 − 0.20) + 0.5 · (−0.30)'
    """
    return re.sub(r"· (−[\d.]+)", r"· (\1)", formula.replace("+ −", "− "))


def drawing(unit: str, peepholes: bool) -> str:
    """The unit's diagram as SVG, in which every part's strokes have the class `part-<name>`."""
    from ..diagrams import cell_diagram

    return cell_diagram(unit, peepholes=peepholes, equations=False).svg


def letter(part: str, x: str, y: float) -> str:
    """A part's symbol, z_t, right of which the plot begins."""
    return (
        f'<text x="{x}" y="{y}" dx="-10" text-anchor="end"><tspan font-style="italic">{LETTERS.get(part, part)}</tspan>'
        '<tspan dy="4" font-size="10">t</tspan></text>'
    )


def strip(values: Sequence[float], low: float, high: float) -> str:
    """A value a step as a line of stairs, in a box of T x 100."""
    return "M0" + "".join(f" {100 * (high - v) / (high - low):.1f}H{t + 1}V" for t, v in enumerate(values))[:-1]


def strips(unit: str, x: np.ndarray, data: Mapping, alt: str) -> str:
    """The input on top and a strip for each part below."""
    T, content, top = data["steps"], "", 0
    if x.shape[1] == PITCHES:
        roll = check_roll(x)
        span = pitch_span([roll])
        content = pitch_axis(*span, height=str(ROLL)) + notes(
            roll, span, markup.INK, 0, T, f'width="100%" height="{ROLL}"'
        )
        top = ROLL + GAP
    for part in data["parts"]:
        values, low, high = data["series"][part][0], data["low"][part], data["high"][part]
        zero = top + STRIP * high / (high - low)
        line = markup.stroke(strip(values, low, high), COLORS[unit], 1.8)
        content += f'<g class="strip part-{part}" data-part="{part}">{markup.rule("0", str(zero), "100%", str(zero))}'
        content += letter(part, "0", top + STRIP / 2 + 5)
        content += markup.stretched(line, f"0 -4 {T} 108", f'y="{top}" width="100%" height="{STRIP}"')
        content += markup.text(
            "100%", str(top + STRIP / 2), f"{values[data['start']]:.2f}".replace("-", "−"), "start", 8, 5
        )
        content += "</g>"
        top += STRIP + GAP
    axis = {"label": "step", "log": False, "lim": (0.5, T + 0.5)}
    return markup.plot(content + markup.x_axis(axis), top - GAP + 6, alt, left=40, right=52)


def gate_map(
    unit: str,
    gates: Mapping[str, object],
    x: object,
    *,
    parts: Sequence[str] = (),
    height: int = 0,
    title: str = "All gates at once",
    alt: str = "",
    caption: str = "",
    name: str = "",
) -> Panel:
    """The roll above, the gates of all hidden units below, one cursor through both.

    gates : part -> (T, H) or (T, 1, H); parts : which of them to show, by default the unit's sigmoid gates that are
    there. Units stand in the order of their time constants, the slowest on top: -1 / mean log(1 - z) steps for a GRU,
    -1 / mean log f for an LSTM; for a tanh unit in their own order. Values are kept to 0.01. Raises ValueError when a
    part is missing or shapes do not fit.
    """
    check_unit(unit)
    parts = tuple(parts) or tuple(p for p in STEPS[unit] if p in gates and (p in SIGMOID or unit == "tanh"))
    if not parts or (missing := set(parts) - set(gates)):
        raise ValueError(f"gates lacks {', '.join(sorted(missing)) if parts else 'every gate'} of {unit}.")
    values = {p: sequence(gates[p], f"gates[{p!r}]").astype(float) for p in parts}
    x = sequence(x, "x")
    T, H = values[parts[0]].shape
    if any(v.shape != (T, H) for v in values.values()) or len(x) != T:
        raise ValueError(f"All parts and x must have {T} steps, and all parts {H} units.")
    tau = time_constants(unit, gates)
    order = np.argsort(-tau, kind="stable") if tau is not None else np.arange(H)
    roll, tall = check_roll(x), height or max(90, min(4 * H, 200))
    span = pitch_span([roll])
    content = pitch_axis(*span, height=str(ROLL)) + notes(roll, span, markup.INK, 0, T, f'width="100%" height="{ROLL}"')
    top, tops = ROLL + GAP, []
    for part in parts:
        scale = max(1.0, float(np.abs(values[part]).max()))
        png = base64.b64encode(markup.heat_map((values[part][:, order] / scale).T, COLORS[unit], NEGATIVE)).decode()
        content += (
            f'<rect y="{top}" width="100%" height="{tall}" fill="none" stroke="{markup.INK}" opacity="0.3"/>'
            f'<image data-part="{part}" data-scale="{scale:.6g}" href="data:image/png;base64,{png}" y="{top}" '
            f'width="100%" height="{tall}" preserveAspectRatio="none" style="image-rendering:pixelated"/>'
            + letter(part, "0", top + tall / 2)
        )
        tops.append(top)
        top += tall + GAP
    content += markup.x_axis({"label": "step", "log": False, "lim": (0.5, T + 0.5)})
    data = {"steps": T, "parts": list(parts), "letters": [LETTERS.get(p, p) for p in parts], "order": order.tolist()}
    data |= {"tops": tops, "tall": tall, "height": top - GAP, "tau": None if tau is None else compact(tau[order])}
    picture = markup.plot(content, top - GAP, alt or f"Piano roll, and {', '.join(parts)} of {H} units", left=40)
    slowest = "" if tau is None else f"; slowest unit {order[0]}: {tau[order[0]]:.1f} steps"
    summary = f"{unit}, {', '.join(parts)}, {T} steps x {H} units{slowest}"
    return Panel("gates", title, picture, data, summary, escape(slowest.strip("; ")), caption, name)


def time_constants(unit: str, gates: Mapping[str, object]) -> np.ndarray | None:
    """Steps until a unit's content has fallen to 1/e, (H,): -1 / mean log of the share that is kept; None for tanh."""
    key = {"gru": "z", "lstm": "f"}.get(unit, "")
    if key not in gates:
        return None
    gate = sequence(gates[key], key).astype(float)
    kept = np.clip(gate if key == "f" else 1 - gate, 1e-12, 1 - 1e-12)
    return -1 / np.log(kept).mean(0)

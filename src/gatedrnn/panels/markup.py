"""What the panels are drawn with: SVG that is as wide as its column while its type keeps its size; no torch.

A plot is an SVG without a viewBox: labels stand at percentages, so they are 14 pixels high on a phone as on a desk, and
what is to stretch lies in an inner SVG of 1000 x 1000. `ticks` and `chart` have twins of the same names in
`book/_static/panels.js`; a browser test holds the one against the other.
"""

import math
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..rolls import LOWEST_PITCH, held_notes
from .words import escape, number

INK = "currentColor"  # what text has: dark on a light page, light on a dark one
GIVEN = "#8A8A8A"  # grey: what a voice was given before it went on by itself
DASHES = ("", "7 4", "2 3", "9 3 2 3")  # so that curves can be told apart without colour


def ticks(low: float, high: float, log: bool = False) -> list[float]:
    """Round values between two limits, about five of them.

    >>> [float(f"{t:.3g}") for t in ticks(0, 1)], ticks(0.01, 100, log=True)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.01, 0.1, 1.0, 10.0, 100.0])
    """
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        if last - first >= 2:
            return [10.0**k for k in range(first, last + 1, math.ceil((last - first) / 5))]
        some = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [t for t in some if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = size * next(m for m in (1, 2, 5, 10) if m * size >= 0.75 * raw)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def place(axis: Mapping, value: float) -> float:
    """Where a value stands on an axis {"lim": (low, high), "log": bool}, in percent of its length."""
    low, high = axis["lim"]
    if axis["log"]:
        low, high, value = math.log10(low), math.log10(high), math.log10(value)
    return 100 * (value - low) / (high - low)


def across(axis: Mapping, value: float) -> str:
    """The same as text, for what lies along the plot."""
    return f"{place(axis, value):.2f}%"


def upright(axis: Mapping, value: float) -> str:
    """The same from the top, for what stands upright."""
    return f"{100 - place(axis, value):.2f}%"


def limits(groups: Sequence, log: bool) -> tuple[float, float]:
    """The range of all finite values (above 0 on a log axis), with a margin on either side; None is no value."""
    values = np.concatenate([np.ravel(np.asarray(g, dtype=float)) for g in groups])
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not len(values):
        raise ValueError("There is nothing to draw: no value is finite (and above 0 on a logarithmic axis).")
    low, high = np.log10([values.min(), values.max()]) if log else (values.min(), values.max())
    pad = 0.05 * (high - low) or 0.5
    low, high = float(low - pad), float(high + pad)
    return (10**low, 10**high) if log else (low, high)


def text(x: str, y: str, words: str, anchor: str = "middle", dx: float = 0, dy: float = 0, more: str = "") -> str:
    """A label at percentages of the plot, shifted by pixels."""
    return f'<text x="{x}" y="{y}" dx="{dx}" dy="{dy}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def rule(x1: str, y1: str, x2: str, y2: str, kind: str = "grid") -> str:
    """A straight line: "grid" is faint, "mark" is dashed and strong."""
    style = 'opacity="0.18"' if kind == "grid" else 'stroke-dasharray="5 4" opacity="0.75"'
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{INK}" {style}/>'


def stretched(content: str, box: str = "0 0 1000 1000", where: str = 'width="100%" height="100%"') -> str:
    """An inner SVG whose content is stretched to fill its place."""
    return f'<svg {where} viewBox="{box}" preserveAspectRatio="none">{content}</svg>'


def stroke(d: str, color: str, width: float = 2.2, dash: str = "") -> str:
    """A line of constant width in a stretched drawing."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{d}" fill="none" stroke="{color}" stroke-width="{width}" stroke-linejoin="round"'
        f' vector-effect="non-scaling-stroke"{dashed}/>'
    )


def plot(content: str, height: float, alt: str, *, left: int = 52, right: int = 14, top: int = 12, bottom: int = 44):
    """A drawing of `height` pixels and of the column's width, with room for labels around it."""
    box = f"position:relative;height:{height}px;margin:{top}px {right}px {bottom}px {left}px"
    return (
        f'<div class="plot" style="{box}"><svg role="img" aria-label="{escape(alt)}" width="100%" height="100%" '
        f'style="display:block;overflow:visible" font-size="14" fill="{INK}">{content}</svg></div>'
    )


def label(axis: Mapping, value: float) -> str:
    """A number at a tick: on a logarithmic axis powers of ten from 1,000 on."""
    return number(value, 1e3 if axis["log"] else 1e5)


def x_axis(axis: Mapping) -> str:
    """Ticks, numbers and the label below a plot."""
    low, high = axis["lim"]
    numbers = "".join(text(across(axis, t), "100%", label(axis, t), dy=18) for t in ticks(low, high, axis["log"]))
    return rule("0", "100%", "100%", "100%") + numbers + text("100%", "100%", axis["label"], "end", dy=38)


def linear_axis(words: str, low: float, high: float) -> str:
    """The same with a straight scale between two limits."""
    return x_axis({"label": words, "log": False, "lim": (low, high)})


def y_axis(axis: Mapping) -> str:
    """Faint lines and numbers at the left of a plot, the label above them."""
    (low, high), out = axis["lim"], ""
    for t in ticks(low, high, axis["log"]):
        y = upright(axis, t)
        out += rule("0", y, "100%", y) + text("0", y, label(axis, t), "end", dx=-8, dy=5)
    return out + text("0", "0", axis["label"], "start", dx=-46, dy=-10)


def chart(spec: Mapping, curves: Sequence[Mapping]) -> str:
    """Axes, reference lines and curves.

    spec : {"x": axis, "y": axis, "lines": [[axis name, value, label], ...], "points": bool}; an axis is
    {"label", "log", "lim"}, and lim None means: as wide as what is shown. curves : {"color", "x", "y"}
    each, with "dots" where no line joins the points.
    """
    x, y = (spec[key] | {"lim": spec[key]["lim"] or limits([c[key] for c in curves], spec[key]["log"])} for key in "xy")
    out, paths, dots = x_axis(x) + y_axis(y), "", ""
    for which, value, words in spec["lines"]:
        if which == "y":
            at = upright(y, value)
            out += rule("0", at, "100%", at, "mark") + text("100%", at, words, "end", dy=-6)
        else:
            at = across(x, value)
            out += rule(at, "0", at, "100%", "mark") + text(at, "0", words, "start", dx=6, dy=12)
    for k, curve in enumerate(curves):
        d, pen = "", "M"
        for a, b in zip(curve["x"], curve["y"], strict=True):
            if a is None or b is None or (x["log"] and a <= 0) or (y["log"] and b <= 0):
                pen = "M"  # a gap
                continue
            d += f"{pen}{10 * place(x, a):.0f} {10 * (100 - place(y, b)):.0f}"
            pen = "L"
            if spec["points"] or curve.get("dots"):
                dots += f'<circle cx="{across(x, a)}" cy="{upright(y, b)}" r="4" fill="{curve["color"]}"/>'
        paths += "" if curve.get("dots") else stroke(d, curve["color"], dash=DASHES[k % 4])
    return out + stretched(paths) + dots


def legend(curves: Sequence[Mapping]) -> str:
    """The names of curves, each behind a piece of its line or one of its dots; nothing for a single one."""
    if len(curves) < 2:
        return ""
    entries = ""
    for k, c in enumerate(curves):
        dot = f'<circle cx="14" cy="5" r="4" fill="{c["color"]}"/>' if c.get("dots") else ""
        entries += (
            f'<span style="margin-right:1.2em;white-space:nowrap"><svg width="28" height="10" aria-hidden="true">'
            f"{dot or stroke('M0 5h28', c['color'], dash=DASHES[k % 4])}</svg> {escape(c['name'])}</span>"
        )
    return f'<div class="legend">{entries}</div>'


def heat_map(values: np.ndarray, color: str, negative: str) -> bytes:
    """A PNG of values (rows, columns) in [-1, 1]: the larger, the less transparent; below 0 in the second colour.

    Pixel k of the palette stands for (k - 100) / 100, so that the picture is also the data: panels.js reads it.
    """
    index = np.round(np.clip(values, -1, 1) * 100).astype(int) + 100
    below, above = (bytes.fromhex(c.lstrip("#")) for c in (negative, color))
    blocks = {
        b"IHDR": struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 3, 0, 0, 0),
        b"PLTE": 100 * below + 101 * above,
        b"tRNS": bytes(round(255 * abs(k) / 100) for k in range(-100, 101)),
        b"IDAT": zlib.compress(np.pad(index, ((0, 0), (1, 0))).astype(np.uint8).tobytes(), 9),  # rows begin with a 0
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in blocks.items()
    )


def forest(spec: Mapping, rows: Sequence[Mapping]) -> str:
    """One line a row: a dot at its value, a whisker for its interval, a diamond at its reference.

    spec : {"x": axis, "lines": [[axis name, value, label], ...]}; rows : {"name", "color", "value", "low", "high",
    "reference"} each, None for what there is not.
    """
    seen = [[row[k] for k in ("value", "low", "high", "reference")] for row in rows]
    low, high = limits([*seen, [v for _, v, _ in spec["lines"]]], spec["x"]["log"])
    x = spec["x"] | {"lim": (low, high)}
    out = x_axis(x) + "".join(rule(across(x, t), "0", across(x, t), "100%") for t in ticks(low, high, x["log"]))
    for _, value, label in spec["lines"]:
        at = across(x, value)
        out += rule(at, "0", at, "100%", "mark") + text(at, "0", label, dy=-4)
    for k, row in enumerate(rows):
        y = f"{100 * (k + 0.5) / len(rows):.2f}%"
        out += text("0", y, row["name"], "end", dx=-10, dy=5)
        if row["value"] is None:
            out += text("0", y, "no record", "start", dx=10, dy=5, more=' opacity="0.6"')
            continue
        if row["low"] is not None:
            out += (
                f'<line x1="{across(x, row["low"])}" y1="{y}" x2="{across(x, row["high"])}" y2="{y}" '
                f'stroke="{row["color"]}" stroke-width="3" stroke-linecap="round"/>'
            )
        out += f'<circle cx="{across(x, row["value"])}" cy="{y}" r="6" fill="{row["color"]}"/>'
        if row["reference"] is not None:
            out += (
                f'<svg x="{across(x, row["reference"])}" y="{y}" overflow="visible"><path d="M0-7L6 0 0 7-6 0z" '
                f'fill="none" stroke="{INK}" stroke-width="1.6"/></svg>'
            )
    return out


def pitch_span(rolls: Iterable[np.ndarray]) -> tuple[int, int]:
    """The lowest and the highest column that sounds in any roll, at least an octave apart, with one to spare."""
    columns = np.flatnonzero(np.any([roll.any(0) for roll in rolls], axis=0))
    low, high = (int(columns[0]), int(columns[-1])) if len(columns) else (27, 63)
    return min(low, high - 12) - 1, max(high, low + 12) + 1


def piano_roll(
    roll: np.ndarray, span: tuple[int, int], color: str, *, opening: int = 0, steps: int = 0, height: float = 0
) -> str:
    """A roll, a bar a note, over a faint line and the name at each C (MIDI pitch 60 is C4).

    It is as long as `steps`, and grey within the opening; height : in pixels, by default that of the plot.
    """
    (low, high), out = span, ""
    for column in range(low, high + 1):
        if (column + LOWEST_PITCH) % 12 == 0:
            share = (high + 0.5 - column) / (high - low + 1)
            at = f"{share * height:.1f}" if height else f"{100 * share:.2f}%"
            out += rule("0", at, "100%", at) + text("0", at, f"C{(column + LOWEST_PITCH) // 12 - 1}", "end", -8, 5)
    paths = ""
    for first, last, tone in ((0, opening, GIVEN), (opening, len(roll), color)):
        bars = ""
        for column, start, end in held_notes(roll[first:last]) if first < last else ():
            bars += (
                f"M{first + start + 0.06:g} {high - column + 0.08:g}h{end - start - 0.12:g}v.84h{0.12 - end + start:g}z"
            )
        kind = ' class="given"' if tone == GIVEN else ""
        paths += f'<path{kind} d="{bars}" fill="{tone}"/>' if bars else ""
    where = f'width="100%" height="{height or "100%"}"'
    return out + stretched(paths, f"0 0 {steps or len(roll)} {high - low + 1}", where)

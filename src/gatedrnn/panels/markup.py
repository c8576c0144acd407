"""What the panels are drawn with: SVG that is as wide as its column while its type keeps its size; no torch.

A plot is an SVG without a viewBox: labels stand at percentages, so they are 14 pixels high on a phone as on a desk, and
what is to stretch lies in an inner SVG of 1000 x 1000. `ticks` and `chart` have twins of the same names in
`book/_static/panels.js`; a browser test holds the one against the other.
"""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from .words import escape, number

INK = "currentColor"  # what text has: dark on a light page, light on a dark one
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


def marks(axis: Mapping) -> list[float]:
    """The round values of an axis {"lim": (low, high), "log": bool}."""
    low, high = axis["lim"]
    return ticks(low, high, axis["log"])


def place(axis: Mapping, value: float) -> float:
    """Where a value stands on an axis {"lim": (low, high), "log": bool}, in percent of its length."""
    low, high = axis["lim"]
    if axis["log"]:
        low, high, value = math.log10(low), math.log10(high), math.log10(value)
    return 100 * (value - low) / (high - low)


def limits(groups: Sequence, log: bool, margin: float = 0.05) -> tuple[float, float]:
    """The range of all finite values (above 0 on a log axis), with a margin on either side."""
    values = np.concatenate([np.ravel(np.asarray(g, dtype=float)) for g in groups])
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not len(values):
        raise ValueError("There is nothing to draw: no value is finite (and above 0 on a logarithmic axis).")
    low, high = np.log10([values.min(), values.max()]) if log else (values.min(), values.max())
    pad = margin * (high - low) or 0.5
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
    parts = [rule("0", "100%", "100%", "100%")]
    for t in marks(axis):
        parts.append(text(f"{place(axis, t):.2f}%", "100%", label(axis, t), dy=18))
    return "".join(parts) + text("100%", "100%", axis["label"], "end", dy=38)


def y_axis(axis: Mapping) -> str:
    """Faint lines and numbers at the left of a plot, the label above them."""
    parts = []
    for t in marks(axis):
        y = f"{100 - place(axis, t):.2f}%"
        parts.append(rule("0", y, "100%", y) + text("0", y, label(axis, t), "end", dx=-8, dy=5))
    return "".join(parts) + text("0", "0", axis["label"], "start", dx=-46, dy=-10)


def chart(spec: Mapping, curves: Sequence[Mapping]) -> str:
    """Axes, reference lines and curves.

    spec : {"x": axis, "y": axis, "lines": [[axis name, value, label], ...], "points": bool}; an axis is
    {"label", "log", "lim"}, and lim None means: as wide as what is shown. curves : {"color", "x", "y"}
    each, with "dots" where no line joins the points.
    """
    x, y = dict(spec["x"]), dict(spec["y"])
    for axis, key in ((x, "x"), (y, "y")):
        axis["lim"] = axis["lim"] or limits([[np.nan if v is None else v for v in c[key]] for c in curves], axis["log"])
    parts = [x_axis(x), y_axis(y)]
    for which, value, label in spec["lines"]:
        if which == "y":
            at = f"{100 - place(y, value):.2f}%"
            parts.append(rule("0", at, "100%", at, "mark") + text("100%", at, label, "end", dy=-6))
        else:
            at = f"{place(x, value):.2f}%"
            parts.append(rule(at, "0", at, "100%", "mark") + text(at, "0", label, "start", dx=6, dy=12))
    paths, dots = [], []
    for k, curve in enumerate(curves):
        d, pen = "", "M"
        for a, b in zip(curve["x"], curve["y"], strict=True):
            if a is None or b is None or (x["log"] and a <= 0) or (y["log"] and b <= 0):
                pen = "M"  # a gap
                continue
            left, down = place(x, a), 100 - place(y, b)
            d += f"{pen}{10 * left:.0f} {10 * down:.0f}"
            pen = "L"
            if spec["points"] or curve.get("dots"):
                dots.append(f'<circle cx="{left:.2f}%" cy="{down:.2f}%" r="4" fill="{curve["color"]}"/>')
        paths.append("" if curve.get("dots") else stroke(d, curve["color"], dash=DASHES[k % 4]))
    return "".join(parts) + stretched("".join(paths)) + "".join(dots)


def sample(curve: Mapping, dash: str) -> str:
    """A piece of a curve, as a legend shows it: of a line, or one of its dots."""
    if curve.get("dots"):
        return f'<circle cx="14" cy="5" r="4" fill="{curve["color"]}"/>'
    return stroke("M0 5h28", curve["color"], dash=dash)


def legend(curves: Sequence[Mapping]) -> str:
    """The names of curves, each behind a piece of its line; nothing for a single one."""
    if len(curves) < 2:
        return ""
    entries = "".join(
        f'<span style="margin-right:1.2em;white-space:nowrap"><svg width="28" height="10" aria-hidden="true">'
        f"{sample(c, DASHES[k % 4])}</svg> {escape(c['name'])}</span>"
        for k, c in enumerate(curves)
    )
    return f'<div class="legend">{entries}</div>'


def heat_map(values: np.ndarray, color: str, negative: str, steps: int = 100) -> bytes:
    """A PNG of values (rows, columns) in [-1, 1]: the larger, the less transparent; below 0 in the second colour.

    Pixel k of the palette stands for (k - steps) / steps, so that the picture is also the data: panels.js reads it.
    """
    index = np.round(np.clip(values, -1, 1) * steps).astype(int) + steps
    level = np.arange(-steps, steps + 1) / steps
    two = [bytes.fromhex(c.lstrip("#")) for c in (negative, color)]
    palette = b"".join(two[int(v >= 0)] for v in level)
    alpha = bytes(round(255 * abs(v)) for v in level)
    rows = b"".join(b"\0" + row.tobytes() for row in index.astype(np.uint8))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 3, 0, 0, 0)
    blocks = (
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"tRNS", alpha),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*block) for block in blocks)


def forest(spec: Mapping, rows: Sequence[Mapping]) -> str:
    """One line a row: a dot at its value, a whisker for its interval, a diamond at its reference.

    spec : {"x": axis, "lines": [[axis name, value, label], ...]}; rows : {"name", "color", "value", "low", "high",
    "reference"} each, None for what there is not.
    """
    x = dict(spec["x"])
    seen = [[np.nan if r[k] is None else r[k] for k in ("value", "low", "high", "reference")] for r in rows]
    x["lim"] = x["lim"] or limits([*seen, [v for _, v, _ in spec["lines"]]], x["log"])
    parts = [x_axis(x)]
    for t in marks(x):
        parts.append(rule(f"{place(x, t):.2f}%", "0", f"{place(x, t):.2f}%", "100%"))
    for _, value, label in spec["lines"]:
        at = f"{place(x, value):.2f}%"
        parts.append(rule(at, "0", at, "100%", "mark") + text(at, "0", label, dy=-4))
    for k, row in enumerate(rows):
        y = f"{100 * (k + 0.5) / len(rows):.2f}%"
        parts.append(text("0", y, row["name"], "end", dx=-10, dy=5))
        if row["value"] is None:
            parts.append(text("0", y, "no record", "start", dx=10, dy=5, more=' opacity="0.6"'))
            continue
        if row["low"] is not None:
            ends = [f"{place(x, row[k]):.2f}%" for k in ("low", "high")]
            parts.append(
                f'<line x1="{ends[0]}" y1="{y}" x2="{ends[1]}" y2="{y}" stroke="{row["color"]}" stroke-width="3" '
                'stroke-linecap="round"/>'
            )
        parts.append(f'<circle cx="{place(x, row["value"]):.2f}%" cy="{y}" r="6" fill="{row["color"]}"/>')
        if row["reference"] is not None:
            at = f"{place(x, row['reference']):.2f}%"
            parts.append(
                f'<svg x="{at}" y="{y}" overflow="visible"><path d="M0-7L6 0 0 7-6 0z" fill="none" stroke="{INK}" '
                'stroke-width="1.6"/></svg>'
            )
    return "".join(parts)

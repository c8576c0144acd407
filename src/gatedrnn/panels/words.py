"""Text and numbers as they stand in a panel: in HTML, in an address, at an axis, in a sentence, as data; no torch.

`number` and `phrase` have twins of the same names in `book/_static/panels.js`; a browser test holds the one against the
other.
"""

import html
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def escape(text: object) -> str:
    """Text as HTML, quotes included."""
    return html.escape(str(text), quote=True)


def slug(text: str) -> str:
    """A name as it stands in an address: lower-case letters, digits and hyphens.

    >>> slug("Which is Bach?")
    'which-is-bach'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def compact(values: object, digits: int = 4) -> Any:
    """An array as nested lists of short numbers: `digits` significant ones, None for what is not finite.

    >>> compact([1 / 3, 20000.0, float("nan")])
    [0.3333, 20000, None]
    """
    array = np.asarray(values, dtype=float)
    if array.ndim:
        return [compact(part, digits) for part in array]
    value = float(f"{array:.{digits}g}") if np.isfinite(array) else None
    return int(value) if value is not None and value == int(value) and abs(value) < 1e9 else value


def as_json(data: object) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def number(value: float, top: float = 1e5) -> str:
    """A number as it stands at an axis; from `top` on with a power of ten.

    >>> number(-0.5), number(1e-06), number(2e7)
    ('−0.5', '10⁻⁶', '2·10⁷')
    """
    if value and not 1e-3 <= abs(value) < top:
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        factor = f"{value / 10**exponent:.6g}"
        power = "10" + str(exponent).translate(SUPERSCRIPT)
        return (power if factor == "1" else f"{factor}·{power}").replace("-", "−")
    return f"{value:.10g}".replace("-", "−")


def phrase(template: str, values: Mapping[str, Any]) -> str:
    """A sentence with its numbers filled in: {name}, {name:.2f}, {name:.1e} or {name:.0%}.

    >>> phrase("z = {z:.2f}, gradient {g:.1e}", {"z": 0.5, "g": -0.00012})
    'z = 0.50, gradient −1.2·10⁻⁴'
    """

    def fill(match: re.Match) -> str:
        value, digits, kind = values[match[1]], match[2], match[3]
        if value is None:
            return "–"
        if digits is None:
            return value if isinstance(value, str) else number(value)
        text = f"{100 * value:.{digits}f} %" if kind == "%" else f"{value:.{digits}{kind}}"
        if kind == "e":
            factor, exponent = text.split("e")
            text = f"{factor}·10" + str(int(exponent)).translate(SUPERSCRIPT)
        return text.replace("-", "−")

    return re.sub(r"\{([^{}:]+)(?::\.(\d+)([fe%]))?\}", fill, template)


def symbols(text: str) -> str:
    """A formula in HTML: letters in italics, z_t and h_{t-1} with their index lowered.

    >>> symbols("z_t = σ(1.0)")
    '<i>z</i><sub>t</sub> = σ(1.0)'
    """
    text = re.sub(r"(?<![A-Za-z])([A-Za-z]\u0303?)(?![A-Za-z])(?!>)", r"<i>\1</i>", text.replace("-", "−"))
    text = re.sub(r"_\{([^}]*)\}", lambda m: f"<sub>{re.sub('</?i>', '', m[1])}</sub>", text)
    return re.sub(r"_<i>(\w)</i>", r"<sub>\1</sub>", text)

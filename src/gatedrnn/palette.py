"""Every colour of the book, on a light page and on a dark one; no torch, no matplotlib.

Pictures are drawn once, in light colours. A dark page gets a twin of each, in which every colour is replaced: the
units, the ink and the heat maps by colours chosen for it, any other by its mirror image in lightness, with its hue.
"""

import base64
import io
import re
from functools import cache

import numpy as np

from .units import UNITS

COLORS = {name: unit.color for name, unit in UNITS.items()}
INK, DIM, DIM_TEXT, FRAME, PAPER = "#222222", "#C4C4C4", "#767676", "#F7F7F7", "#FFFFFF"
MORE = ("#CC79A7", "#E69F00", "#56B4E9")  # beside the units', of Okabe and Ito's palette as well
GOOD, BAD, UNSURE = "#A6CEEC", "#F3CB80", "#E6E6E6"  # behind a claim that holds, that does not, that stays open

DARK = {
    INK: "#E4E4E4",
    PAPER: "#121212",
    FRAME: "#1C1C1C",
    DIM: "#505050",
    DIM_TEXT: "#969696",
    COLORS["tanh"]: "#F58A4B",
    COLORS["gru"]: "#4BA3E3",
    COLORS["lstm"]: "#35BD93",
    "#CC79A7": "#DB93BA",
    "#E69F00": "#F0B030",
    "#56B4E9": "#8CCBF2",
    GOOD: "#1D4E70",
    BAD: "#6B4B08",
    UNSURE: "#333333",
}

# Heat maps: name -> stops on a light page, stops on a dark one. All begin, or have their middle, at the page's colour.
MAPS = {
    "probability": (
        ("#FFFFFF", "#C6DBEF", "#6BAED6", "#2171B5", "#08306B"),
        ("#121212", "#15324A", "#1F5F8B", "#3F97C9", "#A9D8F2"),
    ),
    "gate": (
        ("#FFFFFF", "#D5DCEC", "#A3A5D0", "#7D62AE", "#4A1368"),
        ("#121212", "#2A2540", "#4D4379", "#7E70B4", "#C0B4E6"),
    ),
    "signed": (
        ("#8C4A00", "#DD8A2E", "#F6CF9E", "#FFFFFF", "#CFC8E4", "#8B7DBB", "#45227A"),
        ("#F6BE79", "#C27A26", "#5E3D17", "#121212", "#322D52", "#6C60A6", "#B7ACE6"),
    ),
}
LEVELS = 256


def rgb(color: str) -> tuple[int, int, int]:
    """The three channels, 0 to 255, of "#rrggbb" or "#rgb"."""
    digits = color.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def ramp(stops: tuple[str, ...]) -> np.ndarray:
    """A colour map (LEVELS, 3) of channels from 0 to 255, straight between its stops."""
    at, between = np.linspace(0, 1, len(stops)), np.linspace(0, 1, LEVELS)
    channels = np.array([rgb(stop) for stop in stops], dtype=float)
    return np.stack([np.interp(between, at, channel) for channel in channels.T], axis=1).round()


def _mirrored(colors: np.ndarray) -> np.ndarray:
    """Colours (n, 3) with their lightness turned upside down, between ink and paper of the dark page; hue is kept."""
    channels = colors / 255
    high, low = channels.max(1), channels.min(1)
    light = (high + low) / 2
    target = np.where(light < 0.5, 0.89 - 0.68 * light, 1.03 - 0.96 * light)
    room, wanted = 1 - np.abs(2 * light - 1), 1 - np.abs(2 * target - 1)
    stretch = np.where(room > 0, wanted / np.where(room > 0, room, 1), 0)  # the same saturation at another lightness
    return ((target[:, None] + (channels - light[:, None]) * stretch[:, None]) * 255).clip(0, 255).round()


@cache
def _known() -> tuple[np.ndarray, np.ndarray]:
    """All colours that have a chosen counterpart (n, 3), and those counterparts."""
    pairs = [(ramp(light), ramp(dark)) for light, dark in MAPS.values()]
    chosen = np.array([rgb(color) for color in DARK], dtype=float), np.array([rgb(color) for color in DARK.values()])
    light, dark = zip(chosen, *pairs, strict=True)
    return np.concatenate(light), np.concatenate(dark)


def dark_channels(colors: np.ndarray) -> np.ndarray:
    """The counterparts on a dark page of colours (n, 3), channels from 0 to 255."""
    light, dark = _known()
    distance = np.abs(colors[:, None, :].astype(float) - light[None]).max(2)  # (n, known)
    nearest = distance.argmin(1)
    return np.where((distance.min(1) <= 1)[:, None], dark[nearest], _mirrored(colors.astype(float)))


def dark(color: str) -> str:
    """The counterpart of a colour on a dark page.

    >>> dark("#222222"), dark("#0072b2"), dark("#FFFFFF"), dark("#888888")
    ('#E4E4E4', '#4BA3E3', '#121212', '#848484')
    """
    red, green, blue = dark_channels(np.array([rgb(color)]))[0].astype(int)
    return f"#{red:02X}{green:02X}{blue:02X}"


def dark_svg(svg: str) -> str:
    """The twin of a picture for a dark page: every colour replaced, in embedded rasters pixel by pixel.

    >>> dark_svg('<svg><path style="fill: #222222"/></svg>')
    '<svg fill="#E4E4E4"><path style="fill: #E4E4E4"/></svg>'
    """
    svg = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", lambda m: _dark_raster(m[1]), svg)
    svg = re.sub(r"(?<![\w&(/])(?<!href=\")#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b(?!;\w)", lambda m: dark(m[0]), svg)
    return re.sub(r"<svg\b", f'<svg fill="{DARK[INK]}"', svg, count=1)  # what is black by default


def _dark_raster(data: str) -> str:
    """A PNG in base64 with its colours replaced; transparency stays."""
    from PIL import Image

    picture = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))
    colors, where = np.unique(picture[..., :3].reshape(-1, 3), axis=0, return_inverse=True)
    picture[..., :3] = dark_channels(colors)[where.reshape(-1)].reshape(picture[..., :3].shape)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()

"""The colours of a dark page: readable, the same hue, and the same for every picture."""

import base64
import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from gatedrnn.palette import COLORS, DARK, INK, MAPS, MORE, PAPER, dark, dark_svg, ramp, rgb


def luminance(color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(color) / 255]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one, other) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", [*COLORS.values(), *MORE])
def test_lines_stand_out_on_a_dark_page(color):
    assert contrast(rgb(dark(color)), rgb(dark(PAPER))) >= 4.5


def test_ink_is_readable_and_greys_are_turned_over():
    assert contrast(rgb(dark(INK)), rgb(dark(PAPER))) > 7 and contrast(rgb(dark("#8A8A8A")), rgb(dark(PAPER))) > 3
    greys = [rgb(dark(f"#{v:02x}{v:02x}{v:02x}"))[0] for v in range(0, 256, 5)]
    assert all(b <= a + 25 for a, b in pairwise(greys)) and greys[0] > 200 > 30 > greys[-1]


@pytest.mark.parametrize("name", MAPS)
def test_a_heat_map_begins_at_the_page_and_grows_away_from_it(name):
    for stops, page in zip(MAPS[name], (PAPER, DARK[PAPER]), strict=True):
        middle = len(stops) // 2 if name == "signed" else 0
        assert stops[middle] == page
        away = [contrast(color, rgb(page)) for color in ramp(stops)]
        rising = away[128:] if name == "signed" else away
        assert all(b >= a - 0.02 for a, b in pairwise(rising))
        if name == "signed":
            assert all(b <= a + 0.02 for a, b in pairwise(away[:127]))
    assert contrast(ramp(MAPS[name][1])[-1], rgb(DARK[PAPER])) < 13  # a full field does not outshine the text


def test_a_raster_is_recoloured_through_its_map_and_keeps_its_transparency():
    light, dark_map = map(ramp, MAPS["gate"])
    pixels = np.concatenate([light, np.full((256, 1), 255)], axis=1).astype(np.uint8).reshape(16, 16, 4)
    pixels[0, 0, 3] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    svg = f'<svg><image href="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"/></svg>'
    data = dark_svg(svg).split("base64,")[1].split('"')[0]
    twin = np.array(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(twin[..., 3], pixels[..., 3])
    assert np.abs(twin[..., :3].reshape(-1, 3).astype(float) - dark_map).max() <= 2


def test_colours_in_a_picture_are_replaced_and_references_are_not():
    svg = (
        '<svg id="s"><use xlink:href="#abc" style="fill: #0072b2"/><path clip-path="url(#fade00)" stroke="#fff"/></svg>'
    )
    twin = dark_svg(svg)
    assert 'xlink:href="#abc"' in twin and "url(#fade00)" in twin
    assert f"fill: {DARK[COLORS['gru']]}" in twin and f'stroke="{DARK[PAPER]}"' in twin

"""Draw the picture of the landing page: the three units side by side. `python scripts/make_pictures.py`"""

import re
from pathlib import Path

from gatedrnn.diagrams import cell_diagram
from gatedrnn.palette import INK, dark_svg
from gatedrnn.units import UNITS

GAP, HEAD = 16, 36  # pixels between the units, and above them for their names


def picture() -> str:
    """The three units in one SVG, each with its name above."""
    diagrams = [cell_diagram(name, equations=False) for name in UNITS]
    height = max(diagram.size[1] for diagram in diagrams)
    inside, left = [], 0.0
    for diagram in diagrams:
        unit, (wide, high) = UNITS[diagram.unit], diagram.size
        title = unit.title + (" unit" if diagram.unit == "tanh" else "")
        inside.append(f'<text x="{left + wide / 2:g}" y="24" text-anchor="middle" font-size="24" '
                      f'font-family="sans-serif" fill="{INK}">{title}</text>')  # fmt: skip
        own = re.sub(r"html\[data-theme=\"dark\"\][^}]*}", "", diagram.svg)  # a file has no theme: it has a twin
        inside.append(own.replace("<svg ", f'<svg x="{left:g}" y="{HEAD + height - high:g}" ', 1))
        left += wide + GAP
    left -= GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left:g} {height + HEAD:g}" width="{left:g}" '
        f'height="{height + HEAD:g}" role="img" aria-label="The three units">{"".join(inside)}</svg>\n'
    )


def main() -> None:
    """Write book/_static/three_units.svg, and its twin for a dark page."""
    path = Path(__file__).resolve().parents[1] / "book" / "_static" / "three_units.svg"
    path.write_text(picture(), encoding="utf-8")
    path.with_name("three_units-dark.svg").write_text(dark_svg(picture()), encoding="utf-8")


if __name__ == "__main__":
    main()

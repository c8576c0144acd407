"""Draw the picture of the landing page: the three units side by side. `python scripts/make_pictures.py`"""

from pathlib import Path

import matplotlib.pyplot as plt

from gatedrnn.figures import cell_diagram, use_style
from gatedrnn.units import UNITS


def main() -> None:
    """Write book/_static/three_units.png."""
    use_style()
    figure, axes = plt.subplots(1, 3, figsize=(15, 3.9), layout="constrained", width_ratios=(7.5, 10.5, 11))
    for unit, ax in zip(UNITS, axes, strict=True):
        cell_diagram(unit, ax=ax)
        for text in [text for text in ax.texts if text.get_position()[1] < -0.6]:
            text.remove()  # the equations, which the chapters show
        ax.set(ylim=(-0.7, 6.3))
        ax.set_title("tanh unit" if unit == "tanh" else UNITS[unit].title, fontsize=16, loc="center")
    path = Path(__file__).resolve().parents[1] / "book" / "_static" / "three_units.png"
    figure.savefig(path, dpi=100, bbox_inches="tight", pad_inches=0.1)


if __name__ == "__main__":
    main()

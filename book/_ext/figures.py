"""Sphinx extension: a twin in dark colours for every SVG figure of the book's style.

A notebook stores a figure once, in the colours of a light page. While a page is read, each such picture gets a copy in
which the palette is replaced; the theme shows one or the other, as the reader's mode is.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from gatedrnn.palette import dark_svg


class DarkTwins(SphinxTransform):
    """Put a dark twin beside each SVG image, and give both the size that keeps their place while the page loads."""

    default_priority = 400  # before the images are collected

    def apply(self) -> None:
        """Look at every image that has no mode of its own."""
        for image in list(self.document.findall(nodes.image)):
            modes = {"only-light", "only-dark"} & set(image["classes"])
            if image["uri"].endswith(".svg") and "://" not in image["uri"] and not modes:
                self.pair(image, self.path(image["uri"]))

    def path(self, uri: str) -> Path:
        """Where a picture lies: beside the page's source, or below the book's root."""
        if uri.startswith("/") and not Path(uri).is_file():
            return Path(self.env.srcdir) / uri.lstrip("/")
        return Path(self.env.srcdir) / Path(self.env.docname).parent / uri

    def pair(self, image: nodes.image, path: Path) -> None:
        """Write the twin beside the picture, and show one or the other."""
        if not path.is_file():
            return  # Sphinx itself says what is missing
        svg = path.read_text(encoding="utf-8")
        twin = path.with_name(f"{path.stem}-dark.svg")
        made = dark_svg(svg)
        if not twin.is_file() or twin.read_text(encoding="utf-8") != made:
            twin.write_text(made, encoding="utf-8")
        for name, length in size(svg).items():
            image.setdefault(name, length)
        dark = image.deepcopy()
        dark["ids"], dark["names"] = [], []
        dark["uri"] = image["uri"].removesuffix(".svg") + "-dark.svg"
        image["classes"].append("only-light")
        dark["classes"].append("only-dark")
        image.parent.insert(image.parent.index(image) + 1, dark)


def size(svg: str) -> dict[str, str]:
    """Width and height of a picture in whole pixels, as attributes of its image."""
    opening = svg[svg.index("<svg") : svg.index(">", svg.index("<svg")) + 1]
    found = {}
    for name in ("width", "height"):
        if match := re.search(rf'\b{name}="([\d.]+)(pt|px)?"', opening):
            found[name] = str(round(float(match[1]) * (4 / 3 if match[2] == "pt" else 1)))
    return found


def keep_place(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Give sizes as attributes: as a style they would hold on a phone, too, and squeeze the picture.

    A picture is loaded when it comes near, and so the twin of the other mode never is.
    """
    if "body" in context:
        body = re.sub(r'style="width: (\d+)px; height: (\d+)px;"', r'width="\1" height="\2"', context["body"])
        context["body"] = re.sub(r"<img (?=[^>]*\bonly-(?:light|dark)\b)", '<img loading="lazy" ', body)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hooks."""
    app.add_transform(DarkTwins)
    app.connect("html-page-context", keep_place)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

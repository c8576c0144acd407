"""Sphinx extension: sounds as files beside the pages.

A notebook keeps a sound inside its output, as a data URI, so that it can be played there. In the built book it would
make the page a third heavier than the file is, and be loaded whether or not anybody listens. So each sound moves to
`_static/sounds/<sha256>.mp3`, once even where several pages play it.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx

EMBEDDED = re.compile(r"data:audio/mpeg;base64,([A-Za-z0-9+/=]+)")


def move_sounds(html: str, save: Callable[[str, bytes], str]) -> str:
    """The HTML with each embedded MP3 replaced by the address that `save(file name, bytes)` returns.

    >>> move_sounds('<audio src="data:audio/mpeg;base64,AAAA">', lambda name, mp3: f"sounds/{len(mp3)}.mp3")
    '<audio src="sounds/3.mp3">'
    """

    def move(match: re.Match) -> str:
        mp3 = base64.b64decode(match[1])
        return save(f"{hashlib.sha256(mp3).hexdigest()[:16]}.mp3", mp3)

    return EMBEDDED.sub(move, html)


def on_page(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Write the sounds of a page, and let it point to them."""
    folder = Path(app.outdir) / "_static" / "sounds"

    def save(name: str, mp3: bytes) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).write_bytes(mp3)
        return context["pathto"](f"_static/sounds/{name}", 1)

    if "body" in context:
        context["body"] = move_sounds(context["body"], save)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook."""
    app.connect("html-page-context", on_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

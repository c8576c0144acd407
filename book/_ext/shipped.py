"""Sphinx extension: the book's own scripts and styles are shipped without what only their authors read.

The sources in `book/_static` keep their comments and their layout; what lies in the built book has neither. Nothing is
renamed, so that an error in a reader's browser still names what it happened in.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

OWN = Path(__file__).resolve().parents[1] / "_static"
# A comment, or a piece that stays as it is: a string, a template (without another one in it), a regular expression.
PIECE = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|"""
    r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|/(?![ *])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\[\n])+/\w*""",
    re.DOTALL,
)


def squeeze(code: str) -> str:
    """Code of a script, between its strings, without the space that means nothing."""
    code = re.sub(r"[ \t]*\n\s*", "\n", code)
    code = re.sub(r" ([-+]) (?![-+])", r"\1", code)
    code = re.sub(r"(?<=[{}()\[\];,<>=!?:&|*%/]) +| +(?=[{}()\[\];,<>=!?:&|*%/])", "", code)
    code = code.replace(";}", "}").replace(";\n}", "}")
    return re.sub(r"(?<=[{(\[;,&|?:=+*<>])\n|\n(?=[})\].?:&|+*<>])|^\n(?=\n)", "", code)


def slim_script(source: str) -> str:
    """A classic script without comments and without space around its operators; lines end where they may matter.

    >>> slim_script('let a = 1; // one' + chr(10) + 'f(a + 1, "b  // c");')
    'let a=1;f(a+1,"b  // c");'
    """
    without = PIECE.sub(lambda match: "" if match["comment"] else match[0], source)
    parts, end = [], 0
    for match in PIECE.finditer(without):
        parts += [squeeze(without[end : match.start()]), match[0]]
        end = match.end()
    return "".join(join_constants([*parts, squeeze(without[end:])])).strip()


def join_constants(parts: list[str]) -> list[str]:
    """Constants that follow each other as one declaration; every second part is a string."""
    out, within = [], [False]  # for each bracket that is open: whether the present statement declares constants
    for k, part in enumerate(parts):
        if k % 2 == 0:
            pieces = re.split(r"(;const\b ?|\bconst\b|[;{}()\[\]])", part)
            for j, piece in enumerate(pieces):
                if piece.startswith(";const") and within[-1]:
                    pieces[j] = ","
                elif piece.endswith("const") or piece.startswith(";"):
                    within[-1] = "const" in piece
                elif piece in ("{", "(", "["):
                    within.append(False)
                elif piece in ("}", ")", "]"):
                    within.pop()
            part = "".join(pieces)
        out.append(part)
    return out


def slim_style(source: str) -> str:
    """A style sheet without comments and without space between its parts; strings hold no space that matters twice.

    >>> slim_style("a > b { color: red; /* loud */ }")
    'a>b{color:red}'
    """
    text = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" ?([{};,>!]) ?", r"\1", text)
    text = re.sub(r"(?<=[\s:,(-])0(?=\.\d)", "", text)
    return re.sub(r"(?<=[\w)-]): ", ":", text).replace(";}", "}").strip()


SLIM = {".js": slim_script, ".css": slim_style}


def ship(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the copies of the book's own scripts and styles."""
    if exception is not None or app.builder.format != "html":
        return
    for source in OWN.iterdir():
        if source.suffix in SLIM:
            slim = SLIM[source.suffix](source.read_text(encoding="utf8"))
            (Path(app.outdir) / "_static" / source.name).write_text(slim + "\n", encoding="utf8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook."""
    app.connect("build-finished", ship)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

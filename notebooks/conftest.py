"""How nbval compares a stored output with a fresh one.

Text is compared exactly, numbers with a decimal point or an exponent within a tolerance (another processor rounds
differently), whole numbers exactly. White space only separates: a column may be one character wider. Pictures are never
compared, and neither are sounds inside HTML. Of a panel only its kind and its name are: what it shows is drawn from
rounded numbers, and the numbers that matter stand in the text beside it. A warning on stderr is a difference, as in
plain nbval.
"""

import math
import re
import tempfile
from pathlib import Path

import nbval.kernel
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell, IPyNbFile

RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-6

NUMBER = re.compile(
    r"((?<![\w.])[-+]?(?:\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\d+)(?![\w]))"
)
PANEL = re.compile(r'<div class="panel" data-panel="\w+" id="[a-z0-9-]+"')
EMBEDDED = re.compile(r"data:([\w/+.-]+);base64,[A-Za-z0-9+/=\s]+")
PICTURES = (
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "application/papermill.record/image/png",
)


def pieces(text: str) -> list[str]:
    """Text and numbers in turn: the odd items are the numbers."""
    return NUMBER.split(EMBEDDED.sub(r"data:\1;base64,", text))


def same_number(left: str, right: str) -> bool:
    """Whole numbers must be equal, others close."""
    if left.lstrip("+-").isdigit() or right.lstrip("+-").isdigit():
        return left == right
    return math.isclose(
        float(left),
        float(right),
        rel_tol=RELATIVE_TOLERANCE,
        abs_tol=ABSOLUTE_TOLERANCE,
    )


def same_output(left: str, right: str) -> bool:
    """Whether two outputs agree."""
    panels = PANEL.match(left), PANEL.match(right)
    if any(panels):
        return all(panels) and panels[0][0] == panels[1][0]
    lefts, rights = pieces(left), pieces(right)
    if len(lefts) != len(rights):
        return False
    text_agrees = all(
        a.split() == b.split()
        for a, b in zip(lefts[::2], rights[::2], strict=True)
    )
    return text_agrees and all(
        same_number(a, b)
        for a, b in zip(lefts[1::2], rights[1::2], strict=True)
    )


class Output(str):
    """A string that equals what agrees with it."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and same_output(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other


def tolerant(sanitize):
    """Wrap nbval's sanitising of one output value."""

    def wrapped(self, value):
        value = sanitize(self, value)
        return Output(value) if isinstance(value, str) else value

    return wrapped


def without_pictures(init):
    """Wrap the constructor that lists the kinds of output nbval leaves out."""

    def wrapped(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.skip_compare += PICTURES

    return wrapped


SOCKETS = tempfile.TemporaryDirectory()


def start_manager(**kwargs) -> KernelManager:
    """A kernel manager with sockets in a folder of its own: kernels that start together can be given the same port."""
    folder = tempfile.mkdtemp(dir=SOCKETS.name)
    return KernelManager(
        transport="ipc",
        connection_file=str(Path(folder) / "kernel.json"),
        **kwargs,
    )


nbval.kernel.KernelManager = start_manager
IPyNbCell.sanitize = tolerant(IPyNbCell.sanitize)
IPyNbFile.__init__ = without_pictures(IPyNbFile.__init__)

"""Sphinx extension: the directive `{api}`, the public names of the package with their signatures and docstrings.

The docstrings are plain text for `help()`; here their paragraphs, their `names` in backticks and their examples stand
as they are, so that nothing has to be written twice.
"""

import inspect
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import gatedrnn


def paragraphs(text: str) -> list[nodes.Node]:
    """A docstring as paragraphs, its examples as blocks of code."""
    found: list[nodes.Node] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        if block.startswith(">>>"):
            found.append(nodes.literal_block(block, block, language="pycon"))
        elif block.startswith("    "):
            block = inspect.cleandoc(block)
            found.append(nodes.literal_block(block, block, language="python"))
        else:
            lines = re.split(r"\n(?=- |\w[\w, ]* : )", block)  # an item, or a parameter, has a line of its own
            found += [sentence(" ".join(line.split())) for line in lines]
    return found


def sentence(text: str) -> nodes.paragraph:
    """A paragraph in which `names` in one or two backticks are set as code."""
    paragraph = nodes.paragraph()
    for k, part in enumerate(re.split(r"``?([^`]+)``?", text)):
        if part:
            paragraph += nodes.literal(part, part) if k % 2 else nodes.Text(part)
    return paragraph


def signature(name: str, thing: object) -> str:
    """A name with its parameters and their defaults; what they hold, the docstring says better than a type."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(thing).parameters.values()]
    own = [p for p in parameters if p.name not in ("self", "cls")]
    return name + str(inspect.Signature(own))


def methods(thing: type) -> list[nodes.Node]:
    """A definition list of what a class of the package does: each method or property by its first paragraph."""
    members = {}
    for base in reversed(thing.__mro__):
        if base.__module__.startswith("gatedrnn."):
            members |= vars(base)
    found = nodes.definition_list()
    for name, member in members.items():
        function = getattr(member, "__func__", member)
        if (
            name.startswith("_")
            or not function.__doc__
            or not (inspect.isroutine(function) or isinstance(member, property))
        ):
            continue
        text = name if isinstance(member, property) else signature(name, function)
        says = nodes.definition("", paragraphs(inspect.cleandoc(function.__doc__))[0])
        found += nodes.definition_list_item("", nodes.term("", "", nodes.literal(text, text)), says)
    return [found] if found.children else []


def sections() -> list[nodes.Node]:
    """A section for each public name of the package, in the order of `gatedrnn.HOMES`."""
    found: list[nodes.Node] = []
    for module, names in gatedrnn.HOMES.items():
        for name in names:
            thing = getattr(gatedrnn, name)
            section = nodes.section(ids=[f"api-{name.lower()}"], names=[f"api-{name.lower()}"])
            section += nodes.title(name, name)
            if callable(thing):
                section += nodes.literal_block(text := signature(name, thing), text, language="python")
                section += paragraphs(inspect.getdoc(thing) or "")
                section += methods(thing) if inspect.isclass(thing) else []
            else:
                section += sentence(f"A dict with the keys `{'`, `'.join(thing)}`; each value is a `Unit`.")
            section += sentence(f"From `gatedrnn.{module}`.")
            found.append(section)
    return found


class Api(SphinxDirective):
    """The sections of all public names."""

    def run(self) -> list[nodes.Node]:
        """Build them."""
        return sections()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("api", Api)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

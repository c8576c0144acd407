"""Sphinx extension: the directive `{quiz}`, a question that stays plain markdown.

Written in a page or in a notebook's markdown cell::

    ```{quiz} What does a forget gate of 1 do?
    :name: quiz-02-forget

    More of the question may follow here, with $formulas$, code or a figure.

    - [ ] It forgets everything.

      The name misleads: the gate is the share that is kept.
    - [x] It keeps everything.

      $c_t = 1 \\cdot c_{t-1} + \\dots$: nothing of the old content is lost.
    ```

A choice is an item that begins with `- [ ]` (wrong) or `- [x]` (right); its first paragraph is what the reader chooses,
and what follows, indented by two spaces, says why it is right or wrong. Every choice needs that explanation, and at
least one is right; with several right ones the reader ticks boxes and checks them together. `:name:` makes the
progress of a reader survive a change of the order; without it the question is known by its number on the page. The
built page is complete without script and in print: each choice with its verdict and its reason. `panels.js` hides the
reasons until the reader has chosen.
"""

import re
import string
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CHOICE = re.compile(r"^- \[( |x|X)\] +(?=\S)", re.MULTILINE)


class Box(nodes.General, nodes.Element):
    """A `div` with classes and nothing of the theme's own."""


def parse(text: str) -> tuple[str, list[tuple[bool, str, str]]]:
    """The question, and of each choice whether it is right, its text and its explanation.

    Raises ValueError, in one sentence that says what to do, for a quiz that is not complete.

    >>> parse("Which?\\n\\n- [ ] a\\n\\n  Too small.\\n- [x] b\\n\\n  Just so.")
    ('Which?', [(False, 'a', 'Too small.'), (True, 'b', 'Just so.')])
    """
    question, *parts = CHOICE.split(text)
    choices = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        first, _, rest = re.sub(r"^  ", "", body, flags=re.MULTILINE).strip().partition("\n\n")
        if not rest.strip():
            raise ValueError(f"the choice {first!r} has no explanation: add one, indented, after an empty line")
        choices.append((mark != " ", first, rest.strip()))
    if not question.strip():
        raise ValueError("the quiz has no question: write one before the choices")
    if len(choices) < 2:
        raise ValueError("a quiz needs at least two choices, each an item that begins with - [ ] or - [x]")
    if not any(right for right, _, _ in choices):
        raise ValueError("no choice of the quiz is right: mark at least one with - [x]")
    return question.strip(), choices


class Quiz(SphinxDirective):
    """One question with its choices."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"name": str}

    def run(self) -> list[nodes.Node]:
        """Build the question."""
        text = "\n".join([*self.arguments, "", *self.content])
        try:
            question, choices = parse(text)
        except ValueError as problem:
            raise self.error(f"quiz: {problem}") from None
        number = self.env.temp_data["quizzes"] = self.env.temp_data.get("quizzes", 0) + 1
        name = nodes.make_id(self.options.get("name", f"quiz-{number}"))
        several = sum(right for right, _, _ in choices) > 1
        box = Box(classes=["quiz"], ids=[name])
        hint = " (more than one choice is right)" if several else ""
        box += nodes.paragraph("", f"Question {number}{hint}", classes=["quiz-label"])
        box += self.part("quiz-question", question)
        for letter, (right, words, why) in zip(string.ascii_lowercase, choices, strict=False):
            choice = Box(classes=["quiz-choice", *(["right"] if right else [])])
            choice += self.part("quiz-text", f"{letter}) {words}")
            reason = self.part("quiz-why", f"**{'Right' if right else 'Wrong'}.** {why}")
            choice += reason
            box += choice
        return [box]

    def part(self, name: str, markdown: str) -> Box:
        """A box with parsed markdown."""
        return Box("", *self.parse_text_to_nodes(markdown), classes=[name])


def open_box(writer, node: Box) -> None:
    """Begin the `div`."""
    writer.body.append(writer.starttag(node, "div"))


def close_box(writer, node: Box) -> None:
    """End it."""
    writer.body.append("</div>\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_node(Box, html=(open_box, close_box))
    app.add_directive("quiz", Quiz)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

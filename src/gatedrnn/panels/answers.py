"""Questions with their answers: a word in the colour of a verdict, and a sentence below it."""

from collections.abc import Iterable
from dataclasses import dataclass

from .words import escape

KINDS = ("yes", "no", "mixed", "open")


@dataclass(frozen=True, repr=False)
class Answers:
    """Answers (kind, question, word, sentence) side by side; below each other on a narrow page."""

    items: tuple[tuple[str, str, str, str], ...]

    def __repr__(self) -> str:
        return "\n".join(f"{question} {word}. {sentence}" for _, question, word, sentence in self.items)

    def _repr_html_(self) -> str:
        said = ((kind, question, word, f"<small>{escape(below)}</small>") for kind, question, word, below in self.items)
        return listed(said, "verdicts said")


def answers(items: Iterable[tuple[str, str, str, str]]) -> Answers:
    """Show (kind, question, word, sentence), each in the colour of its kind: "yes", "no", "mixed" or "open".

    Raises ValueError for another kind.

    >>> answers([("mixed", "Are they better?", "It depends", "By 0.1 nats here, not there.")])
    Are they better? It depends. By 0.1 nats here, not there.
    """
    told = tuple((kind, question, word, sentence) for kind, question, word, sentence in items)
    if unknown := {kind for kind, *_ in told} - set(KINDS):
        raise ValueError(f"An answer is {', '.join(KINDS)}, not {', '.join(sorted(unknown))}.")
    return Answers(told)


def listed(items: Iterable[tuple[str, str, str, str]], classes: str = "verdicts") -> str:
    """HTML of (kind, question, word, what stands below as HTML)."""
    cells = (
        f'<li class="{kind}"><span>{escape(question)}</span><b>{escape(word)}</b>{below}</li>'
        for kind, question, word, below in items
    )
    return f'<ul class="{classes}">{"".join(cells)}</ul>'

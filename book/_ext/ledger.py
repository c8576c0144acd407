"""Sphinx extension: the directive `{ledger}`, the table of claims that `book/claims.yml` holds.

A verdict that rests on records is computed from them when the book is built.
"""

import json
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gatedrnn import claims, comparison

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {"claim", "by", "page", "held", "verdict"}


def read(path: Path = ROOT / "book" / "claims.yml") -> dict[str, list[dict]]:
    """Topic -> its claims. Raises ValueError, naming the claim and the field, where one is missing or unknown."""
    topics = yaml.safe_load(path.read_text(encoding="utf8"))
    for entry in (entry for entries in topics.values() for entry in entries):
        wrong = (FIELDS - entry.keys()) | (entry.keys() - FIELDS - {"note"})
        if wrong:
            raise ValueError(f"{path.name}: {entry.get('claim', entry)!r} lacks, or should not have: {sorted(wrong)}")
    return topics


def verdict(asked: str | dict, found: comparison.Found) -> str:
    """A verdict in words. Raises ValueError for a question that records cannot be asked."""
    if isinstance(asked, str):
        return asked
    if asked.keys() == {"recorded"}:
        return recorded(asked["recorded"], found)
    column = asked.get("column")
    if asked.keys() == {"column", "claim"}:
        summary = claims.summary(found, column)
        if asked["claim"] not in summary.index:
            raise ValueError(f"no claim {asked['claim']!r}: the records know {', '.join(summary.index)}")
        row = summary.loc[asked["claim"]]
        where = [f"{word} {row[word]}" for word in ("yes", "no", "open") if row[word] not in ("", "–")]
        return row["verdict"] + (f" ({'; '.join(where)})" if where else "")
    if asked.keys() == {"column", "inside"}:
        several = [record for place, record in found.items() if place[0] == column and place[1] in comparison.MUSIC]
        held, of = comparison.inside(comparison.table(several))
        return f"{held} of our {of} intervals hold the paper's figure"
    raise ValueError(f"a verdict is a sentence, or one of the forms at the top of claims.yml, not {asked}")


def recorded(column: str, found: comparison.Found) -> str:
    """How much of a column that was declared before its results is recorded by now."""
    from gatedrnn import study  # only here, for torch

    declared = {str(trial) for trial in study.FURTHER if trial.column == column}
    if not declared:
        raise ValueError(f"no column {column!r} is declared in study.FURTHER")
    there = len(declared & {"/".join(place) for place in found})
    return "recorded" if there == len(declared) else f"run so far: {there} of {len(declared)} trials"


def cell_with(page: str, words: str) -> str:
    """The id of the first cell of a notebook that asserts these words. Raises ValueError if none does."""
    for cell in json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf8"))["cells"]:
        lines = "".join(cell["source"]).splitlines()
        if any(line.lstrip().startswith("assert ") and words in line for line in lines):
            return cell["id"]
    raise ValueError(f"claims.yml: no cell of {page} asserts {words!r}")


def witness(target: str) -> str:
    """A test in words that can be broken over lines, or a cell with the label that `checked.py` gives it.

    >>> witness("tests/test_cells.py::test_gru_limits")
    'gru limits (test_cells)'
    >>> witness("notebooks/08_use_it#c8-run-checked")
    '{ref}`cell c8-run-checked <notebooks/08_use_it#c8-run-checked>`'
    """
    file, _, test = target.partition("::")
    if test:
        return f"{test.removeprefix('test_').replace('_', ' ')} ({Path(file).stem})"
    page, _, words = target.partition(": ")
    if not words:
        return f"{{ref}}`cell {page.partition('#')[2]} <{page}>`"
    return f"`{words}` ({{ref}}`cell <{page}#{cell_with(page, words)}>`)"


def markdown(topics: dict[str, list[dict]], found: comparison.Found) -> str:
    """The tables, a section a topic."""
    lines = []
    for topic, entries in topics.items():
        lines += [f"## {topic}", "", "| claim | verdict | in this book | held by |", "|---|---|---|---|"]
        for entry in entries:
            page, _, label = entry["page"].partition("#")
            where = f"{{doc}}`/{page}`" + (f", {{numref}}`{label}`" if label else "")
            held = "<br>".join(map(witness, entry["held"]))
            says = f"**{verdict(entry['verdict'], found)}**" + (f". {entry['note']}" if "note" in entry else "")
            lines.append(f"| {entry['claim']} *({entry['by']})* | {says} | {where} | {held} |")
        lines.append("")
    return "\n".join(lines)


class Ledger(SphinxDirective):
    """The ledger, read from `book/claims.yml` and from the records."""

    def run(self) -> list[nodes.Node]:
        """Build the tables."""
        for path in (ROOT / "book" / "claims.yml", *sorted((ROOT / "book" / "results").glob("*/*.json"))):
            self.env.note_dependency(str(path))
        text = markdown(read(), comparison.read(ROOT / "book" / "results"))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("ledger", Ledger)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx extension: the landing page's directives `{continuations}`, `{verdicts}`, `{units}` and `{citation}`.

All are made when the book is built: what is heard from the networks whose parameters are kept with the records, the
verdicts from the records of finished runs, the citation from CITATION.cff.
"""

from html import escape
from pathlib import Path

from docutils import nodes
from page import authors, citation
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from gatedrnn import claims, columns, comparison, panels
from gatedrnn.diagrams import cell_diagram
from gatedrnn.files import DataError, read_npz
from gatedrnn.panels.answers import listed
from gatedrnn.units import UNITS

QUESTIONS = {
    "GRU better than tanh": "Is the GRU better than the tanh unit?",
    "LSTM better than tanh": "Is the LSTM better than the tanh unit?",
    "GRU faster, by updates": "Does the GRU learn in fewer updates than the tanh unit?",
    "GRU and LSTM alike": "Are the GRU and the LSTM equally good?",
}
ANSWERS = {
    claims.SUPPORTED: ("yes", "Yes"),
    claims.AGAINST: ("no", "No"),
    claims.MIXED: ("mixed", "It depends on the data"),
    claims.OPEN: ("open", "Not settled"),
    claims.MISSING: ("open", "Not run yet"),
}
COLUMNS = {"paper": "the paper’s settings", "best": "trained with care"}
CHORALE, OPENING, STEPS, SEED = 48, 16, 48, 3  # those of chapter 6: a piece of the test set, and how it goes on


def continuations(parameters: dict[str, Path]) -> panels.Panel:
    """A chorale, and how each unit's kept network goes on after its opening. Raises DataError without the data set."""
    import torch  # needed by this one panel alone

    from gatedrnn.datasets import load
    from gatedrnn.model import music_model
    from gatedrnn.network import Network
    from gatedrnn.sampling import sample_roll

    data = load("bach_chorales", progress=False)
    chorale = data.test[CHORALE][:STEPS]
    rolls = {"Bach": chorale}
    for unit, path in parameters.items():
        theta = torch.from_numpy(read_npz(path)["theta"]).double()
        network = Network(music_model(unit), theta)
        drawn = sample_roll(network, STEPS - OPENING, opening=chorale[:OPENING], seed=SEED)
        rolls[UNITS[unit].title] = drawn
    return panels.listen(
        rolls,
        opening=OPENING,
        step_seconds=data.step_seconds,
        title="Sixteen chords by Bach, continued",
        caption="Press play, then choose who goes on. Bach wrote the grey notes, and all three units have read them. "
        "At the dashed line each is left alone, and draws every further chord itself.",
    )


class Continuations(SphinxDirective):
    """The panel of `continuations`; left out, with a word in the build's log, where there is no data set."""

    def run(self) -> list[nodes.Node]:
        """Build the panel."""
        folder = Path(self.env.app.srcdir) / "book" / "results" / "paper"
        parameters = {unit: folder / f"bach_chorales_{unit}.npz" for unit in UNITS}
        for path in parameters.values():
            self.env.note_dependency(str(path))
        try:
            panel = continuations(parameters)
        except DataError as error:
            logging.getLogger(__name__).info("The landing page has no music: %s", error)
            return []
        return [nodes.raw("", panel._repr_html_(), format="html")]


def bar(by_set: dict[str, str], settings: str) -> str:
    """One small square a data set, coloured by its verdict, with the verdicts in words for those who do not see it."""
    words = "; ".join(f"{comparison.SETS[name]}: {verdict}" for name, verdict in by_set.items())
    squares = "".join(
        f'<i class="{ANSWERS[verdict][0]}" title="{comparison.SETS[name]}: {verdict}">{claims.LETTERS[name]}</i>'
        for name, verdict in by_set.items()
    )
    held = sum(verdict == claims.SUPPORTED for verdict in by_set.values())
    known = sum(verdict != claims.MISSING for verdict in by_set.values())
    name = escape(f"{settings}: {words}")
    sets = f'<span class="sets" role="img" aria-label="{name}">{squares}</span>'
    return f"<small>{settings}: {held} of {known}</small>{sets}"


def strip(folder: Path) -> str:
    """The list of questions with this book's answers, by the columns that have records."""
    found = comparison.read(folder)
    judged = {column: claims.judged(found, column) for column in COLUMNS if any(at[0] == column for at in found)}
    if not judged:
        raise ValueError(f"no records of the study lie under {folder}: run `make study`, or take the directive out")
    main = next(iter(judged))
    items = []
    for claim, question in QUESTIONS.items():
        kind, answer = ANSWERS[claims.overall(judged[main][claim].values())]
        # no word on pace where a schedule sets it
        told = [c for c in judged if "faster" not in claim or columns.COLUMNS[c].protocol.schedule == "constant"]
        bars = "".join(bar(judged[column][claim], COLUMNS[column]) for column in told)
        items.append((kind, question, answer, bars))
    return listed(items)


class Verdicts(SphinxDirective):
    """The paper's questions with this book's answers, read from `book/results`."""

    def run(self) -> list[nodes.Node]:
        """Build the strip; outside HTML it is left out."""
        folder = Path(self.env.app.srcdir) / "book" / "results"
        for path in sorted(folder.glob("*/*.json")):
            self.env.note_dependency(str(path))
        return [nodes.raw("", strip(folder), format="html")]


class Units(SphinxDirective):
    """The diagrams of the three units at one scale, below each other on a phone; the content is the caption."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Build the figure."""
        drawn = ""
        for name, unit in UNITS.items():
            diagram = cell_diagram(name, equations=False)
            wide = round(diagram.size[0])
            title = unit.title + " unit" * (name == "tanh")
            drawn += f'<div style="flex: {wide} 1 {wide // 3}px; max-width: {wide}px">{title}{diagram.svg}</div>'
        figure = nodes.figure("", nodes.raw("", f'<div class="units">{drawn}</div>', format="html"))
        figure += nodes.caption("", "", *self.parse_inline(" ".join(self.content), lineno=self.lineno)[0])
        return [figure]


class Citation(SphinxDirective):
    """How to cite the book, as BibTeX."""

    def run(self) -> list[nodes.Node]:
        """Build the entry."""
        cff = citation(self.env.app)
        fields = {
            "title": f"{{{cff['title']}}}",
            "author": f"{{{authors(cff)}}}",
            "version": cff["version"],
            "year": self.config.copyright.split(",")[0].split()[-1],
            "url": cff.get("url") or cff.get("repository-code"),
        }
        lines = [f"  {name:8}= {{{value}}}," for name, value in fields.items() if value]
        text = "\n".join(["@software{gatedrnn,", *lines, "}"])
        return [nodes.literal_block(text, text, language="bibtex")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("continuations", Continuations)
    app.add_directive("verdicts", Verdicts)
    app.add_directive("units", Units)
    app.add_directive("citation", Citation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

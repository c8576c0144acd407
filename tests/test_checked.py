"""The mark behind a sentence leads to the folded cell that checks it."""

from collections.abc import Callable

import nbformat
import pytest
from bs4 import BeautifulSoup

pytest.importorskip("myst_nb")

text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
FOLDED = {"tags": ["hide-cell"]}


@pytest.fixture
def build(sphinx_pages) -> Callable[..., tuple[BeautifulSoup, str]]:
    """Build a book of one notebook, and a page that refers to it: the notebook's page and the warnings."""

    def made(*cells: nbformat.NotebookNode) -> tuple[BeautifulSoup, str]:
        for number, cell in enumerate(cells):
            cell.id = f"c{number}"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        kernel |= {"language_info": {"name": "python", "pygments_lexer": "python"}}
        notebook = nbformat.v4.new_notebook(cells=list(cells), metadata=kernel)
        index = "# Book\n\n```{toctree}\npage\n```\n\n{ref}`its check <page#c1>`\n"
        out, warnings = sphinx_pages({"page.ipynb": nbformat.writes(notebook), "index.md": index}, "myst_nb", "checked")
        link = BeautifulSoup((out / "index.html").read_text("utf8"), "html.parser").find(string="its check")
        assert link.find_parent("a")["href"] == "page.html#c1"
        return BeautifulSoup((out / "page.html").read_text("utf8"), "html.parser"), warnings

    return made


def test_a_mark_leads_into_the_nearest_check_on_its_side(build):
    page, warnings = build(
        text("# Page\n\nFirst.{checked}`below`"),
        code("# Checked: one\nassert True", metadata=FOLDED),
        text("Second.{checked}`above` Third.{checked}`below`"),
        code("x = 1"),
        code("# Checked: two\nassert True", metadata=FOLDED),
    )
    assert not warnings
    marks = page.select("sup.checked > a")
    assert [mark["href"] for mark in marks] == ["#c1", "#c1", "#c4"]
    assert [mark["aria-label"] for mark in marks] == ["checked below", "checked above", "checked below"]
    assert {mark.get_text() for mark in marks} == {"✓"}
    for mark in marks:
        target = page.find(id=mark["href"][1:])
        assert target.find_parent("details") is not None, "a browser unfolds only what lies inside"
        assert target.get_text().strip().startswith("# Checked")
    assert len([script for script in page.find_all("script") if "hashchange" in script.text]) == 1


@pytest.mark.parametrize(
    "written, said", [("`above`", "no cell above"), ("`there`", "write {checked}`below` or {checked}`above`")]
)
def test_a_mark_that_leads_nowhere_is_a_warning(build, written, said):
    page, warnings = build(text("# Page\n\nFirst.{checked}" + written), code("# Checked: one", metadata=FOLDED))
    assert said in warnings and "page.ipynb" in warnings
    assert not page.select(".checked")

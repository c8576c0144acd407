"""The student edition has the exercises and none of the solutions."""

import doctest
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def student(load_script):
    """The script."""
    return load_script("scripts/student_edition.py")


def markdown(notebook: nbformat.NotebookNode) -> str:
    """All text cells, joined."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_the_example_in_the_script(student):
    assert doctest.testmod(student).attempted and not doctest.testmod(student).failed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_stay_and_solutions_go(student, path):
    whole, notebook = (nbformat.read(path, as_version=4) for _ in "ab")
    notebook = student.student_edition(notebook)
    nbformat.validate(notebook)
    text = markdown(notebook)
    assert "{solution" not in text and "- [x]" not in text
    assert text.count("{exercise") == markdown(whole).count("{exercise")
    assert text.count("\n- [ ] ") == sum(markdown(whole).count(f"\n- [{mark}] ") for mark in " x")
    assert not text.count("```") % 2
    before = [cell.id for cell in whole.cells]
    assert [cell.id for cell in notebook.cells] == [name for name in before if name in {c.id for c in notebook.cells}]


def test_cells_of_a_solution_go_and_cells_around_it_stay(student):
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [
        text("Do it.\n\n```{solution-start} ex\n:class: dropdown\n```\nSo."),
        code("x = 1"),
        text("And so.\n```{solution-end}\n```\n\n## Next"),
        code("y = 2"),
    ]
    notebook = student.student_edition(nbformat.v4.new_notebook(cells=cells))
    assert [cell.source for cell in notebook.cells] == ["Do it.", "## Next", "y = 2"]


def test_a_solution_that_does_not_end_is_an_error(student):
    cells = [nbformat.v4.new_markdown_cell("```{solution-start} ex\n```\nSo.")]
    with pytest.raises(ValueError, match="does not end"):
        student.student_edition(nbformat.v4.new_notebook(cells=cells))

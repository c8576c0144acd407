"""Structure of the notebooks and of the tree: what nbval and the linter do not see."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))["parts"]


def notebooks_of(parts: list[dict]) -> list[str]:
    """Names of the notebooks in some parts of the contents, in their order."""
    files = [Path(chapter["file"]) for part in parts for chapter in part["chapters"]]
    return [file.name for file in files if file.parts[0] == "notebooks"]


# Chapters are the notebooks of the numbered parts; others are pages of reference, which teach nothing in an order.
CHAPTERS = notebooks_of([part for part in PARTS if part.get("numbered")])
chapters_only = pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem in CHAPTERS], indirect=True, ids=lambda path: path.stem
)
FIRST_CHAPTERS = ["01_vanilla_rnn", "02_lstm_cell", "03_gru_cell", "04_discussion", "05_experiments", "06_results"]


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells with something in them."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def markdown(notebook: nbformat.NotebookNode) -> str:
    """All text cells, joined."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """Each notebook in turn."""
    return request.param


@pytest.fixture
def notebook(path: Path) -> nbformat.NotebookNode:
    """Each notebook in turn, read."""
    return nbformat.read(path, as_version=4)


def test_the_chapters_of_the_contents_exist():
    assert CHAPTERS[:6] == FIRST_CHAPTERS
    assert sorted(notebooks_of(PARTS)) == [path.stem for path in NOTEBOOKS]


def test_valid_and_stable(path: Path, notebook: nbformat.NotebookNode):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}, "run `make execute`: it drops what varies"
    assert notebook.metadata.language_info == {"name": "python"}
    assert not [cell.id for cell in notebook.cells if "execution" in cell.metadata]
    assert path.stat().st_size < 2_000_000


def test_executed_in_order(notebook: nbformat.NotebookNode):
    assert not [cell.id for cell in notebook.cells if cell.cell_type == "code" and not cell.source.strip()]
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "nbval compares nothing in a cell without a count"


def test_no_errors_and_no_warnings(notebook: nbformat.NotebookNode):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", cell.source


def test_no_way_around_the_comparison(notebook: nbformat.NotebookNode):
    markers = re.compile(r"#\s*(NBVAL_|PYTEST_VALIDATE)")
    for cell in code_cells(notebook):
        assert not markers.search(cell.source)
        assert not [tag for tag in cell.metadata.get("tags", ()) if "nbval" in tag or tag == "raises-exception"]


def test_no_trailing_semicolon(notebook: nbformat.NotebookNode):
    assert not [cell.source for cell in code_cells(notebook) if cell.source.rstrip().endswith(";")]


def test_figures_have_caption_label_and_description(notebook: nbformat.NotebookNode):
    labels = []
    for cell in code_cells(notebook):
        pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        if not pictures:
            continue
        assert len(pictures) == 1, f"one figure a cell, or its caption describes several: {cell.source}"
        settings = cell.metadata.get("mystnb", {})
        assert len(settings.get("figure", {}).get("caption", "")) > 20, cell.source
        assert len(settings.get("image", {}).get("alt", "")) > 20, cell.source
        labels.append(settings["figure"].get("name"))
    assert all(labels)
    assert len(labels) == len(set(labels))


def test_glued_values_exist(notebook: nbformat.NotebookNode):
    used = set(re.findall(r"\{glue(?::\w+)?\}`([^`:]+)", markdown(notebook)))
    stored = {
        output.metadata.scrapbook.name
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "scrapbook" in output.get("metadata", {})
    }
    assert used <= stored
    assert stored <= used | set(re.findall(r"\{glue(?::\w+)?\} (\S+)", markdown(notebook))), "glued and never shown"


@chapters_only
def test_opening_and_end_of_a_chapter(notebook: nbformat.NotebookNode):
    opening = "\n".join(cell.source for cell in notebook.cells[:4]).lower()
    assert "be able to" in opening
    assert re.search(r"\d+ minutes", opening)
    assert "prerequisite" in opening or "you need" in opening
    text = markdown(notebook)
    headings = " ".join(re.findall(r"^#+ (.+)$", text, re.M)).lower()
    for section in ("recap", "quiz", "exercises"):
        assert section in headings, f"a section called {section}"
    exercises = re.findall(r"\{exercise(?:-start)?\}", text)
    solutions = re.findall(r"\{solution(?:-start)?\}", text)
    assert 0 < len(exercises) == len(solutions)


@chapters_only
def test_minutes_agree_with_the_landing_page_and_the_readme(path: Path, notebook: nbformat.NotebookNode):
    opening = "\n".join(cell.source for cell in notebook.cells[:4])
    minutes = re.search(r"(\d+) minutes", opening)[1]
    for page in (ROOT / "index.md", ROOT / "README.md"):
        (row,) = [line for line in page.read_text(encoding="utf8").splitlines() if f"notebooks/{path.stem}" in line]
        assert row.rstrip(" |").endswith(f"| {minutes}"), f"{page.name}: {row}"


def test_opens_with_its_title(notebook: nbformat.NotebookNode):
    assert notebook.cells[0].source.startswith("# ")


def test_every_module_has_a_test_module():
    modules = {path.stem for path in (ROOT / "src" / "gatedrnn").glob("*.py")} - {"__init__"}
    assert modules <= {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}


def text_of(path: Path) -> str:
    """A file's text as a reader sees it: of a notebook, the sources and the printed outputs."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf8", errors="ignore")
    cells = json.loads(path.read_text(encoding="utf8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    kept = [(kind, data) for output in outputs for kind, data in output.get("data", {}).items() if "image" not in kind]
    return json.dumps([[cell["source"] for cell in cells], [output.get("text") for output in outputs], kept])


def test_no_file_names_a_place_on_one_machine(project_files: list[Path], root: Path):
    folders = "|".join(("home", "root", "tmp", "work", "Users", "opt"))
    place = re.compile(rf"(?<![\w.*-])/({folders})/\w")
    embedded = re.compile(r"base64,[A-Za-z0-9+/=\s\\n]+")
    found = {}
    for path in project_files:
        if match := place.search(embedded.sub("", text_of(path))):
            found[str(path.relative_to(root))] = match[0]
    assert not found


def test_no_pickles(root: Path):
    pattern = re.compile(r"^\s*(import|from)\s+(pickle|cPickle|dill|joblib|shelve)\b|allow_pickle\s*=\s*True", re.M)
    unsafe = re.compile(r"torch\.(load|save)\(")
    for path in (*(root / "src").rglob("*.py"), *NOTEBOOKS):
        text = path.read_text(encoding="utf8")
        assert not pattern.search(text) and not unsafe.search(text), path.name

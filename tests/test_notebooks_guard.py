"""Structure of the notebooks and of the tree: what nbval and the linter do not see."""

import json
import re
from collections import Counter
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


PICTURES = {"image/png", "image/svg+xml"}


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
    assert set(notebook.metadata) - {"lesson"} == {"kernelspec", "language_info"}, "`make execute` drops what varies"
    assert notebook.metadata.language_info == {"name": "python"}
    assert not [cell.id for cell in notebook.cells if "execution" in cell.metadata]
    assert path.stat().st_size < 2_000_000


def test_executed_in_order(notebook: nbformat.NotebookNode):
    assert not [cell.id for cell in notebook.cells if cell.cell_type == "code" and not cell.source.strip()]
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "nbval compares nothing in a cell without a count"


def test_a_page_names_the_engine_that_its_numbers_are_of(path: Path, notebook: nbformat.NotebookNode):
    """Wherever it is opened: training amplifies the last digit, and what is asserted may hold with one engine only."""
    computes = path.stem != "appendix_performance"  # which reads records
    assert any('prepare_process("torch")' in cell.source for cell in code_cells(notebook)) == computes


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
        pictures = [output for output in cell.outputs if PICTURES & output.get("data", {}).keys()]
        if not pictures:
            continue
        assert len(pictures) == 1, f"one figure a cell, or its caption describes several: {cell.source}"
        settings = cell.metadata.get("mystnb", {})
        assert len(settings.get("figure", {}).get("caption", "")) > 20, cell.source
        assert len(settings.get("image", {}).get("alt", "")) > 20, cell.source
        labels.append(settings["figure"].get("name"))
    assert all(labels)
    assert len(labels) == len(set(labels))


def test_tables_have_a_caption(notebook: nbformat.NotebookNode):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            html = output.get("data", {}).get("text/html", "")
            assert "<table" not in html or "<caption>" in html or cell.metadata.get("caption"), cell.source


def test_a_quiz_opens_as_one(notebook: nbformat.NotebookNode):
    assert not re.findall(r"(?m)^```\{quiz\}.*`.*$", markdown(notebook)), "code in the first line ends the fence"


def glued(notebook: nbformat.NotebookNode) -> dict[str, dict]:
    """What the cells of a notebook give to its sentences: name -> data."""
    return {
        output.metadata.scrapbook.name: output.data
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "scrapbook" in output.get("metadata", {})
    }


def test_values_of_other_chapters_exist(notebook: nbformat.NotebookNode):
    """In `NOTEBOOK.ipynb::NAME:FORMAT`, which needs its format: without one the name would be taken for it."""
    for name, value in re.findall(r"\{glue:text\}`(\w+)\.ipynb::([^`]+)`", markdown(notebook)):
        key, _, form = value.partition(":")
        assert form and key in glued(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)), value


def test_glued_values_exist(notebook: nbformat.NotebookNode):
    used = set(re.findall(r"\{glue(?::\w+)?\}`([^`:]+)(?=`|:[^:])", markdown(notebook)))
    stored = glued(notebook)
    names = {name for name, data in stored.items() if any(str(value).startswith("np.") for value in data.values())}
    assert not names, "the page cannot format NumPy's numbers: glue float(...) or int(...)"
    stored = stored.keys()
    assert used <= stored
    assert stored <= used | set(re.findall(r"\{glue(?::\w+)?\} (\S+)", markdown(notebook))), "glued and never shown"


@chapters_only
def test_opening_and_end_of_a_chapter(notebook: nbformat.NotebookNode):
    opening = "\n".join(cell.source for cell in notebook.cells[:4]).lower()
    assert "be able to" in opening
    assert re.search(r"\d+ minutes", opening)
    assert "prerequisite" in opening or "you need" in opening
    text = markdown(notebook)
    headings = " ".join(re.findall(r"^#+ (.+)$", text, re.MULTILINE)).lower()
    for section in ("recap", "quiz", "exercises"):
        assert section in headings, f"a section called {section}"
    exercises = re.findall(r"\{exercise(?:-start)?\}", text)
    solutions = re.findall(r"\{solution(?:-start)?\}", text)
    assert 0 < len(exercises) == len(solutions)


@chapters_only
def test_minutes_agree_with_the_landing_page_and_the_readme(path: Path, notebook: nbformat.NotebookNode):
    opening = "\n".join(cell.source for cell in notebook.cells[:4])
    minutes = re.search(r"(\d+) minutes", opening)[1]
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    (row,) = [line for line in readme.splitlines() if f"notebooks/{path.stem}" in line]
    assert row.rstrip(" |").endswith(f"| {minutes}"), row
    (card,) = re.findall(
        rf"notebooks/{path.stem}>`(.*?)\*(\d+) minutes\*", (ROOT / "index.md").read_text("utf8"), re.DOTALL
    )
    assert card[1] == minutes, card


def test_a_mark_leads_to_a_cell_that_asserts(notebook: nbformat.NotebookNode):
    """`{checked}` means the nearest cell below or above that begins with `# Checked` (book/_ext/checked.py)."""
    checks = [n for n, cell in enumerate(notebook.cells) if cell.source.startswith("# Checked")]
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for where in re.findall(r"\{checked\}`(\w+)`", cell.source):
                near = min(n for n in checks if n > place) if where == "below" else max(n for n in checks if n < place)
                assert re.search(r"(?m)^\s*assert ", notebook.cells[near].source), cell.source
                assert FOLDED & set(notebook.cells[near].metadata.tags)


# What a reader of a lesson meets before its quiz. Evidence is folded, or has an appendix; neither counts.
BUDGET = {"words": 3500, "lines": 260, "longest cell": 20, "wide lines": 0, "asserts": 12, "glue": 0}
FOLDED = {"hide-cell", "hide-input", "remove-cell", "remove-input"}
PAGE_WIDTH = 79


def visible_lines(cell: nbformat.NotebookNode) -> list[str]:
    """The lines of code that a page shows of a cell, empty ones left out."""
    shown = cell.cell_type == "code" and not FOLDED & set(cell.metadata.get("tags", ()))
    return [line for line in cell.source.splitlines() if line.strip()] if shown else []


def count_words(text: str) -> int:
    """Words of prose: without displayed formulas and the lines of directives; a formula or code in a line is a word."""
    text = re.sub(r"(?s)\$\$.*?\$\$", " ", text)
    prose = [line for line in text.splitlines() if not re.match(r"```|:::|:[a-z-]+:", line)]
    return len(re.findall(r"[A-Za-z][A-Za-z'-]*", re.sub(r"\$[^$]*\$|`[^`]*`", " x ", "\n".join(prose))))


def lesson_size(notebook: nbformat.NotebookNode) -> Counter[str]:
    """What stands before the quiz, in the units of the budget."""
    size = Counter(dict.fromkeys(BUDGET, 0))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            before, *quiz = re.split(r"(?m)^## (?:Quiz|Exercises)", cell.source, maxsplit=1)
            size["words"] += count_words(before)
            if quiz:
                break
        lines = visible_lines(cell)
        size["lines"] += len(lines)
        size["longest cell"] = max(size["longest cell"], len(lines))
        size["wide lines"] += sum(len(line) > PAGE_WIDTH for line in lines)
        size["asserts"] += sum(line.lstrip().startswith("assert") for line in lines)
        size["glue"] += sum("glue(" in line for line in lines)
    return size


@chapters_only
def test_the_minutes_are_counted(notebook: nbformat.NotebookNode):
    """For a first reading: 130 words or 5 lines of code a minute, 2 for a group of equations, 10 for the quiz."""
    size = lesson_size(notebook)
    lesson = re.split(r"(?m)^## Quiz", markdown(notebook), maxsplit=1)[0]
    groups = len(re.findall(r"(?m)^\$\$", lesson)) // 2
    counted = size["words"] / 130 + size["lines"] / 5 + 2 * groups + 10
    said = int(re.search(r"(\d+) minutes", "\n".join(cell.source for cell in notebook.cells[:4]))[1])
    assert abs(said - counted) <= 5, f"{counted:.0f} minutes by counting"


def test_a_lesson_keeps_its_budget(notebook: nbformat.NotebookNode):
    if not notebook.metadata.get("lesson"):
        pytest.skip("not marked as a lesson")
    size = lesson_size(notebook)
    assert {name: size[name] for name in BUDGET if size[name] > BUDGET[name]} == {}, f"over its budget {BUDGET}"


def test_no_visible_line_is_wider_than_the_page(notebook: nbformat.NotebookNode):
    assert [line for cell in notebook.cells for line in visible_lines(cell) if len(line) > PAGE_WIDTH] == []


def test_the_size_of_a_lesson_is_counted_right():
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    quiz = "Two more.\n\n## Quiz\n\nNot counted."
    cells = [
        text("# A title\n\nIt's $h_t$, or `h`:\n$$ x = \\tanh y $$\n```{note}\n:class: tip\nInside it.\n```"),
        code("x = 1\n\nassert x\n    assert x == 1\nglue('x', x)"),
        code(f"y = {'1' * PAGE_WIDTH}"),
        code("\n".join(["hidden"] * 50), metadata={"tags": ["hide-input"]}),
        text(quiz),
        code("after = 1"),
    ]
    expected = {"words": 10, "lines": 5, "longest cell": 4, "wide lines": 1, "asserts": 2, "glue": 1}
    assert lesson_size(nbformat.v4.new_notebook(cells=cells)) == expected


def test_opens_with_its_title(notebook: nbformat.NotebookNode):
    assert notebook.cells[0].source.startswith("# ")


def test_every_module_is_tested():
    """By a test module of its name, or by one that imports it."""
    tests = {path.stem: path.read_text(encoding="utf8") for path in (ROOT / "tests").glob("test_*.py")}
    for module in {path.stem for path in (ROOT / "src" / "gatedrnn").glob("*.py")} - {"__init__"}:
        imported = re.compile(rf"(?m)^\s*(from|import) .*\b{module}\b")
        assert f"test_{module}" in tests or any(map(imported.search, tests.values())), module


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
    pattern = re.compile(r"(?m)^\s*(import|from)\s+(pickle|cPickle|dill|joblib|shelve)\b|allow_pickle\s*=\s*True")
    unsafe = re.compile(r"torch\.(load|save)\(")
    for path in (*(root / "src").rglob("*.py"), *NOTEBOOKS):
        text = path.read_text(encoding="utf8")
        assert not pattern.search(text) and not unsafe.search(text), path.name


def test_what_the_plan_of_lectures_shows_exists():
    plan = (ROOT / "book" / "teaching.md").read_text("utf8")
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    figures = {cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in cells}
    figures |= set(re.findall(r"^:name: (tab-[\w-]+)", text, re.MULTILINE))
    pages = "".join(output.get("data", {}).get("text/html", "") for cell in cells for output in cell.get("outputs", ()))
    panels = set(re.findall(r'<div class="panel" data-panel="\w+" id="([\w-]+)"', pages))
    shown = set(re.findall(r"\{numref\}`([\w-]+)`", plan)), set(re.findall(r"panel `([\w-]+)`", plan))
    assert len(shown[0]) > 10 and len(shown[1]) > 4
    assert shown[0] - figures == shown[1] - panels == set()
    titles = [
        re.sub(r" \([^()]*\)$", "", title)
        for title in re.findall(r"^(?:#+|`+\{exercise-start\}) (.+)", text, re.MULTILINE)
    ]
    named = re.findall(r"(?<![*\w])\*([A-Z][^*|]+)\*", plan.split("## What students get wrong")[0])
    assert len(named) > 6 and set(named) <= set(titles)


def test_the_plan_of_lectures_adds_up():
    """Each lecture of 90 minutes is planned for 75; what is read before it takes the minutes of its chapters."""
    plan = (ROOT / "book" / "teaching.md").read_text("utf8").split("## What students get wrong")[0]
    openings = {path.stem: nbformat.read(path, as_version=4).cells[:4] for path in NOTEBOOKS if path.stem in CHAPTERS}
    minutes = {
        name: int(re.search(r"(\d+) minutes", "\n".join(cell.source for cell in cells))[1])
        for name, cells in openings.items()
    }
    rows = [line for line in plan.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) == 3 + 6
    for row in rows:
        assert sum(map(int, re.findall(r"(\d+)(?: min)?\)", row))) == 75, row
    read = [sum(minutes[name] for name in re.findall(r"notebooks/(\w+)", row.split(" | ")[0])) for row in rows[:3]]
    assert f"{read[0]}, {read[1]} and {read[2]} minutes" in plan

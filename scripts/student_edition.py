"""Write the notebooks without the solutions of exercises and without the answers of quizzes.

`python scripts/student_edition.py FOLDER`
"""

import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
BEGIN = re.compile(r"(?m)^`{3,}\{solution-start\}")
END = re.compile(r"(?m)^(`{3,})\{solution-end\}\s*\n\1$\n?")
WHOLE = re.compile(r"(?ms)^(`{3,})\{solution\}.*?^\1$\n?")  # a solution in one cell
QUIZ = re.compile(r"(?ms)^(`{3,})\{quiz\}.*?^\1$")


def without_answers(quiz: str) -> str:
    """A quiz directive with its choices, but with no mark and no reason.

    >>> print(without_answers("```{quiz} Which?\\n- [ ] a\\n\\n  Wrong.\\n- [x] b\\n\\n  Right.\\n```"))
    ```{quiz} Which?
    - [ ] a
    - [ ] b
    ```
    """
    lines, choices = [], False
    for line in quiz.splitlines():
        choices = choices or line.startswith("- [")
        if not choices or not (line.startswith("  ") or not line.strip()):
            lines.append(re.sub(r"^- \[[xX]\]", "- [ ]", line))
    return "\n".join(lines)


def student_edition(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what stands between a `solution-start` and its `solution-end`, and without answers.

    Raises ValueError for a solution that does not end.
    """
    kept, inside = [], False
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            if not inside:
                kept.append(cell)
            continue
        text, rest = "", WHOLE.sub("", cell.source)
        while rest:
            mark = END if inside else BEGIN
            if not (found := mark.search(rest)):
                text, rest = text + ("" if inside else rest), ""
            elif inside:
                inside, rest = False, rest[found.end() :]
            else:
                text, rest, inside = text + rest[: found.start()], rest[found.start() :], True
        if text.strip():
            cell.source = QUIZ.sub(lambda quiz: without_answers(quiz[0]), text.strip())
            kept.append(cell)
    if inside:
        raise ValueError("a solution does not end: close it with a solution-end")
    notebook.cells = kept
    return notebook


def main() -> int:
    """Write every notebook to the folder that is named, which is made."""
    if len(sys.argv) != 2:
        print("name one folder: python scripts/student_edition.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        nbformat.write(student_edition(nbformat.read(path, as_version=4)), folder / path.name)
    print(f"the student edition lies in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

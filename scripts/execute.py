"""Re-execute notebooks in place, for authors: `python scripts/execute.py [01_vanilla_rnn ...]`.

What is stored is made stable, so that a difference between two versions is a difference in content: the same kernel
name everywhere, no time stamps, nothing about the machine.
"""

import sys
from pathlib import Path

import nbformat
from chapters import ROOT, execute_all


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Drop what changes from run to run or from machine to machine."""
    own = {name: notebook.metadata[name] for name in ("lesson",) if name in notebook.metadata}
    notebook.metadata = own | {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


def keep(path: Path, notebook: nbformat.NotebookNode, seconds: float) -> None:
    """Write one executed notebook back."""
    normalise(notebook)
    nbformat.write(notebook, path)


def main() -> int:
    """Execute the named notebooks, or all."""
    folder = ROOT / "notebooks"
    paths = [folder / f"{Path(name).stem}.ipynb" for name in sys.argv[1:]] or sorted(folder.glob("*.ipynb"))
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        print(f"not in notebooks/: {', '.join(missing)}", file=sys.stderr)
        return 2
    return 0 if execute_all(paths, keep) else 1


if __name__ == "__main__":
    sys.exit(main())

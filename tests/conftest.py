"""What several test modules share."""

import functools
import http.server
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from gatedrnn import files, sources
from gatedrnn.datasets import Dataset

# The notebooks and the tests run on one thread a process, so that they round alike and can run side by side.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Path]:
    """A cache directory for the tests: it shows what this machine has, and nothing they write reaches the user's own.

    The chorales, which take half a minute to read, are kept in pytest's cache.
    """
    own, kept = tmp_path_factory.mktemp("data"), Path(pytestconfig.cache.mkdir("gatedrnn"))
    for base in (*files.directories(), kept):
        for path in (
            path for pattern in ("music/*.*", "speech/*.npz", "speech/raw/*.wav") for path in base.glob(pattern)
        ):
            link = own / path.relative_to(base)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEDRNN_DATA", str(own))
        yield own
    chorales = own / sources.SOURCES["bach_chorales"].file
    if chorales.is_file() and not chorales.is_symlink():
        (kept / "music").mkdir(exist_ok=True)
        shutil.copy(chorales, kept / "music")


@pytest.fixture(scope="session")
def load_script(root: Path) -> Callable[[str], ModuleType]:
    """Import a file of the repository that belongs to no package, by its path."""

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.replace("/", "_").removesuffix(".py"), root / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def sphinx_pages(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Path, str]]:
    """Build pages, {file: text}, with the book's extensions: the folder of the HTML, and the warnings."""

    def build(pages: dict[str, str], *extensions: str) -> tuple[Path, str]:
        sphinx = pytest.importorskip("sphinx.application")
        docutils = pytest.importorskip("sphinx.util.docutils")
        source, out, warnings = tmp_path / "src", tmp_path / "out", io.StringIO()
        source.mkdir()
        for name, text in pages.items():
            (source / name).write_text(text)
        config = {
            "extensions": list(extensions),
            "myst_enable_extensions": ["dollarmath", "tasklist"],
            "numfig": True,
            # Sphinx writes into its default, and a later build in the same process would meet what an earlier one added
            "source_suffix": {".rst": "restructuredtext"},
        }
        if "myst_nb" in extensions:
            config["nb_execution_mode"] = "off"
        monkeypatch.syspath_prepend(root / "book" / "_ext")
        with docutils.docutils_namespace():  # or a second build would meet the first one's nodes
            app = sphinx.Sphinx(source, None, out, tmp_path / "trees", "html", config, status=None, warning=warnings)
            app.build()
        return out, re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())

    return build


@pytest.fixture(scope="session")
def project_files(root: Path) -> list[Path]:
    """The files of the project: what git tracks or would track. Outside a checkout: none, and the test is skipped."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [root / name for name in names if name and (root / name).is_file()]


AVERAGES = ("pooled", "per_sequence", "pooled_after_first", "per_sequence_after_first")


def make_record(
    unit="gru", test=(8.0, 8.2, 8.4), valid=(9.0, 8.5, 8.3, 8.4), pace=1.0, seeds=(1, 2, 3), data="jsb_chorales", **more
) -> dict:
    """A small record: other scores in every average and part, `pace` seconds an epoch."""
    curve = {
        "epoch": list(range(len(valid))),
        "update": [10 * epoch for epoch in range(len(valid))],
        "seconds": [pace * epoch for epoch in range(len(valid))],
        "train": [None, *valid[1:]],
        "valid": list(valid),
        "valid_per_sequence": [nll + 0.1 for nll in valid],
        "best_epoch": int(np.argmin(valid)),
        "shrunk": 0,
        "stop_reason": "patience",
    }

    def scores(nll: float) -> dict:
        return {average: nll + 0.1 * k for k, average in enumerate(AVERAGES)} | {"steps": 100, "sequences": 2}

    record = {
        "schema": 1,
        "column": "paper",
        "data": data,
        "unit": unit,
        "settings": {"hidden_size": 4, "protocol": {}, "learning_rates": [1e-3, 1e-2], "seeds": list(seeds)},
        "parameters": {"recurrent": 10, "all": 20},
        "search": {"chosen": 1e-3, "curves": [curve, curve]},
        "runs": [
            {
                "seed": seed,
                "curve": curve,
                "scores": {"train": scores(nll - 1), "valid": scores(nll - 0.5), "test": scores(nll)},
            }
            for seed, nll in zip(seeds, test, strict=True)
        ],
        "environment": {"versions": {}, "processor": "a", "cores": 2, "device": "cpu"},
    }
    return json.loads(json.dumps(record | more))  # a copy that shares nothing


@pytest.fixture
def made():
    """How to make a small record."""
    return make_record


def toy_data(counts: Sequence[int] = (14, 5, 4), seed: int = 0) -> Dataset:
    """A data set of short random rolls of many lengths in which neighbouring frames are alike."""
    rng = np.random.default_rng(seed)

    def roll():
        first = rng.random(88) < 0.1
        flips = rng.random((rng.integers(1, 12), 88)) < 0.02
        return (first ^ np.logical_xor.accumulate(flips)).astype(np.uint8)

    parts = [tuple(roll() for _ in range(n)) for n in counts]
    return Dataset("toy", "music", *parts, step_seconds=0.5, description="", source="")


@pytest.fixture(scope="session")
def toy() -> Callable[..., Dataset]:
    """How to make a small data set."""
    return toy_data


@pytest.fixture
def roll() -> np.ndarray:
    """Twelve steps of scattered notes, the lowest and the highest key among them, ending on a sounding step."""
    notes = (np.random.default_rng(3).random((12, 88)) < 0.2).astype(np.uint8)
    notes[2:5, 0] = notes[4:, 87] = notes[-1, 40] = 1
    return notes


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache directory, with the user's own one out of reach, and no proxy before the local server."""
    monkeypatch.setenv("GATEDRNN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(files, "user_cache_path", lambda *args, **kwargs: tmp_path / "user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))  # and out of reach of a command that a test starts
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "data"


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which a local server offers it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()

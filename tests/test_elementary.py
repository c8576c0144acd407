"""What the compiled loops are made of: as exact as can be in float32, and sound at the ends."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

numba = pytest.importorskip("numba")

import numpy as np  # noqa: E402

from gatedrnn import elementary  # noqa: E402
from gatedrnn.elementary import OPTIONS  # noqa: E402


def applied(name: str, x: np.ndarray) -> np.ndarray:
    """A function of `elementary` of each number, compiled."""
    function = getattr(elementary, name)

    @numba.njit(**OPTIONS)
    def apply(x, y):
        for j in range(len(x)):
            y[j] = function(x[j])

    y = np.empty_like(x)
    apply(x, y)
    return y


@pytest.mark.parametrize("name, exact", [("tanh", np.tanh), ("sigmoid", lambda x: 1 / (1 + np.exp(-x)))])
def test_the_nonlinearities_of_float32_have_small_relative_errors(name: str, exact):
    tiny = np.logspace(-30, 0, 1000)
    x = np.concatenate([np.linspace(-80, 80, 100_001), tiny, -tiny]).astype(np.float32)
    x = x[x != 0]
    assert np.abs(applied(name, x) / exact(x.astype(np.float64)) - 1).max() < 4e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_nonlinearities_at_the_ends(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 1000, -1000, 0], dtype=dtype)
    np.testing.assert_allclose(applied("tanh", x), [np.nan, 1, -1, 1, -1, 0], atol=1e-37)
    np.testing.assert_allclose(applied("sigmoid", x), [np.nan, 1, 0, 1, 0, 0.5], atol=1e-37)


def test_one_row_by_hand_is_the_librarys_product():
    generator = np.random.default_rng(0)
    for m, n in [(1, 1), (2, 3), (4, 7), (5, 2), (46, 92), (100, 100)]:
        x, W = (generator.standard_normal(shape) for shape in ((1, m), (m, n)))
        out = np.full((1, n), np.nan)
        elementary.product(x, W, out)
        np.testing.assert_allclose(out, x @ W, atol=1e-13)


def test_a_product_without_rows_writes_nothing():
    """Compiled code does not check its indices: one row too many is written over somebody else's memory."""
    memory = np.full((1, 3), 7.0)
    elementary.product(np.ones((1, 4))[:0], np.ones((4, 3)), memory[:0])
    np.testing.assert_array_equal(memory, 7.0)


def softplus(x: np.ndarray) -> np.ndarray:
    """`elementary.softplus` of each number, compiled: its value and its derivative, (2, n)."""

    @numba.njit(**OPTIONS)
    def apply(x, y):
        for j in range(len(x)):
            y[0, j], y[1, j] = elementary.softplus(x[j])

    y = np.empty((2, len(x)), x.dtype)
    apply(x, y)
    return y


@pytest.mark.parametrize("dtype, error", [(np.float32, 5e-7), (np.float64, 1e-14)])
def test_softplus_and_its_derivative_have_small_relative_errors(dtype, error: float):
    x = np.concatenate([np.linspace(-80, 80, 100_001), np.logspace(-30, 0, 1000), -np.logspace(-30, 0, 1000)])
    x = x.astype(dtype)
    wide = x.astype(np.float64)
    exact = np.stack([np.logaddexp(0, wide), np.exp(-np.logaddexp(0, -wide))])
    assert np.abs(softplus(x) / exact - 1).max() < error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softplus_at_the_ends(dtype):
    value, slope = softplus(np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0], dtype=dtype))
    np.testing.assert_allclose(value, np.array([np.nan, np.inf, 0, 1e30, 0, np.log(2)], dtype), rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(slope, [np.nan, 1, 0, 1, 0, 0.5], rtol=1e-6, atol=1e-37)


def test_where_nothing_can_be_written_the_code_is_compiled_without_a_cache(monkeypatch: pytest.MonkeyPatch):
    njit = numba.njit

    def read_only(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", read_only)
    assert elementary.compiled(lambda x: x + x)(2.0) == 4.0


def test_code_older_than_a_source_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Numba would run the loops with yesterday's tanh: it looks at the file of the loops only."""
    monkeypatch.setattr(elementary, "__file__", str(tmp_path / "elementary.py"))
    cache = tmp_path / "cache"  # wherever Numba keeps it: beside the sources, or where NUMBA_CACHE_DIR says
    monkeypatch.setattr(elementary, "powers", SimpleNamespace(stats=SimpleNamespace(cache_path=str(cache))))
    indices = [cache / f"{name}.nbi" for name in ("older", "newer")]
    indices[0].parent.mkdir()
    for age, path in enumerate([indices[0], *(tmp_path / f"{n}.py" for n in ("blocks", "fused", "elementary"))]):
        path.touch()
        os.utime(path, (1000 + age, 1000 + age))
    indices[1].touch()
    (indices[0].parent / "gone.nbi").symlink_to("nowhere")  # as if another process had just deleted it
    elementary.forget_older_code()
    assert [path.exists() for path in indices] == [False, True]


def test_without_a_cache_there_is_nothing_to_forget(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(elementary, "powers", SimpleNamespace(stats=SimpleNamespace(cache_path=None)))
    elementary.forget_older_code()


def test_numba_tells_where_its_code_is(tmp_path: Path):
    found = "from gatedrnn import elementary; print(elementary.powers.stats.cache_path)"
    run = subprocess.run(
        [sys.executable, "-c", found],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0 and Path(run.stdout.strip()).is_relative_to(tmp_path), run.stderr


@pytest.mark.parametrize("own", [{}, {"NUMBA_CPU_FEATURES": "+sse2"}, {"NUMBA_CPU_NAME": "haswell"}])
def test_the_loops_may_use_all_of_avx_512_unless_the_user_has_set_the_processor(own: dict):
    code = "import gatedrnn.elementary, numba; print(numba.config.CPU_FEATURES)"
    rest = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")}
    said = subprocess.run(
        [sys.executable, "-c", code], env=rest | own, check=True, capture_output=True, text=True
    ).stdout.strip()
    if own:
        assert said == own.get("NUMBA_CPU_FEATURES", "None")
    elif elementary.HOST.get("avx512f"):
        assert said == elementary.HOST.flatten() + ",-prefer-256-bit"
    else:
        assert said == "None"

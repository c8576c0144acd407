"""The compiled loops: as accurate as PyTorch's, vectorised; the contract is in test_recurrence.py."""

import json
import os
import platform
import subprocess
import sys

import pytest
import torch

numba = pytest.importorskip("numba")

import numpy as np  # noqa: E402

from gatedrnn import fused, kernels, loops  # noqa: E402

FORMS = {  # blocks of gates, and what makes the form
    "tanh": (1, {}),
    "gru": (3, {}),
    "gru, reset after": (3, {"after": True}),
    "gru, independent gates": (4, {}),
    "lstm": (4, {"peepholes": True}),
    "lstm without peepholes": (4, {}),
    "lstm without the tanh on c": (4, {"peepholes": True, "squash": False}),
}


def random(*shape: int, seed: int, dtype: torch.dtype, scale: float = 0.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, dtype=torch.float64, generator=generator)).to(dtype)


def run(engine, form: str, P: int, T: int, B: int, H: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All that the two loops of a form return or write, by name, on numbers that do not depend on the engine."""
    blocks, options = FORMS[form]
    a, U = random(P, T, B, blocks * H, seed=1, dtype=dtype), random(P, H, blocks * H, seed=2, dtype=dtype) / H**0.5
    h, c = torch.full((2, P, T + 1, B, H), 7.0, dtype=dtype)
    h[:, 0], c[:, 0] = (random(P, B, H, seed=seed, dtype=dtype) for seed in (3, 4))
    grad_h, grad_c = (random(P, T, B, H, seed=seed, dtype=dtype) for seed in (5, 6))
    da, aux = torch.full_like(a, 7.0), torch.full_like(grad_h, 7.0)
    if form == "tanh":
        engine.tanh_forward(a, U, h)
        return {"h": h, "dh0": engine.tanh_backward(grad_h, h, U, da), "da": da}
    if form.startswith("gru"):
        after = options.get("after", False)
        engine.gru_forward(a, U, random(P, H, seed=7, dtype=dtype) if after else None, h, aux)
        dh0 = engine.gru_backward(grad_h, a, aux, h, U, after, da)
        return {"gates": a, "aux": aux, "h": h, "dh0": dh0, "da": da}
    V = random(P, 3 * H, seed=8, dtype=dtype) if options.get("peepholes") else None
    squash = options.get("squash", True)
    engine.lstm_forward(a, U, V, c, h, squash)
    dh0, dc0, dV, db = engine.lstm_backward(grad_h, grad_c, a, c, h, U, V, squash, da)
    assert (dV is None) == (V is None)
    found = {"gates": a, "c": c, "h": h, "dh0": dh0, "dc0": dc0, "da": da, "db": db}
    return found if dV is None else found | {"dV": dV}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 9, 1, 6), (3, 5, 1, 17), (2, 12, 3, 46), (1, 3, 40, 8)], ids=str)
def test_equal_to_the_loops_in_float64(form: str, shape: tuple):
    ours, theirs = (run(engine, form, *shape, torch.float64) for engine in (kernels, loops))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("form", FORMS)
def test_float32_is_about_as_accurate_as_in_pytorch(form: str):
    """The largest error against float64, in units of the largest number, is at most four times PyTorch's."""
    size = 2, 40, 8, 46
    exact = run(loops, form, *size, torch.float64)
    ours, theirs = (run(engine, form, *size, torch.float32) for engine in (kernels, loops))
    for name, x in exact.items():
        error, usual = ((found[name] - x).abs().max() / x.abs().max() for found in (ours, theirs))
        assert error < max(4 * usual, 1e-6), name


def elementary(name: str, x: np.ndarray) -> np.ndarray:
    """`fused.tanh` or `fused.sigmoid` of each number, compiled."""
    function = getattr(fused, name)

    @numba.njit(**fused.OPTIONS)
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
    assert np.abs(elementary(name, x) / exact(x.astype(np.float64)) - 1).max() < 4e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_nonlinearities_at_the_ends(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 1000, -1000, 0], dtype=dtype)
    np.testing.assert_allclose(elementary("tanh", x), [np.nan, 1, -1, 1, -1, 0], atol=1e-37)
    np.testing.assert_allclose(elementary("sigmoid", x), [np.nan, 1, 0, 1, 0, 0.5], atol=1e-37)


def test_one_row_by_hand_is_the_librarys_product():
    for m, n in [(1, 1), (2, 3), (4, 7), (5, 2), (46, 92), (100, 100)]:
        x, W = (random(*shape, seed=9, dtype=torch.float64).numpy() for shape in ((1, m), (m, n)))
        out = np.full((1, n), np.nan)
        fused.product(x, W, out)
        np.testing.assert_allclose(out, x @ W, atol=1e-13)


def test_a_tensor_that_cannot_be_written_into_is_refused():
    a, U, h = torch.zeros(2, 3, 4, 5), torch.zeros(2, 5, 5), torch.zeros(2, 4, 5, 4).mT
    with pytest.raises(ValueError, match="contiguous"):
        kernels.tanh_forward(a, U, h)


def test_parameters_may_be_parts_of_a_larger_tensor():
    a, h = random(2, 3, 4, 5, seed=1, dtype=torch.float64), torch.zeros(2, 4, 4, 5, dtype=torch.float64)
    U = random(2, 60, seed=2, dtype=torch.float64)[:, 10:35].unflatten(1, (5, 5))
    other = h.clone()
    kernels.tanh_forward(a, U, h)
    loops.tanh_forward(a.clone(), U, other)
    torch.testing.assert_close(h, other)


KERNELS = {  # the arrays' dimensions, in order
    "tanh_forward": (4, 3, 4),
    "tanh_backward": (4, 4, 3, 4, 3),
    "gru_forward": (4, 3, 4, 4),
    "gru_backward": (4, 4, 4, 3, 4, 3),
    "gru_after_forward": (4, 3, 2, 4, 4),
    "gru_after_backward": (4, 4, 4, 4, 3, 4, 3),
    "lstm_forward": (4, 3, 2, 4, 4, None),
    "lstm_backward": (4, 4, 4, 4, 4, 3, 2, None, 4, 3, 3, 2, 2),
}


@pytest.mark.slow  # compiles each anew
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the names of the instructions are x86's")
@pytest.mark.parametrize("name", KERNELS)
def test_the_loops_over_a_row_are_vector_instructions(name: str):
    """Without a word the compiler leaves a loop scalar if it cannot tell that the arrays do not overlap."""
    array = {n: numba.types.Array(numba.float32, n, "C") for n in (2, 3, 4)} | {None: numba.types.boolean}
    kernel = numba.njit(**fused.OPTIONS)(getattr(fused, name).py_func)  # not from the cache, which keeps no assembly
    kernel.compile(tuple(array[n] for n in KERNELS[name]))
    (assembly,) = kernel.inspect_asm().values()
    if "ymm" not in assembly and "zmm" not in assembly:
        assert "avx" not in numba.core.codegen.get_host_cpu_features().split(","), "no wide vectors at all"
    wide = [line.split()[0] for line in assembly.splitlines() if "ymm" in line or "zmm" in line]
    assert any(operation.startswith(("vmulps", "vfmadd", "vfnmadd")) for operation in wide)
    if "forward" in name or name == "lstm_backward":  # each tanh and each sigmoid ends in a division
        assert "vdivps" in wide
    scalar = [line for line in assembly.splitlines() if line.split()[:1] == ["vdivss"]]
    assert len(scalar) <= wide.count("vdivps"), "a division is left that has no vector form"


def test_the_products_keep_to_one_thread():
    """In a process where nothing else holds the library back."""
    program = """
import json
from gatedrnn import kernels
from threadpoolctl import threadpool_info
kernels.prepare()
print(json.dumps([library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]))
"""
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=free)
    threads = json.loads(done.stdout)
    assert threads and set(threads) == {1}


def test_where_nothing_can_be_written_the_code_is_compiled_without_a_cache(monkeypatch: pytest.MonkeyPatch):
    njit = numba.njit

    def read_only(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", read_only)
    assert fused.compiled(lambda x: x + x)(2.0) == 4.0

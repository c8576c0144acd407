"""The compiled loops: as accurate as PyTorch's, vectorised; the contract is in test_recurrence.py."""

import json
import os
import platform
import subprocess
import sys

import pytest
import torch

numba = pytest.importorskip("numba")

from gatedrnn import blocks, fused, kernels, loops  # noqa: E402
from gatedrnn.elementary import OPTIONS  # noqa: E402

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
    dh0, dc0, dV = engine.lstm_backward(grad_h, grad_c, a, c, h, U, V, squash, da)
    assert (dV is None) == (V is None)
    found = {"gates": a, "c": c, "h": h, "dh0": dh0, "dc0": dc0, "da": da}
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
    "tanh_forward": (3, 2, 3),
    "tanh_backward": (3, 3, 2, 3, 2),
    "gru_forward": (3, 2, 3, 3),
    "gru_backward": (3, 3, 3, 2, 3, 2),
    "gru_after_forward": (3, 2, 1, 3, 3),
    "gru_after_backward": (3, 3, 3, 3, 2, 3, 2),
    "lstm_forward": (3, 2, 1, 3, 3, None),
    "lstm_backward": (3, 3, 3, 3, 3, 2, 1, None, 3, 2, 2, 1),
    "bernoulli": (2, 1, 2, 0, 1),
}


@pytest.mark.slow  # compiles each anew
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the names of the instructions are x86's")
@pytest.mark.parametrize("name", KERNELS)
def test_the_loops_over_a_row_are_vector_instructions(name: str):
    """Without a word the compiler leaves a loop scalar if it cannot tell that the arrays do not overlap."""
    array = {n: numba.types.Array(numba.float32, n, "C") for n in (1, 2, 3)}
    array |= {None: numba.types.boolean, 0: numba.types.Array(numba.boolean, 1, "C")}
    module = blocks if name == "bernoulli" else fused
    kernel = numba.njit(**OPTIONS)(getattr(module, name).py_func)  # not from the cache, which keeps no assembly
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

"""The CUDA source, compiled for the CPU with a thread a CUDA thread, does what the PyTorch loops do."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from gatedrnn import cuda, loops

SHIM = Path(__file__).with_name("cuda_on_cpu.h")
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile the CUDA source for the CPU")


@pytest.fixture
def on_cpu(tmp_path, monkeypatch):
    """`cuda.kernel` that compiles for the CPU; the same source and sizes, called as PyTorch calls a CUDA kernel."""

    def kernel(name, *, large=False, **sizes):
        sizes = {"FORM": 0, "PEEPHOLES": 0, "SQUASH": 1, "IN_REGISTERS": int(sizes["R"] == 1)} | sizes
        head = "".join(f"#define {key} {value}\n" for key, value in sizes.items())
        entry = f'extern "C" void entry(void** a, int x, int y, int n) {{ launch({name}, a, x, y, n); }}\n'
        source, library = tmp_path / "kernel.cpp", tmp_path / f"{name}{abs(hash(head))}.so"
        source.write_text(f'#include "{SHIM}"\n{head}{cuda.SOURCE}{entry}')
        command = ["g++", "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-pthread", source, "-o", library]
        subprocess.run(command, check=True)
        entry = ctypes.CDLL(str(library)).entry

        def call(grid, block, arguments):
            held = [
                ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_int(a) for a in arguments
            ]
            assert all(a.is_contiguous() for a in arguments if isinstance(a, torch.Tensor))
            pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(a) for a in held))
            entry(pointers, grid[0], grid[1], block[0])

        return call

    monkeypatch.setattr(cuda, "kernel", kernel)


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.7


def agree(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)


# P, T, B, H: one of each; a hidden size that is no multiple of four; several sequences a block, the last one not full
SHAPES = [((1, 1, 1, 1), 128), ((2, 5, 3, 6), 128), ((2, 4, 5, 7), 2)]


@pytest.mark.parametrize("shape, in_registers", SHAPES, ids=str)
def test_tanh(on_cpu, monkeypatch, shape, in_registers):
    monkeypatch.setattr(cuda, "IN_REGISTERS", in_registers)
    P, T, B, H = shape
    a, U, h, grad = random(P, T, B, H, seed=1), random(P, H, H, seed=2), random(P, T + 1, B, H, seed=3), None
    grad = random(P, T, B, H, seed=4)
    found = []
    for engine in (loops, cuda):
        states, da = h.clone(), torch.full_like(grad, torch.nan)
        engine.tanh_forward(a.clone(), U, states)
        found.append((states, engine.tanh_backward(grad, states, U, da), da))
    agree(*found)


@pytest.mark.parametrize("shape, in_registers", SHAPES, ids=str)
@pytest.mark.parametrize("form", ["before", "after", "independent"])
def test_gru(on_cpu, monkeypatch, shape, in_registers, form):
    monkeypatch.setattr(cuda, "IN_REGISTERS", in_registers)
    P, T, B, H = shape
    g = 4 if form == "independent" else 3
    a, U, h = random(P, T, B, g * H, seed=1), random(P, H, g * H, seed=2), random(P, T + 1, B, H, seed=3)
    b_U, grad = random(P, H, seed=4) if form == "after" else None, random(P, T, B, H, seed=5)
    found = []
    for engine in (loops, cuda):
        states, gates, aux, da = h.clone(), a.clone(), torch.full_like(grad, torch.nan), torch.full_like(a, torch.nan)
        engine.gru_forward(gates, U, b_U, states, aux)
        dh0 = engine.gru_backward(grad, gates, aux, states, U, b_U is not None, da)
        found.append((states, gates, aux, dh0, da))
    agree(*found)


@pytest.mark.parametrize("shape, in_registers", SHAPES, ids=str)
@pytest.mark.parametrize("peepholes, squash", [(True, True), (False, True), (True, False)])
def test_lstm(on_cpu, monkeypatch, shape, in_registers, peepholes, squash):
    monkeypatch.setattr(cuda, "IN_REGISTERS", in_registers)
    P, T, B, H = shape
    a, U = random(P, T, B, 4 * H, seed=1), random(P, H, 4 * H, seed=2)
    h, c = random(P, T + 1, B, H, seed=3), random(P, T + 1, B, H, seed=4)
    V = random(P, 3 * H, seed=5) if peepholes else None
    grads = random(P, T, B, H, seed=6), random(P, T, B, H, seed=7)
    found = []
    for engine in (loops, cuda):
        states, cells, gates, da = h.clone(), c.clone(), a.clone(), torch.full_like(a, torch.nan)
        engine.lstm_forward(gates, U, V, cells, states, squash)
        starts = engine.lstm_backward(*grads, gates, cells, states, U, V, squash, da)
        found.append((states, cells, gates, *starts, da))
    agree(*found)

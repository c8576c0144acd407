"""The six loops of `gatedrnn.loops` compiled for a CPU, in float32 and float64: the doors to `gatedrnn.fused`.

They need the extra `fast` (Numba, and SciPy for its matrix products).
"""

import numpy as np
from torch import Tensor

from . import fused, loops
from .extras import Extra

with Extra("fast"):
    import scipy.linalg.cython_blas  # noqa: F401  (what Numba's products call; loaded so that `prepare` reaches it)
    from threadpoolctl import threadpool_limits


def prepare() -> None:
    """Hold the library behind the products to one thread: they are too small to share. PyTorch's setting is another."""
    threadpool_limits(1, user_api="blas")


def tanh_forward(a: Tensor, U: Tensor, h: Tensor) -> None:
    fused.tanh_forward(written(a), read(U), written(h))


def tanh_backward(grad: Tensor, h: Tensor, U: Tensor, da: Tensor) -> Tensor:
    dh = h.new_zeros(h[:, 0].shape)
    fused.tanh_backward(read(grad), read(h), read(U), written(da), written(dh))
    return dh


def gru_forward(a: Tensor, U: Tensor, b_U: Tensor | None, h: Tensor, aux: Tensor) -> None:
    if a.shape[-1] != 3 * h.shape[-1]:  # the form with a gate of its own for the old state
        loops.gru_forward(a, U, b_U, h, aux)
    elif b_U is None:
        fused.gru_forward(written(a), read(U), written(h), written(aux))
    else:
        fused.gru_after_forward(written(a), read(U), read(b_U), written(h), written(aux))


def gru_backward(grad: Tensor, a: Tensor, aux: Tensor, h: Tensor, U: Tensor, after: bool, da: Tensor) -> Tensor:
    if a.shape[-1] != 3 * h.shape[-1]:
        return loops.gru_backward(grad, a, aux, h, U, after, da)
    dh = h.new_zeros(h[:, 0].shape)
    if after:
        fused.gru_after_backward(read(grad), read(a), read(aux), read(h), read(U), written(da), written(dh))
    else:
        fused.gru_backward(read(grad), read(a), read(h), read(U), written(da), written(dh))
    return dh


def lstm_forward(a: Tensor, U: Tensor, V: Tensor | None, c: Tensor, h: Tensor, squash: bool) -> None:
    fused.lstm_forward(written(a), read(U), peepholes(V, U), written(c), written(h), squash or None)


def lstm_backward(
    grad_h: Tensor,
    grad_c: Tensor | None,
    a: Tensor,
    c: Tensor,
    h: Tensor,
    U: Tensor,
    V: Tensor | None,
    squash: bool,
    da: Tensor,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    dh, dc = h.new_zeros(h[:, 0].shape), c.new_zeros(c[:, 0].shape)
    dV, db = U.new_zeros(len(U), 3 * U.shape[1]), U.new_zeros(len(U), U.shape[2])
    given = read(grad_h), None if grad_c is None else read(grad_c), *map(read, (a, c, h, U))
    fused.lstm_backward(*given, peepholes(V, U), squash or None, *map(written, (da, dh, dc, dV, db)))
    return dh, dc, None if V is None else dV, db


def read(x: Tensor) -> np.ndarray:
    """An array with the numbers of x, for a kernel to read."""
    return x.detach().contiguous().numpy()


def written(x: Tensor) -> np.ndarray:
    """The memory of x itself, for a kernel to write into. Raises ValueError where that would be a copy."""
    if not x.is_contiguous():
        raise ValueError(f"a kernel writes into contiguous tensors only, not into strides {x.stride()}")
    return x.detach().numpy()


def peepholes(V: Tensor | None, U: Tensor) -> np.ndarray:
    return read(U.new_zeros(len(U), 3 * U.shape[1]) if V is None else V)

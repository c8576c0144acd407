"""The doors to what is compiled for a CPU: the six loops of `gatedrnn.loops`, and the likelihood of a model of music.

Tensors of P members become arrays of one member at a time. The doors need the extra `fast` (Numba, and SciPy for its
matrix products).
"""

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from . import blocks, fused, loops
from .extras import Extra

with Extra("fast"):
    import scipy.linalg.cython_blas  # noqa: F401  (what Numba's products call; loaded so that `prepare` reaches it)
    from threadpoolctl import threadpool_limits


def prepare() -> None:
    """Hold the library behind the products to one thread: they are too small to share. PyTorch's setting is another."""
    threadpool_limits(1, user_api="blas")


def tanh_forward(a: Tensor, U: Tensor, h: Tensor) -> None:
    each(fused.tanh_forward, written(a), read(U), written(h))


def tanh_backward(grad: Tensor, h: Tensor, U: Tensor, da: Tensor) -> Tensor:
    dh = h.new_zeros(h[:, 0].shape)
    each(fused.tanh_backward, read(grad), read(h), read(U), written(da), written(dh))
    return dh


def gru_forward(a: Tensor, U: Tensor, b_U: Tensor | None, h: Tensor, aux: Tensor) -> None:
    if a.shape[-1] != 3 * h.shape[-1]:  # the form with a gate of its own for the old state
        loops.gru_forward(a, U, b_U, h, aux)
    elif b_U is None:
        each(fused.gru_forward, written(a), read(U), written(h), written(aux))
    else:
        each(fused.gru_after_forward, written(a), read(U), read(b_U), written(h), written(aux))


def gru_backward(grad: Tensor, a: Tensor, aux: Tensor, h: Tensor, U: Tensor, after: bool, da: Tensor) -> Tensor:
    if a.shape[-1] != 3 * h.shape[-1]:
        return loops.gru_backward(grad, a, aux, h, U, after, da)
    dh = h.new_zeros(h[:, 0].shape)
    if after:
        each(fused.gru_after_backward, *map(read, (grad, a, aux, h, U)), written(da), written(dh))
    else:
        each(fused.gru_backward, *map(read, (grad, a, h, U)), written(da), written(dh))
    return dh


def lstm_forward(a: Tensor, U: Tensor, V: Tensor | None, c: Tensor, h: Tensor, squash: bool) -> None:
    given = written(a), read(U), read(peepholes(V, U)), written(c), written(h), [squash or None] * len(U)
    each(fused.lstm_forward, *given)


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
) -> tuple[Tensor, Tensor, Tensor | None]:
    dh, dc, dV = h.new_zeros(h[:, 0].shape), c.new_zeros(c[:, 0].shape), U.new_zeros(len(U), 3 * U.shape[1])
    each(
        fused.lstm_backward,
        *(read(grad_h), [None] * len(U) if grad_c is None else read(grad_c)),
        *map(read, (a, c, h, U, peepholes(V, U))),
        [squash or None] * len(U),
        *map(written, (da, dh, dc, dV)),
    )
    return dh, dc, None if V is None else dV


def each(kernel: Callable[..., None], *arrays: np.ndarray | list) -> None:
    """Run a kernel on what each member has of these."""
    for member in zip(*arrays, strict=True):
        kernel(*member)


def nll(theta: Tensor, x: Tensor, target: Tensor, mask: Tensor, shapes: dict, squash: bool) -> Tensor:
    """Nats of every step (P, T, B), by `blocks`: of a tanh unit, a GRU or an LSTM with a Bernoulli variable a pitch.

    shapes : name -> shape of a member's parameters, in the order in which theta (P, N) holds them.
    """
    return _NLL.apply(theta, x, target, mask, shapes, squash)


class _NLL(Function):
    @staticmethod
    def forward(ctx, theta, x, target, mask, shapes, squash):
        (T, B, D), (H, G), K = x.shape[1:], shapes["U"], target.shape[3]
        nll = theta.new_empty(theta.shape[0], T, B)
        rolls = [blocks.Roll(flat, *blocks.notes(flat)) for flat in read(x).reshape(len(x), T * B, D)]
        targets, masks, ctx.kept = read(target), read(mask), []
        for member, (row, nll_p) in enumerate(zip(read(theta), written(nll), strict=True)):
            roll, target_p, mask_p = (own[member % len(own)] for own in (rolls, targets, masks))  # or one for all
            kept = roll, mask_p, *named(row, shapes), squash or None, *blocks.room(T, B, H, G, K, row.dtype)
            blocks.nll_forward(target_p, *kept, nll_p)
            if ctx.needs_input_grad[0]:
                ctx.kept.append(kept)
        ctx.save_for_backward(theta)
        ctx.shapes = shapes
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (theta,) = ctx.saved_tensors  # an error where it was changed in between
        gradient = theta.new_zeros(theta.shape)
        for weight, row, kept in zip(read(grad), written(gradient), ctx.kept, strict=True):
            blocks.nll_backward(weight, *kept, *named(row, ctx.shapes))
        return gradient, None, None, None, None, None


def named(row: np.ndarray, shapes: dict) -> tuple[blocks.Weights, np.ndarray | None]:
    """The parameters in a row of theta, and V beside them: None but for an LSTM, zeros for one without peepholes."""
    found: dict = {}
    H, G = shapes["U"]
    for name, shape in shapes.items():
        found[name], row = row[: math.prod(shape)].reshape(shape), row[math.prod(shape) :]
    V = found.pop("V", np.zeros(3 * H, row.dtype) if G == 4 * H else None)
    return blocks.Weights(**found), V


def read(x: Tensor) -> np.ndarray:
    """An array with the numbers of x, for a kernel to read."""
    return x.detach().contiguous().numpy()


def written(x: Tensor) -> np.ndarray:
    """The memory of x itself, for a kernel to write into.

    Raises ValueError for a tensor that is not contiguous, which is the layout that kernels need.
    """
    if not x.is_contiguous():
        raise ValueError(f"a kernel writes into contiguous tensors only, not into strides {x.stride()}")
    return x.detach().numpy()


def peepholes(V: Tensor | None, U: Tensor) -> Tensor:
    return U.new_zeros(len(U), 3 * U.shape[1]) if V is None else V

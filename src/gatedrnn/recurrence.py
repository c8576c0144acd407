"""The three units over whole sequences and a whole population at once, with backward passes written by hand.

A leading axis P runs P models side by side, each with its own parameters: every step is then one batched matrix
product instead of P small ones. Shapes: x (P, T, B, D), W (P, D, gH), U (P, H, gH), b (P, gH), h0 (P, B, H), states
(P, T, B, H), with g = 1 (tanh), 3 (GRU: z, r, h~) or 4 (LSTM: o, i, f, c~) gates side by side. An x of shape
(1, T, B, D) is shared by the population. The equations are those of `gatedrnn.cells`, which these functions are tested
against; the backward passes are derived in chapters 1 to 3.

Each pass has three parts. What concerns all steps at once comes first: W x + b. Then the loop over the steps, which an
*engine* runs. After the backward loop, each weight's gradient is one large product over all steps. Steps beyond the end
of a shorter sequence need no care: their loss is masked to zero, so no gradient comes from them, and a later step
cannot change an earlier one.

The engine is chosen by the variable GATEDRNN_ENGINE, or by `use_engine`:

- torch: the loops of `gatedrnn.loops`, on any device;
- compiled: `gatedrnn.kernels` (Numba) on a CPU in float32 and float64, an error where it is missing, on another device
  and in another precision; with it a model of music has its likelihood and gradient from `gatedrnn.blocks`, without the
  functions here;
- auto, the default: compiled where possible, otherwise torch.
"""

import importlib.util
import os
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from . import loops
from .checks import check_shapes

ENGINES = ("auto", "torch", "compiled")


def engine() -> str:
    """The engine that is set: "auto", "torch" or "compiled". Raises ValueError for another value of the variable."""
    return check_engine(os.environ.get("GATEDRNN_ENGINE", "auto"))


def check_engine(name: str) -> str:
    """The name itself. Raises ValueError for one that is not an engine's."""
    if name not in ENGINES:
        raise ValueError(f"GATEDRNN_ENGINE is {name!r}: use {', '.join(ENGINES)}")
    return name


@contextmanager
def use_engine(name: str):
    """Run the block with another engine: ``with use_engine("torch"): ...``."""
    before = os.environ.get("GATEDRNN_ENGINE")
    os.environ["GATEDRNN_ENGINE"] = check_engine(name)
    try:
        yield
    finally:
        os.environ.pop("GATEDRNN_ENGINE") if before is None else os.environ.update(GATEDRNN_ENGINE=before)


@cache
def engines_here() -> tuple[str, ...]:
    """What can be chosen where this runs: "torch", and "compiled" with Numba."""
    return ("torch", "compiled") if importlib.util.find_spec("numba") else ("torch",)


def engine_for(U: Tensor):
    """The module whose loops run for parameters like U (P, H, gH): `loops` or `kernels`."""
    name = engine()
    known = U.device.type == "cpu" and U.dtype in (torch.float32, torch.float64)
    if name != "torch" and known and "compiled" in engines_here():
        from . import kernels

        return kernels
    if name == "compiled":
        raise ValueError(
            "the compiled engine needs a CPU, float32 or float64, and Numba: pip install 'gatedrnn[fast]', or leave it "
            "at auto"
        )
    return loops


def tanh_recurrence(x: Tensor, W: Tensor, U: Tensor, b: Tensor | None = None, h0: Tensor | None = None) -> Tensor:
    """h_t = tanh(W x_t + U h_{t-1} + b) -> h (P, T, B, H). Raises ValueError for a shape or dtype that is off.

    >>> tanh_recurrence(torch.zeros(1, 9, 2, 5), torch.zeros(3, 5, 4), torch.zeros(3, 4, 4)).shape
    torch.Size([3, 9, 2, 4])
    """
    _check(1, x=x, W=W, U=U, b=b, h0=h0)
    return _Tanh.apply(x, W, U, b, _state(h0, x, U))


def gru_recurrence(
    x: Tensor, W: Tensor, U: Tensor, b: Tensor | None = None, b_U: Tensor | None = None, h0: Tensor | None = None
) -> Tensor:
    """The GRU of section 3.2 -> h (P, T, B, H).

    With b_U (P, H) given, the reset gate acts after the product. With four blocks in U, z r f h~, a gate f of its own
    keeps the old state in place of 1 - z. Raises ValueError for a shape or dtype that is off.
    """
    _check(4 if U.ndim == 3 and U.shape[2] == 4 * U.shape[1] else 3, x=x, W=W, U=U, b=b, b_U=b_U, h0=h0)
    return _GRU.apply(x, W, U, b, b_U, _state(h0, x, U))


def blind_recurrence(x: Tensor, W: Tensor, U: Tensor, b: Tensor, h0: Tensor | None = None) -> Tensor:
    """`gru_recurrence` where U is all 0, without its products in every step -> h (P, T, B, H).

    On a CPU this walk is faster than `variants.minimal_scan`, which moves every number once a round.
    """
    h, (z, _, h_tilde) = _state(h0, x, U), _project(x, W, b).split(U.shape[1], dim=-1)
    walk = loops.steps(z.sigmoid(), h_tilde.tanh())
    return torch.stack([h := torch.lerp(h, h_tilde_t, z_t) for z_t, h_tilde_t in walk], 1)  # (1 - z) h + z h~


def lstm_recurrence(
    x: Tensor,
    W: Tensor,
    U: Tensor,
    b: Tensor | None = None,
    V: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    squash: bool = True,
) -> tuple[Tensor, Tensor]:
    """The LSTM of section 3.1 -> h and c, each (P, T, B, H).

    V (P, 3H) holds the peepholes of o, i, f, or is None. Without `squash`, h = o c in place of h = o tanh(c). Raises
    ValueError for a shape or dtype that is off.
    """
    _check(4, x=x, W=W, U=U, b=b, V=V, h0=h0, c0=c0)
    return _LSTM.apply(x, W, U, b, V, _state(h0, x, U), _state(c0, x, U), squash)


def _check(gates: int, **arrays: Tensor | None) -> None:
    """Hold all shapes and dtypes against one another; `gates` blocks lie side by side in W, U and b."""
    many = "H" if gates == 1 else f"{gates}H"
    shapes: dict[str, tuple[str, ...]] = {"x": ("P|1", "T", "B", "D"), "U": ("P", "H", many), "W": ("P", "D", many)}
    shapes |= {"b": ("P", many), "V": ("P", "3H"), "b_U": ("P", "H"), "h0": ("P", "B", "H"), "c0": ("P", "B", "H")}
    check_shapes(shapes, **arrays)
    dtypes = {name: str(array.dtype).removeprefix("torch.") for name, array in arrays.items() if array is not None}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"all must have one dtype, not {', '.join(f'{name} {of}' for name, of in dtypes.items())}")


class _Tanh(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, h0):
        a, h = _project(x, W, b), _states(h0, x.shape[1])
        engine_for(U).tanh_forward(a, U, h)
        ctx.save_for_backward(x, W, U, b, h)
        return h[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, h = ctx.saved_tensors
        da = torch.empty_like(h[:, 1:], memory_format=torch.contiguous_format)
        dh0 = engine_for(U).tanh_backward(grad.contiguous(), h, U, da)
        return *_input_gradients(ctx, x, W, da), _product(h[:, :-1], da), _bias_gradient(b, da), dh0


class _GRU(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, b_U, h0):
        a, h = _project(x, W, b), _states(h0, x.shape[1])
        aux = torch.empty_like(h[:, 1:], memory_format=torch.contiguous_format)
        engine_for(U).gru_forward(a, U, b_U, h, aux)
        ctx.save_for_backward(x, W, U, b, b_U, a, aux, h)
        return h[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, b_U, a, aux, h = ctx.saved_tensors
        H, da = U.shape[1], torch.empty_like(a)
        dh0 = engine_for(U).gru_backward(grad.contiguous(), a, aux, h, U, b_U is not None, da)
        d_candidate, db_U, left = da[..., -H:], None, aux  # the candidate's product is U (r h) ...
        if b_U is not None:  # ... or r (U h + b_U)
            d_candidate, left = d_candidate * a[..., H : 2 * H], h[:, :-1]
            db_U = d_candidate.sum((1, 2))
        dU = torch.cat([_product(h[:, :-1], da[..., :-H]), _product(left, d_candidate)], dim=-1)
        return *_input_gradients(ctx, x, W, da), dU, _bias_gradient(b, da), db_U, dh0


class _LSTM(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, V, h0, c0, squash):
        ctx.set_materialize_grads(False)
        a, h, c = _project(x, W, b), _states(h0, x.shape[1]), _states(c0, x.shape[1])
        engine_for(U).lstm_forward(a, U, V, c, h, squash)
        ctx.save_for_backward(x, W, U, b, V, a, c, h)
        ctx.squash = squash
        return h[:, 1:], c[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_h, grad_c):
        x, W, U, b, V, a, c, h = ctx.saved_tensors
        da = torch.empty_like(a)
        if grad_h is None:
            grad_h = torch.zeros_like(h[:, 1:])
        grad_c = None if grad_c is None else grad_c.contiguous()
        dh0, dc0, dV = engine_for(U).lstm_backward(grad_h.contiguous(), grad_c, a, c, h, U, V, ctx.squash, da)
        dU, db = _product(h[:, :-1], da), _bias_gradient(b, da)
        return *_input_gradients(ctx, x, W, da), dU, db, dV, dh0, dc0, None


def _state(state: Tensor | None, x: Tensor, U: Tensor) -> Tensor:
    """The state before the first step (P, B, H): zeros unless given."""
    return x.new_zeros(U.shape[0], x.shape[2], U.shape[1]) if state is None else state


def _states(start: Tensor, T: int) -> Tensor:
    """Room for the states of all steps with the start in front: (P, B, H) -> (P, T + 1, B, H)."""
    states = start.new_empty(len(start), T + 1, *start.shape[1:])
    states[:, 0] = start
    return states


def _project(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    """W x_t + b for all steps in one product: x (P or 1, T, B, D) -> (P, T, B, gH)."""
    x_flat = x.flatten(1, 2).expand(len(W), -1, -1)
    a = torch.bmm(x_flat, W)  # baddbmm would copy a shared x for every member
    if b is not None:
        a += b[:, None]
    return a.unflatten(1, x.shape[1:3])


def _product(s: Tensor, da: Tensor) -> Tensor:
    """The gradient of a weight, sum over steps and sequences of s^T da: (P, T, B, m), (P, T, B, n) -> (P, m, n)."""
    return torch.bmm(s.flatten(1, 2).mT, da.flatten(1, 2))


def _input_gradients(ctx, x: Tensor, W: Tensor, da: Tensor) -> tuple[Tensor | None, Tensor]:
    """dL/dx (only if asked for) and dL/dW from dL/da."""
    dx = None
    if ctx.needs_input_grad[0]:
        dx = torch.einsum("ptbn,pdn->ptbd", da, W)
        dx = dx.sum(0, keepdim=True) if len(x) == 1 else dx
    return dx, _product(x.expand(len(W), -1, -1, -1), da)


def _bias_gradient(b: Tensor | None, da: Tensor) -> Tensor | None:
    return None if b is None else da.sum((1, 2))

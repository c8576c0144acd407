"""The three units over whole sequences and a whole population at once, with backward passes written by hand.

A leading axis P runs P models side by side, each with its own parameters: every step is then one batched matrix
product instead of P small ones. Shapes: x (P, T, B, D), W (P, D, gH), U (P, H, gH), b (P, gH), h0 (P, B, H), states
(P, T, B, H), with g = 1 (tanh), 3 (GRU: z, r, h~) or 4 (LSTM: o, i, f, c~) gates side by side. An x of shape
(1, T, B, D) is shared by the population. The equations are those of `gatedrnn.cells`, which these functions are tested
against; the backward passes are derived in chapters 1 to 3.

Arrays keep the order (P, T, B, .) throughout, so that nothing is transposed: a step is the slice [:, t], and states
are held as (P, T + 1, B, H) with the start in front, so that "the state one step earlier" is a slice too.

Each backward pass has three parts. Before the loop, everything that does not depend on the incoming gradient is formed
for all steps at once (the local derivatives, called k below). The loop walks from the last step to the first and does
only what must be done in order. After it, each weight's gradient is one large product over all steps. Steps beyond the
end of a shorter sequence need no care here: their loss is masked to zero, so no gradient comes from them, and a later
step cannot change an earlier one.
"""

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def tanh_recurrence(x: Tensor, W: Tensor, U: Tensor, b: Tensor | None = None, h0: Tensor | None = None) -> Tensor:
    """h_t = tanh(W x_t + U h_{t-1} + b) -> h (P, T, B, H)."""
    return _Tanh.apply(x, W, U, b, _state(h0, x, U))


def gru_recurrence(
    x: Tensor, W: Tensor, U: Tensor, b: Tensor | None = None, b_U: Tensor | None = None, h0: Tensor | None = None
) -> Tensor:
    """The GRU of section 3.2 -> h (P, T, B, H); with b_U (P, H) given, the reset gate acts after the product."""
    if b_U is None:
        return _GRU.apply(x, W, U, b, _state(h0, x, U))
    return _GRUResetAfter.apply(x, W, U, b, b_U, _state(h0, x, U))


def lstm_recurrence(
    x: Tensor,
    W: Tensor,
    U: Tensor,
    b: Tensor | None = None,
    V: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The LSTM of section 3.1 -> h and c, each (P, T, B, H); V (P, 3H) holds the peepholes of o, i, f, or is None."""
    return _LSTM.apply(x, W, U, b, V, _state(h0, x, U), _state(c0, x, U))


class _Tanh(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, h0):
        (a,) = _project(x, W, b, [U.shape[1]])
        h = _states(h0, a)
        for a_t, prev, h_t in _steps(a, h[:, :-1], h[:, 1:]):
            torch.tanh(torch.baddbmm(a_t, prev, U), out=h_t)
        ctx.save_for_backward(x, W, U, b, h)
        return h[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, states = ctx.saved_tensors
        prev, h = states[:, :-1], states[:, 1:]
        k = 1 - h * h  # d tanh
        U_T = U.mT.contiguous()
        da = torch.empty_like(k)
        carry = torch.zeros_like(h[:, 0])
        for g, k_t, da_t in _steps(grad, k, da, reverse=True):
            torch.mul(carry.add_(g), k_t, out=da_t)
            carry = torch.bmm(da_t, U_T)
        return *_input_gradients(ctx, x, W, da), _product(prev, da), _bias_gradient(b, da), carry


class _GRU(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, h0):
        H = U.shape[1]
        zr, h_tilde = _project(x, W, b, [2 * H, H])  # become gates and candidate in place, step by step
        U_zr, U_h = (part.contiguous() for part in U.split([2 * H, H], dim=-1))
        z, r = zr.split(H, dim=-1)
        rh, h = torch.empty_like(h_tilde), _states(h0, h_tilde)
        for zr_t, z_t, r_t, rh_t, h_tilde_t, prev, h_t in _steps(zr, z, r, rh, h_tilde, h[:, :-1], h[:, 1:]):
            torch.sigmoid(torch.baddbmm(zr_t, prev, U_zr), out=zr_t)
            torch.mul(r_t, prev, out=rh_t)
            torch.tanh(torch.baddbmm(h_tilde_t, rh_t, U_h), out=h_tilde_t)
            torch.lerp(prev, h_tilde_t, z_t, out=h_t)  # (1 - z) h + z h~
        ctx.save_for_backward(x, W, U, b, zr, h_tilde, rh, h)
        return h[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, zr, h_tilde, rh, h = ctx.saved_tensors
        H = U.shape[1]
        U_zrT, U_hT = (part.mT.contiguous() for part in U.split([2 * H, H], dim=-1))
        prev = h[:, :-1]
        z, r = zr.split(H, dim=-1)
        keep = 1 - z
        k_z = (h_tilde - prev).mul_(z).mul_(keep)
        k_r = (1 - r).mul_(r).mul_(prev)
        k_h = (1 - h_tilde * h_tilde).mul_(z)
        dzr, dh_tilde = torch.empty_like(zr), torch.empty_like(h_tilde)
        dz, dr = dzr.split(H, dim=-1)
        carry = torch.zeros_like(h[:, 0])
        for g, k_z_t, k_r_t, k_h_t, keep_t, r_t, dz_t, dr_t, dzr_t, dh_tilde_t in _steps(
            grad, k_z, k_r, k_h, keep, r, dz, dr, dzr, dh_tilde, reverse=True
        ):
            dh = carry.add_(g)
            torch.mul(dh, k_z_t, out=dz_t)
            torch.mul(dh, k_h_t, out=dh_tilde_t)
            drh = torch.bmm(dh_tilde_t, U_hT)
            torch.mul(drh, k_r_t, out=dr_t)
            carry = dh.mul_(keep_t).addcmul_(drh, r_t).baddbmm_(dzr_t, U_zrT)
        dU = torch.cat([_product(prev, dzr), _product(rh, dh_tilde)], dim=-1)
        return *_input_gradients(ctx, x, W, dzr, dh_tilde), dU, _bias_gradient(b, dzr, dh_tilde), carry


class _GRUResetAfter(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, b_U, h0):
        H = U.shape[1]
        zr, h_tilde = _project(x, W, b, [2 * H, H])
        z, r = zr.split(H, dim=-1)
        Uh = torch.empty_like(h_tilde)  # U h_{t-1} + b_U of the candidate, which r multiplies
        h = _states(h0, h_tilde)
        bias = torch.cat([torch.zeros_like(U[:, 0, : 2 * H]), b_U], dim=-1)[:, None]
        for zr_t, z_t, r_t, h_tilde_t, Uh_t, prev, h_t in _steps(zr, z, r, h_tilde, Uh, h[:, :-1], h[:, 1:]):
            product = torch.baddbmm(bias, prev, U)
            zr_t.add_(product[..., : 2 * H]).sigmoid_()
            Uh_t.copy_(product[..., 2 * H :])
            h_tilde_t.addcmul_(r_t, Uh_t).tanh_()
            torch.lerp(prev, h_tilde_t, z_t, out=h_t)
        ctx.save_for_backward(x, W, U, b, zr, h_tilde, Uh, h)
        return h[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, zr, h_tilde, Uh, h = ctx.saved_tensors
        H = U.shape[1]
        U_T = U.mT.contiguous()
        prev = h[:, :-1]
        z, r = zr.split(H, dim=-1)
        keep = 1 - z
        k_h = (1 - h_tilde * h_tilde).mul_(z)
        k_Uh = k_h * r  # what goes back into the product: the candidate's part, times r
        k = torch.cat([(h_tilde - prev).mul_(z).mul_(keep), (1 - r) * k_Uh * Uh, k_Uh], dim=-1)
        dUh = torch.empty_like(k)
        carry = torch.zeros_like(h[:, 0])
        dh_all = torch.empty_like(h_tilde)
        for g, dh_t, k_t, dUh_t, keep_t in _steps(grad, dh_all, k, dUh, keep, reverse=True):
            dh = torch.add(carry, g, out=dh_t)
            torch.mul(dh.repeat(1, 1, 3), k_t, out=dUh_t)
            carry = (dh * keep_t).baddbmm_(dUh_t, U_T)
        dzr, dh_tilde = dUh[..., : 2 * H], dh_all.mul_(k_h)
        dU, db_U = _product(prev, dUh), dUh[..., 2 * H :].sum((1, 2))
        return *_input_gradients(ctx, x, W, dzr, dh_tilde), dU, _bias_gradient(b, dzr, dh_tilde), db_U, carry


class _LSTM(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, V, h0, c0):
        H = U.shape[1]
        (a,) = _project(x, W, b, [4 * H])  # becomes o, i, f, c~ in place, step by step
        c, h = _states(c0, a), _states(h0, a)
        V_o, V_if = (None, None) if V is None else (V[:, None, :H], V[:, None, H:])
        parts = (a, a[..., : 3 * H], a[..., H : 3 * H], *a.split(H, dim=-1), c[:, :-1], c[:, 1:], h[:, :-1], h[:, 1:])
        for a_t, oif, if_, o, i, f, c_tilde, c_prev, c_t, h_prev, h_t in _steps(*parts):
            a_t += torch.bmm(h_prev, U)
            if V is None:
                oif.sigmoid_()
            else:
                if_.addcmul_(c_prev.repeat(1, 1, 2), V_if).sigmoid_()
            c_tilde.tanh_()
            torch.mul(f, c_prev, out=c_t).addcmul_(i, c_tilde)
            if V is not None:
                o.addcmul_(c_t, V_o).sigmoid_()
            torch.tanh(c_t, out=h_t).mul_(o)
        ctx.save_for_backward(x, W, U, b, V, a, c, h)
        return h[:, 1:], c[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_h, grad_c):
        x, W, U, b, V, a, c_states, h = ctx.saved_tensors
        H = U.shape[1]
        U_T = U.mT.contiguous()
        c_prev, c, h_prev = c_states[:, :-1], c_states[:, 1:], h[:, :-1]
        o, i, f, c_tilde = a.split(H, dim=-1)
        tanh_c = torch.tanh(c)
        k_o = (1 - o).mul_(o).mul_(tanh_c)
        k_c = (1 - tanh_c * tanh_c).mul_(o)  # how dL/dh reaches c
        k_ifc = torch.stack([c_tilde * i * (1 - i), c_prev * f * (1 - f), i * (1 - c_tilde * c_tilde)], dim=-2)
        keep = f
        if V is not None:  # the peepholes are further ways from c to the loss
            V_o, V_i, V_f = V[:, None, None].split(H, dim=-1)
            k_c.addcmul_(k_o, V_o)
            keep = torch.addcmul(f, k_ifc[..., 0, :], V_i).addcmul_(k_ifc[..., 1, :], V_f)
        da = torch.empty_like(a)
        da_o, da_ifc = da[..., :H], da[..., H:].unflatten(-1, (3, H))
        dh, dc = torch.zeros_like(h[:, 0]), torch.zeros_like(c[:, 0])
        for g_h, g_c, k_o_t, k_c_t, k_ifc_t, keep_t, da_t, da_o_t, da_ifc_t in _steps(
            grad_h, grad_c, k_o, k_c, k_ifc, keep, da, da_o, da_ifc, reverse=True
        ):
            dh += g_h
            dc.add_(g_c).addcmul_(dh, k_c_t)
            torch.mul(dh, k_o_t, out=da_o_t)
            torch.mul(dc[..., None, :], k_ifc_t, out=da_ifc_t)
            dh = torch.bmm(da_t, U_T)
            dc *= keep_t
        dV = None
        if V is not None:
            do, di, df, _ = da.split(H, dim=-1)
            dV = torch.cat([(d * s).sum((1, 2)) for d, s in ((do, c), (di, c_prev), (df, c_prev))], dim=-1)
        return *_input_gradients(ctx, x, W, da), _product(h_prev, da), _bias_gradient(b, da), dV, dh, dc


def _state(state: Tensor | None, x: Tensor, U: Tensor) -> Tensor:
    """The state before the first step (P, B, H): zeros unless given."""
    return x.new_zeros(U.shape[0], x.shape[2], U.shape[1]) if state is None else state


def _states(start: Tensor, a: Tensor) -> Tensor:
    """Room for the states of all steps with the start in front: start (P, B, H), a (P, T, B, .) -> (P, T + 1, B, H)."""
    states = start.new_empty(len(start), a.shape[1] + 1, *start.shape[1:])
    states[:, 0] = start
    return states


def _steps(*parts: Tensor, reverse: bool = False):
    """The slices of all parts (P, T, ...) step by step, from the first to the last or back."""
    return zip(*((reversed if reverse else iter)(part.unbind(1)) for part in parts), strict=True)


def _project(x: Tensor, W: Tensor, b: Tensor | None, sizes: list[int]) -> list[Tensor]:
    """W x_t + b for all steps in one product a block of gates: x (P or 1, T, B, D) -> each (P, T, B, size)."""
    x_flat = x.flatten(1, 2).expand(len(W), -1, -1)
    blocks = [torch.bmm(x_flat, W_block) for W_block in W.split(sizes, dim=-1)]
    if b is not None:
        for block, b_block in zip(blocks, b.split(sizes, dim=-1), strict=True):
            block += b_block[:, None]
    return [block.unflatten(1, x.shape[1:3]) for block in blocks]


def _product(s: Tensor, da: Tensor) -> Tensor:
    """The gradient of a weight, sum over steps and sequences of s^T da: (P, T, B, m), (P, T, B, n) -> (P, m, n)."""
    return torch.bmm(s.flatten(1, 2).mT, da.flatten(1, 2))


def _input_gradients(ctx, x: Tensor, W: Tensor, *das: Tensor) -> tuple[Tensor | None, Tensor]:
    """dL/dx (only if asked for) and dL/dW from dL/da of each block of gates."""
    x_all = x.expand(len(W), -1, -1, -1)
    dx = None
    if ctx.needs_input_grad[0]:
        dx = torch.einsum("ptbn,pdn->ptbd", torch.cat(das, dim=-1), W)
        dx = dx.sum(0, keepdim=True) if len(x) == 1 else dx
    return dx, torch.cat([_product(x_all, da) for da in das], dim=-1)


def _bias_gradient(b: Tensor | None, *das: Tensor) -> Tensor | None:
    return None if b is None else torch.cat([da.sum((1, 2)) for da in das], dim=-1)

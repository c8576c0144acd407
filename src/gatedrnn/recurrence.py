"""The three units over whole sequences and a whole population at once, with backward passes written by hand.

A leading axis P runs P models side by side, each with its own parameters: every step is then one batched matrix
product instead of P small ones. Shapes: x (P, T, B, D), W (P, D, gH), U (P, H, gH), b (P, gH), h0 (P, B, H), states
(P, T, B, H), with g = 1 (tanh), 3 (GRU: z, r, h~) or 4 (LSTM: o, i, f, c~) gates side by side. An x of shape
(1, T, B, D) is shared by the population. The equations are those of `gatedrnn.cells`, which these functions are tested
against; the backward passes are derived in chapters 1 to 3.

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
        a = _project(x, W, b)  # (T, P, B, H), turned into h in place, step by step
        h = h0
        for a_t in a.unbind(0):
            h = a_t.baddbmm_(h, U).tanh_()
        ctx.save_for_backward(x, W, U, b, h0, a)
        return a.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, h0, h = ctx.saved_tensors
        k = 1 - h * h  # d tanh
        U_T = U.mT.contiguous()
        da = grad.transpose(0, 1).contiguous()  # starts as dL/dh, becomes dL/da in place
        carry = None
        for da_t, k_t in zip(reversed(da.unbind(0)), reversed(k.unbind(0)), strict=True):
            if carry is not None:
                da_t += carry
            da_t *= k_t
            carry = torch.bmm(da_t, U_T)
        return *_weight_gradients(ctx, x, W, da), _product(_previous(h, h0), da), _bias_gradient(b, da), carry


class _GRU(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, h0):
        H = U.shape[1]
        a = _project(x, W, b)
        zr, h_tilde = a[..., : 2 * H].contiguous(), a[..., 2 * H :].contiguous()
        U_zr, U_h = U[..., : 2 * H].contiguous(), U[..., 2 * H :].contiguous()
        rh, h = torch.empty_like(h_tilde), torch.empty_like(h_tilde)
        z, r = zr[..., :H].unbind(0), zr[..., H:].unbind(0)
        prev = h0
        for t, (zr_t, h_tilde_t, rh_t, h_t) in enumerate(
            zip(zr.unbind(0), h_tilde.unbind(0), rh.unbind(0), h.unbind(0), strict=True)
        ):
            zr_t.baddbmm_(prev, U_zr).sigmoid_()
            torch.mul(r[t], prev, out=rh_t)
            h_tilde_t.baddbmm_(rh_t, U_h).tanh_()
            prev = torch.lerp(prev, h_tilde_t, z[t], out=h_t)  # (1 - z) h + z h~
        ctx.save_for_backward(x, W, U, b, h0, zr, h_tilde, rh, h)
        return h.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, h0, zr, h_tilde, rh, h = ctx.saved_tensors
        H = U.shape[1]
        U_zrT, U_hT = U[..., : 2 * H].mT.contiguous(), U[..., 2 * H :].mT.contiguous()
        prev = _previous(h, h0)
        z, r = zr.split(H, dim=-1)
        k_z = (h_tilde - prev) * z * (1 - z)
        k_r = prev * r * (1 - r)
        k_h = z * (1 - h_tilde * h_tilde)
        keep = 1 - z
        dzr, dh_tilde = torch.empty_like(zr), torch.empty_like(h_tilde)
        dz, dr = (part.unbind(0) for part in dzr.split(H, dim=-1))
        steps = [part.unbind(0) for part in (grad.transpose(0, 1), k_z, k_r, k_h, keep, r, dzr, dh_tilde)]
        carry = torch.zeros_like(h0)
        for t in reversed(range(len(h))):
            g, k_z_t, k_r_t, k_h_t, keep_t, r_t, dzr_t, dh_tilde_t = (part[t] for part in steps)
            dh = carry.add_(g)
            torch.mul(dh, k_z_t, out=dz[t])
            torch.mul(dh, k_h_t, out=dh_tilde_t)
            drh = torch.bmm(dh_tilde_t, U_hT)
            torch.mul(drh, k_r_t, out=dr[t])
            carry = dh.mul_(keep_t).addcmul_(drh, r_t).baddbmm_(dzr_t, U_zrT)
        dU = torch.cat([_product(prev, dzr), _product(rh, dh_tilde)], dim=-1)
        da = torch.cat([dzr, dh_tilde], dim=-1)
        return *_weight_gradients(ctx, x, W, da), dU, _bias_gradient(b, da), carry


class _GRUResetAfter(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, b_U, h0):
        H = U.shape[1]
        a = _project(x, W, b)
        Uh = torch.empty_like(a)  # U h_{t-1} for the three gates; the candidate's part is multiplied by r
        h = a.new_empty(*a.shape[:-1], H)
        bias = torch.cat([torch.zeros_like(U[:, 0, : 2 * H]), b_U], dim=-1)[:, None]
        prev = h0
        for a_t, Uh_t, h_t in zip(a.unbind(0), Uh.unbind(0), h.unbind(0), strict=True):
            torch.baddbmm(bias, prev, U, out=Uh_t)
            zr_t, h_tilde_t = a_t[..., : 2 * H], a_t[..., 2 * H :]
            zr_t.add_(Uh_t[..., : 2 * H]).sigmoid_()
            h_tilde_t.addcmul_(zr_t[..., H:], Uh_t[..., 2 * H :]).tanh_()
            prev = torch.lerp(prev, h_tilde_t, zr_t[..., :H], out=h_t)
        ctx.save_for_backward(x, W, U, b, h0, a, Uh[..., 2 * H :], h)
        return h.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, W, U, b, h0, a, Uh, h = ctx.saved_tensors
        H = U.shape[1]
        U_T = U.mT.contiguous()
        prev = _previous(h, h0)
        z, r, h_tilde = a.split(H, dim=-1)
        k_h = z * (1 - h_tilde * h_tilde)
        k = torch.cat([(h_tilde - prev) * z * (1 - z), k_h * Uh * r * (1 - r), k_h], dim=-1)
        keep = 1 - z
        da, dUh = torch.empty_like(k), torch.empty_like(k)  # before and after the candidate's product with r
        carry = torch.zeros_like(h0)
        for t in reversed(range(len(h))):
            dh = carry.add_(grad[:, t])
            torch.mul(dh.repeat(1, 1, 3), k[t], out=da[t])
            dUh[t] = da[t]
            dUh[t, ..., 2 * H :] *= r[t]
            carry = dh.mul_(keep[t]).baddbmm_(dUh[t], U_T)
        dU = _product(prev, dUh)
        return *_weight_gradients(ctx, x, W, da), dU, _bias_gradient(b, da), dUh[..., 2 * H :].sum((0, 2)), carry


class _LSTM(Function):
    @staticmethod
    def forward(ctx, x, W, U, b, V, h0, c0):
        H = U.shape[1]
        a = _project(x, W, b)
        c, h = (a.new_empty(*a.shape[:-1], H) for _ in "ch")
        h_prev, c_prev = h0, c0
        V_o, V_if = (None, None) if V is None else (V[:, None, :H], V[:, None, H:])
        parts = (a, a[..., : 3 * H], a[..., H : 3 * H], *a.split(H, dim=-1), c, h)
        for a_t, oif, if_, o, i, f, c_tilde, c_t, h_t in zip(*(part.unbind(0) for part in parts), strict=True):
            a_t.baddbmm_(h_prev, U)
            if V is None:
                oif.sigmoid_()
            else:
                if_.addcmul_(c_prev.repeat(1, 1, 2), V_if).sigmoid_()
            c_tilde.tanh_()
            torch.mul(f, c_prev, out=c_t).addcmul_(i, c_tilde)
            if V is not None:
                o.addcmul_(c_t, V_o).sigmoid_()
            torch.tanh(c_t, out=h_t).mul_(o)
            h_prev, c_prev = h_t, c_t
        ctx.save_for_backward(x, W, U, b, V, h0, c0, a, c, h)
        return h.transpose(0, 1), c.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_h, grad_c):
        x, W, U, b, V, h0, c0, a, c, h = ctx.saved_tensors
        H = U.shape[1]
        U_T = U.mT.contiguous()
        c_prev, h_prev = _previous(c, c0), _previous(h, h0)
        o, i, f, c_tilde = a.split(H, dim=-1)
        tanh_c = torch.tanh(c)
        k_o = tanh_c * o * (1 - o)
        k_c = o * (1 - tanh_c * tanh_c)  # how dL/dh reaches c
        k_ifc = torch.stack([c_tilde * i * (1 - i), c_prev * f * (1 - f), i * (1 - c_tilde * c_tilde)], dim=-2)
        keep = f
        if V is not None:  # the peepholes are further ways from c to the loss
            V_o, V_i, V_f = V[:, None].split(H, dim=-1)
            k_c = k_c + k_o * V_o
            keep = f + k_ifc[..., 0, :] * V_i + k_ifc[..., 1, :] * V_f
        da = torch.empty_like(a)
        da_o, da_ifc = da[..., :H], da[..., H:].unflatten(-1, (3, H))
        parts = (grad_h.transpose(0, 1), grad_c.transpose(0, 1), k_o, k_c, k_ifc, keep, da, da_o, da_ifc)
        steps = zip(*(reversed(part.unbind(0)) for part in parts), strict=True)
        dh, dc = torch.zeros_like(h0), torch.zeros_like(c0)
        for g_h, g_c, k_o_t, k_c_t, k_ifc_t, keep_t, da_t, da_o_t, da_ifc_t in steps:
            dh += g_h
            dc.add_(g_c).addcmul_(dh, k_c_t)
            torch.mul(dh, k_o_t, out=da_o_t)
            torch.mul(dc[..., None, :], k_ifc_t, out=da_ifc_t)
            dh = torch.bmm(da_t, U_T)
            dc *= keep_t
        dV = None
        if V is not None:
            do, di, df, _ = da.split(H, dim=-1)
            dV = torch.cat([(d * s).sum((0, 2)) for d, s in ((do, c), (di, c_prev), (df, c_prev))], dim=-1)
        return *_weight_gradients(ctx, x, W, da), _product(h_prev, da), _bias_gradient(b, da), dV, dh, dc


def _state(state: Tensor | None, x: Tensor, U: Tensor) -> Tensor:
    """The state before the first step (P, B, H): zeros unless given."""
    return x.new_zeros(U.shape[0], x.shape[2], U.shape[1]) if state is None else state


def _project(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    """W x_t + b for all steps in one product: x (P or 1, T, B, D) -> (T, P, B, gH), contiguous step by step."""
    P, (T, B) = len(W), x.shape[1:3]
    x = x.flatten(1, 2).expand(P, -1, -1)
    a = torch.bmm(x, W) if b is None else torch.baddbmm(b[:, None], x, W)
    return a.view(P, T, B, -1).transpose(0, 1).contiguous()


def _previous(h: Tensor, h0: Tensor) -> Tensor:
    """The states one step earlier: h (T, P, B, H), h0 (P, B, H) -> (T, P, B, H)."""
    return torch.cat([h0[None], h[:-1]])


def _by_member(a: Tensor) -> Tensor:
    """(T, P, B, n) -> (P, T * B, n)."""
    return a.transpose(0, 1).flatten(1, 2)


def _product(s: Tensor, da: Tensor) -> Tensor:
    """The gradient of a weight, sum over steps and sequences of s^T da: (T, P, B, m), (T, P, B, n) -> (P, m, n)."""
    return torch.bmm(_by_member(s).mT, _by_member(da))


def _bias_gradient(b: Tensor | None, da: Tensor) -> Tensor | None:
    return None if b is None else da.sum((0, 2))


def _weight_gradients(ctx, x: Tensor, W: Tensor, da: Tensor) -> tuple[Tensor | None, Tensor]:
    """dL/dx (only if asked for) and dL/dW."""
    da = _by_member(da)
    dx = None
    if ctx.needs_input_grad[0]:
        dx = torch.bmm(da, W.mT).view(len(W), *x.shape[1:])
        dx = dx.sum(0, keepdim=True) if len(x) == 1 else dx
    return dx, torch.bmm(x.flatten(1, 2).expand(len(W), -1, -1).mT, da)

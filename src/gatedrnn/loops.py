"""The loops over time, in PyTorch: on any device, in any precision, and the reference for the compiled ones.

`gatedrnn.recurrence` does what can be done for all steps at once: the products W x before, and those that give the
gradients of the weights after. What must be done step by step stands here, and again in `gatedrnn.kernels`, compiled
for a CPU, with the same six functions.

P models, T steps, B sequences, H units. a (P, T, B, gH) comes in as W x + b and goes out as the gates; h and c
(P, T + 1, B, H) have the start in front, so that "the state one step earlier" is a slice. Everything is written in
place, and a backward loop returns the gradient of the start. Its k are the local derivatives, which do not depend on
the incoming gradient and are formed for all steps at once; the loop does only what must be done in order.
"""

import torch
from torch import Tensor


def steps(*parts: Tensor, reverse: bool = False):
    """The slices of all parts (P, T, ...) step by step, from the first to the last or back."""
    return zip(*((reversed if reverse else iter)(part.unbind(1)) for part in parts), strict=True)


def tanh_forward(a: Tensor, U: Tensor, h: Tensor) -> None:
    for a_t, prev, h_t in steps(a, h[:, :-1], h[:, 1:]):
        torch.tanh(torch.baddbmm(a_t, prev, U), out=h_t)


def tanh_backward(grad: Tensor, h: Tensor, U: Tensor, da: Tensor) -> Tensor:
    k = 1 - h[:, 1:].square()
    U_T, carry = U.mT.contiguous(), torch.zeros_like(h[:, 0])
    for g, k_t, da_t in steps(grad, k, da, reverse=True):
        torch.mul(carry.add_(g), k_t, out=da_t)
        carry = torch.bmm(da_t, U_T)
    return carry


def gru_forward(a: Tensor, U: Tensor, b_U: Tensor | None, h: Tensor, aux: Tensor) -> None:
    """Gates z, r, h~, or z, r, f, h~ where f keeps the old state instead of 1 - z.

    aux (P, T, B, H) goes out as r h_{t-1}, or, where b_U (P, H) is given, as U h_{t-1} + b_U, which r multiplies.
    """
    H = U.shape[1]
    gates, z, r, h_tilde = a[..., :-H], a[..., :H], a[..., H : 2 * H], a[..., -H:]
    f = a[..., 2 * H : 3 * H]  # the candidate again, where there is no such gate
    independent = U.shape[-1] == 4 * H
    U_gates, U_h = U[..., :-H].contiguous(), U[..., -H:].contiguous()
    for gates_t, z_t, r_t, f_t, h_tilde_t, aux_t, prev, h_t in steps(gates, z, r, f, h_tilde, aux, h[:, :-1], h[:, 1:]):
        gates_t.add_(torch.bmm(prev, U_gates)).sigmoid_()
        if b_U is None:
            torch.mul(r_t, prev, out=aux_t)
            h_tilde_t.add_(torch.bmm(aux_t, U_h)).tanh_()
        else:
            aux_t.copy_(torch.baddbmm(b_U[:, None], prev, U_h))
            h_tilde_t.addcmul_(r_t, aux_t).tanh_()
        if independent:
            torch.mul(f_t, prev, out=h_t).addcmul_(z_t, h_tilde_t)
        else:
            torch.lerp(prev, h_tilde_t, z_t, out=h_t)  # (1 - z) h + z h~


def gru_backward(grad: Tensor, a: Tensor, aux: Tensor, h: Tensor, U: Tensor, after: bool, da: Tensor) -> Tensor:
    H, prev = U.shape[1], h[:, :-1]
    z, r, h_tilde = a[..., :H], a[..., H : 2 * H], a[..., -H:]
    independent = U.shape[-1] == 4 * H
    keep = a[..., 2 * H : 3 * H] if independent else 1 - z
    k = torch.empty_like(a)  # dL/da = k dL/dh for every gate but r, whose way leads through the candidate
    k[..., :H] = (h_tilde if independent else h_tilde - prev) * z * (1 - z)
    if independent:
        k[..., 2 * H : 3 * H] = prev * keep * (1 - keep)
    k[..., -H:] = (1 - h_tilde.square()) * z
    k_r = (1 - r) * r * (aux if after else prev)
    U_T = [part.mT.contiguous() for part in (U[..., :-H], U[..., -H:])]
    carry = torch.zeros_like(h[:, 0])
    for g, k_t, k_r_t, keep_t, r_t, da_t in steps(grad, k, k_r, keep, r, da, reverse=True):
        dh = carry.add_(g)
        torch.mul(dh.repeat(1, 1, k_t.shape[-1] // H), k_t, out=da_t)
        dh_tilde = da_t[..., -H:]
        if after:
            drh = dh_tilde
            back = torch.bmm(dh_tilde * r_t, U_T[1])
        else:
            drh = torch.bmm(dh_tilde, U_T[1])
            back = drh * r_t
        torch.mul(drh, k_r_t, out=da_t[..., H : 2 * H])
        carry = dh.mul_(keep_t).add_(back).baddbmm_(da_t[..., :-H], U_T[0])
    return carry


def lstm_forward(a: Tensor, U: Tensor, V: Tensor | None, c: Tensor, h: Tensor, squash: bool) -> None:
    """Gates o, i, f, c~; V (P, 3H) peepholes of o, i, f; h = o tanh(c), or h = o c without `squash`."""
    H = U.shape[1]
    V_o, V_if = (None, None) if V is None else (V[:, None, :H], V[:, None, H:])
    parts = (a, a[..., : 3 * H], a[..., H : 3 * H], *a.split(H, dim=-1), c[:, :-1], c[:, 1:], h[:, :-1], h[:, 1:])
    for a_t, oif, if_, o, i, f, c_tilde, c_prev, c_t, h_prev, h_t in steps(*parts):
        a_t += torch.bmm(h_prev, U)
        if V is None:
            oif.sigmoid_()
        else:
            if_.addcmul_(c_prev.repeat(1, 1, 2), V_if).sigmoid_()
        c_tilde.tanh_()
        torch.mul(f, c_prev, out=c_t).addcmul_(i, c_tilde)
        if V is not None:
            o.addcmul_(c_t, V_o).sigmoid_()
        torch.mul(torch.tanh(c_t) if squash else c_t, o, out=h_t)


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
    """The gradients of h and c at the start, and of the peepholes. grad_c : None where c is not used."""
    H = U.shape[1]
    U_T = U.mT.contiguous()
    c_prev, c = c[:, :-1], c[:, 1:]
    o, i, f, c_tilde = a.split(H, dim=-1)
    out = torch.tanh(c) if squash else c
    k_o = (1 - o).mul_(o).mul_(out)
    k_c = (1 - out * out).mul_(o) if squash else o.clone()  # how dL/dh reaches c
    k_ifc = torch.stack([c_tilde * i * (1 - i), c_prev * f * (1 - f), i * (1 - c_tilde * c_tilde)], dim=-2)
    keep = f
    if V is not None:  # the peepholes are further ways from c to the loss
        V_o, V_i, V_f = V[:, None, None].split(H, dim=-1)
        k_c.addcmul_(k_o, V_o)
        keep = torch.addcmul(f, k_ifc[..., 0, :], V_i).addcmul_(k_ifc[..., 1, :], V_f)
    da_o, da_ifc = da[..., :H], da[..., H:].unflatten(-1, (3, H))
    dh, dc = torch.zeros_like(h[:, 0]), torch.zeros_like(h[:, 0])
    grad_c = torch.zeros_like(grad_h) if grad_c is None else grad_c
    for g_h, g_c, k_o_t, k_c_t, k_ifc_t, keep_t, da_t, da_o_t, da_ifc_t in steps(
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
        seen = zip(da[..., : 3 * H].split(H, dim=-1), (c, c_prev, c_prev), strict=True)
        dV = torch.cat([(d * s).sum((1, 2)) for d, s in seen], dim=-1)
    return dh, dc, dV

"""The loops over time of the three units, compiled by Numba for a CPU: `gatedrnn.loops`, in fused passes over arrays.

A step is one matrix product, and one pass over its B rows in which everything element by element is done at once. The
arrays are those of `gatedrnn.loops`, in float32 or float64, contiguous, and written in place. A backward loop leaves
the gradient of the start in dh (P, B, H), which comes in as zeros; so do the LSTM's dV (P, 3H) and db (P, 4H), which
would cost passes of their own over all steps. `gatedrnn.kernels` hands tensors over.

Four things look odd here, and are so for speed or for truth:

- No number stands in the formulas: `1 - z` would turn float32 into float64. So g (1 - z) is written g - g z.
- Slices of a row are taken before the loop over its elements, and rows are counted by an array. The compiler makes
  vector instructions if the slices do not overlap. It checks that row by row only where it cannot foresee the next row;
  asked about all rows at once, the gates' slices do overlap, and the loop would stay slow without a word.
- The factors of a product are contiguous: parts of U, and U transposed, are copied once for each member.
- Of the "fast mathematics" only contraction is allowed, a multiplication and an addition at once. The rest of it would
  make NaN disappear.
"""

import math
from typing import Any

import numpy as np

from .extras import Extra

with Extra("fast"):
    import numba
    from numba.extending import overload

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}}  # a type of Numba's own
F, Int = np.float32, np.int32


def compiled(function):
    """Compile at the first call, and keep the machine code on disk where a place for it can be found."""
    try:
        return numba.njit(cache=True, nogil=True, **OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True, **OPTIONS)(function)


def expm1(x):
    """e^x - 1, from which both nonlinearities follow without loss near 0."""
    return math.expm1(x)


@overload(expm1, jit_options=OPTIONS)
def _expm1(x):
    if x is not numba.float32:
        return lambda x: math.expm1(min(x, 700.0))  # where float64 ends; NaN passes the comparison

    def vectorised(x):
        # x = n log 2 + f with |f| < 0.35, and e^x - 1 = 2^n (e^f - 1) + (2^n - 1), with a Taylor polynomial for e^f - 1
        x = F(88) if x > F(88) else max(x, F(-87))  # where float32 ends; NaN passes
        shifted = x * F(1 / math.log(2)) + F(1.5 * 2**23)  # so large that its last bits are the integer n ...
        n = shifted - F(1.5 * 2**23)
        f = x - n * F(math.log(2))
        power = Int(Int(F(shifted).view(Int) << Int(23)) + Int(127 << 23)).view(F)  # ... which become the exponent: 2^n
        e = F(1 / 24) + f * (F(1 / 120) + f * (F(1 / 720) + f * F(1 / 5040)))
        e = f + f * f * (F(1 / 2) + f * (F(1 / 6) + f * e))
        return power * e + (power - F(1))

    return vectorised


@compiled
def tanh(x):
    e = expm1(x + x)
    return e / (e + type(x)(2))


@compiled
def sigmoid(x):
    return type(x)(1) / (type(x)(2) + expm1(-x))


@compiled
def product(x, W, out):
    """out = x W: (B, m), (m, n) -> (B, n). One row by hand, four rows of W at a time: a library only pays for more."""
    if len(x) > 1:
        np.dot(x, W, out)
        return
    m, n = W.shape
    v, y = x[0], out[0]
    for j in range(n):
        y[j] = v[0] * W[0, j]
    for k in range(1, m - 3, 4):
        w0, w1, w2, w3 = W[k], W[k + 1], W[k + 2], W[k + 3]
        v0, v1, v2, v3 = v[k], v[k + 1], v[k + 2], v[k + 3]
        for j in range(n):
            y[j] += (v0 * w0[j] + v1 * w1[j]) + (v2 * w2[j] + v3 * w3[j])
    for k in range(m - (m - 1) % 4, m):
        w0, v0 = W[k], v[k]
        for j in range(n):
            y[j] += v0 * w0[j]


@compiled
def transposed(U):
    return np.ascontiguousarray(U.T)


@compiled
def gates3(row):
    H = len(row) // 3
    return row[:H], row[H : 2 * H], row[2 * H :]


@compiled
def gates4(row):
    H = len(row) // 4
    return row[:H], row[H : 2 * H], row[2 * H : 3 * H], row[3 * H :]


# tanh: h_t = tanh(a_t + U h_{t-1})


@compiled
def tanh_forward(a, U, h):
    P, T, B, H = a.shape
    s, rows = np.empty((B, H), a.dtype), np.arange(B)
    for p in range(P):
        for t in range(T):
            product(h[p, t], U[p], s)
            for i in rows:
                a_i, s_i, h_i = a[p, t, i], s[i], h[p, t + 1, i]
                for j in range(H):
                    h_i[j] = tanh(a_i[j] + s_i[j])


@compiled
def tanh_backward(grad, h, U, da, dh):
    P, T, B, H = grad.shape
    rows = np.arange(B)
    for p in range(P):
        U_T = transposed(U[p])
        for t in range(T - 1, -1, -1):
            for i in rows:
                g_i, h_i, dh_i, da_i = grad[p, t, i], h[p, t + 1, i], dh[p, i], da[p, t, i]
                for j in range(H):
                    g = dh_i[j] + g_i[j]
                    da_i[j] = g - g * h_i[j] * h_i[j]
            product(da[p, t], U_T, dh[p])


# GRU: z, r = sigmoid(a_zr + U_zr h_{t-1}), h~ = tanh(a_h + U_h (r h_{t-1})), h_t = (1 - z) h_{t-1} + z h~


@compiled
def gru_forward(a, U, h, rh):
    P, T, B, H = rh.shape
    s_zr, s_h, rows = np.empty((B, 2 * H), a.dtype), np.empty((B, H), a.dtype), np.arange(B)
    for p in range(P):
        U_zr, U_h = np.ascontiguousarray(U[p, :, : 2 * H]), np.ascontiguousarray(U[p, :, 2 * H :])
        for t in range(T):
            product(h[p, t], U_zr, s_zr)
            for i in rows:
                zr, r, s, h_prev, rh_i = a[p, t, i, : 2 * H], a[p, t, i, H : 2 * H], s_zr[i], h[p, t, i], rh[p, t, i]
                for j in range(2 * H):
                    zr[j] = sigmoid(zr[j] + s[j])
                for j in range(H):
                    rh_i[j] = r[j] * h_prev[j]
            product(rh[p, t], U_h, s_h)
            for i in rows:
                z, _, h_tilde = gates3(a[p, t, i])
                s, h_prev, h_new = s_h[i], h[p, t, i], h[p, t + 1, i]
                for j in range(H):
                    h_tilde[j] = tanh(h_tilde[j] + s[j])
                    h_new[j] = h_prev[j] + z[j] * (h_tilde[j] - h_prev[j])


@compiled
def gru_backward(grad, a, h, U, da, dh):
    P, T, B, H = grad.shape
    d_zr, d_h, drh, s = np.empty((B, 2 * H), a.dtype), np.empty_like(dh[0]), np.empty_like(dh[0]), np.empty_like(dh[0])
    rows = np.arange(B)
    for p in range(P):
        U_zrT, U_hT = transposed(U[p, :, : 2 * H]), transposed(U[p, :, 2 * H :])
        for t in range(T - 1, -1, -1):
            for i in rows:
                z, _, h_tilde = gates3(a[p, t, i])
                h_prev, g_i, dh_i, dz, dh_tilde = h[p, t, i], grad[p, t, i], dh[p, i], d_zr[i, :H], d_h[i]
                for j in range(H):
                    g = dh_i[j] + g_i[j]
                    gz = g * z[j]
                    dz[j] = (gz - gz * z[j]) * (h_tilde[j] - h_prev[j])
                    dh_tilde[j] = gz - gz * h_tilde[j] * h_tilde[j]
                    dh_i[j] = g - gz
            product(d_h, U_hT, drh)
            for i in rows:
                r, h_prev, drh_i, dr, dh_i = a[p, t, i, H : 2 * H], h[p, t, i], drh[i], d_zr[i, H:], dh[p, i]
                for j in range(H):
                    g = drh_i[j] * r[j]
                    dr[j] = (g - g * r[j]) * h_prev[j]
                    dh_i[j] += g
            product(d_zr, U_zrT, s)
            for i in rows:
                da_zr, da_h, d_zr_i, d_h_i = da[p, t, i, : 2 * H], da[p, t, i, 2 * H :], d_zr[i], d_h[i]
                dh_i, s_i = dh[p, i], s[i]
                for j in range(2 * H):
                    da_zr[j] = d_zr_i[j]
                for j in range(H):
                    da_h[j] = d_h_i[j]
                    dh_i[j] += s_i[j]


# GRU with the reset gate after the product: h~ = tanh(a_h + r (U_h h_{t-1} + b_U))


@compiled
def gru_after_forward(a, U, b_U, h, Uh):
    P, T, B, H = Uh.shape
    s, rows = np.empty((B, 3 * H), a.dtype), np.arange(B)
    for p in range(P):
        for t in range(T):
            product(h[p, t], U[p], s)
            for i in rows:
                zr, s_zr, s_h, b = a[p, t, i, : 2 * H], s[i], s[i, 2 * H :], b_U[p]
                z, r, h_tilde = gates3(a[p, t, i])
                Uh_i, h_prev, h_new = Uh[p, t, i], h[p, t, i], h[p, t + 1, i]
                for j in range(2 * H):
                    zr[j] = sigmoid(zr[j] + s_zr[j])
                for j in range(H):
                    Uh_i[j] = s_h[j] + b[j]
                    h_tilde[j] = tanh(h_tilde[j] + r[j] * Uh_i[j])
                    h_new[j] = h_prev[j] + z[j] * (h_tilde[j] - h_prev[j])


@compiled
def gru_after_backward(grad, a, Uh, h, U, da, dh):
    P, T, B, H = grad.shape
    d, s, rows = np.empty((B, 3 * H), a.dtype), np.empty((B, H), a.dtype), np.arange(B)
    for p in range(P):
        U_T = transposed(U[p])
        for t in range(T - 1, -1, -1):
            for i in rows:
                (z, r, h_tilde), (dz, dr, dUh) = gates3(a[p, t, i]), gates3(d[i])
                Uh_i, h_prev, g_i, dh_i, da_h = Uh[p, t, i], h[p, t, i], grad[p, t, i], dh[p, i], da[p, t, i, 2 * H :]
                for j in range(H):
                    g = dh_i[j] + g_i[j]
                    gz = g * z[j]
                    dz[j] = (gz - gz * z[j]) * (h_tilde[j] - h_prev[j])
                    dh_i[j] = g - gz
                    da_h[j] = gz - gz * h_tilde[j] * h_tilde[j]
                    dUh[j] = da_h[j] * r[j]
                    dr[j] = (dUh[j] - dUh[j] * r[j]) * Uh_i[j]
            product(d, U_T, s)
            for i in rows:
                da_i, d_i, dh_i, s_i = da[p, t, i], d[i], dh[p, i], s[i]
                for j in range(2 * H):
                    da_i[j] = d_i[j]
                for j in range(H):
                    dh_i[j] += s_i[j]


# LSTM: i, f = sigmoid(. + V c_{t-1}), c_t = f c_{t-1} + i c~, o = sigmoid(. + V_o c_t), h_t = o tanh(c_t), or o c_t


@compiled
def lstm_forward(a, U, V, c, h, squash):
    P, T, B, G = a.shape
    H, s, rows = G // 4, np.empty((B, G), a.dtype), np.arange(B)
    for p in range(P):
        V_o, V_i, V_f = gates3(V[p])
        for t in range(T):
            product(h[p, t], U[p], s)
            for i in rows:
                a_i, s_i, c_prev, c_new, h_new = a[p, t, i], s[i], c[p, t, i], c[p, t + 1, i], h[p, t + 1, i]
                o, i_, f, c_tilde = gates4(a_i)
                for j in range(G):
                    a_i[j] += s_i[j]
                for j in range(H):
                    i_[j] = sigmoid(i_[j] + V_i[j] * c_prev[j])
                    f[j] = sigmoid(f[j] + V_f[j] * c_prev[j])
                    c_tilde[j] = tanh(c_tilde[j])
                for j in range(H):
                    c_new[j] = f[j] * c_prev[j] + i_[j] * c_tilde[j]
                    o[j] = sigmoid(o[j] + V_o[j] * c_new[j])
                    h_new[j] = o[j] * (tanh(c_new[j]) if squash is not None else c_new[j])


@compiled
def lstm_backward(grad_h, grad_c, a, c, h, U, V, squash, da, dh, dc, dV, db):
    P, T, B, H = grad_h.shape
    rows = np.arange(B)
    for p in range(P):
        U_T, (V_o, V_i, V_f), (dV_o, dV_i, dV_f), db_p = transposed(U[p]), gates3(V[p]), gates3(dV[p]), db[p]
        for t in range(T - 1, -1, -1):
            for i in rows:
                (o, i_, f, c_tilde), (do, di, df, dc_tilde) = gates4(a[p, t, i]), gates4(da[p, t, i])
                c_prev, c_new, dh_i, dc_i = c[p, t, i], c[p, t + 1, i], dh[p, i], dc[p, i]
                gh_i = grad_h[p, t, i]
                if grad_c is not None:
                    gc_i = grad_c[p, t, i]
                    for j in range(H):
                        dc_i[j] += gc_i[j]
                for j in range(H):
                    g = (dh_i[j] + gh_i[j]) * o[j]
                    out = tanh(c_new[j]) if squash is not None else c_new[j]
                    do[j] = (g - g * o[j]) * out
                    gc = dc_i[j] + do[j] * V_o[j] + (g - g * out * out if squash is not None else g)
                    gi, gf = gc * i_[j], gc * f[j]
                    di[j] = (gi - gi * i_[j]) * c_tilde[j]
                    df[j] = (gf - gf * f[j]) * c_prev[j]
                    dc_tilde[j] = gi - gi * c_tilde[j] * c_tilde[j]
                    dc_i[j] = gf + di[j] * V_i[j] + df[j] * V_f[j]
                for j in range(H):
                    dV_o[j] += do[j] * c_new[j]
                    dV_i[j] += di[j] * c_prev[j]
                    dV_f[j] += df[j] * c_prev[j]
                da_i = da[p, t, i]
                for j in range(4 * H):
                    db_p[j] += da_i[j]
            product(da[p, t], U_T, dh[p])

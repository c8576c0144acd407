"""The loops over time of the three units, compiled by Numba for a CPU: `gatedrnn.loops`, in fused passes over arrays.

A step is one matrix product, and one pass over its B rows in which everything element by element is done at once. The
arrays are those of one member of `gatedrnn.loops`, without the axis P; in float32 or float64, contiguous, and written
in place. A backward loop takes the gradient that comes from after the last step in dh (B, H), and leaves that of the
start there; so does the LSTM's in dc. It adds to dV (3H,). `gatedrnn.kernels` hands tensors over.

Three things look odd here, and are so for speed:

- No number stands in the formulas: `1 - z` would turn float32 into float64. So g (1 - z) is written g - g z.
- Slices of a row are taken before the loop over its elements, and rows are counted by an array. The compiler makes
  vector instructions if the slices do not overlap. It checks that row by row only where it cannot foresee the next row;
  asked about all rows at once, the gates' slices do overlap, and the loop would stay slow without a word.
- The factors of a product are contiguous: parts of U, and U transposed, are copied once for all steps.
"""

import numpy as np

from .elementary import compiled, gates3, gates4, product, sigmoid, tanh

# tanh: h_t = tanh(a_t + U h_{t-1})


@compiled
def tanh_forward(a, U, h):
    T, B, H = a.shape
    s, rows = np.empty((B, H), a.dtype), np.arange(B)
    for t in range(T):
        product(h[t], U, s)
        for i in rows:
            a_i, s_i, h_i = a[t, i], s[i], h[t + 1, i]
            for j in range(H):
                h_i[j] = tanh(a_i[j] + s_i[j])


@compiled
def tanh_backward(grad, h, U, da, dh):
    T, B, H = grad.shape
    U_T, rows = np.ascontiguousarray(U.T), np.arange(B)
    for t in range(T - 1, -1, -1):
        for i in rows:
            g_i, h_i, dh_i, da_i = grad[t, i], h[t + 1, i], dh[i], da[t, i]
            for j in range(H):
                g = dh_i[j] + g_i[j]
                da_i[j] = g - g * h_i[j] * h_i[j]
        product(da[t], U_T, dh)


# GRU: z, r = sigmoid(a_zr + U_zr h_{t-1}), h~ = tanh(a_h + U_h (r h_{t-1})), h_t = (1 - z) h_{t-1} + z h~


@compiled
def gru_forward(a, U, h, rh):
    T, B, H = rh.shape
    s_zr, s_h = np.empty((B, 2 * H), a.dtype), np.empty((B, H), a.dtype)
    U_zr = np.ascontiguousarray(U[:, : 2 * H])
    U_h = np.ascontiguousarray(U[:, 2 * H :])
    rows = np.arange(B)
    for t in range(T):
        product(h[t], U_zr, s_zr)
        for i in rows:
            zr, r, s = a[t, i, : 2 * H], a[t, i, H : 2 * H], s_zr[i]
            h_prev, rh_i = h[t, i], rh[t, i]
            for j in range(2 * H):
                zr[j] = sigmoid(zr[j] + s[j])
            for j in range(H):
                rh_i[j] = r[j] * h_prev[j]
        product(rh[t], U_h, s_h)
        for i in rows:
            z, _, h_tilde = gates3(a[t, i])
            s, h_prev, h_new = s_h[i], h[t, i], h[t + 1, i]
            for j in range(H):
                h_tilde[j] = tanh(h_tilde[j] + s[j])
                h_new[j] = h_prev[j] + z[j] * (h_tilde[j] - h_prev[j])


@compiled
def gru_backward(grad, a, h, U, da, dh):
    T, B, H = grad.shape
    d_zr, d_h = np.empty((B, 2 * H), a.dtype), np.empty_like(dh)
    drh, s = np.empty_like(dh), np.empty_like(dh)
    U_zrT, U_hT = np.ascontiguousarray(U[:, : 2 * H].T), np.ascontiguousarray(U[:, 2 * H :].T)
    rows = np.arange(B)
    for t in range(T - 1, -1, -1):
        for i in rows:
            z, _, h_tilde = gates3(a[t, i])
            h_prev, g_i, dh_i = h[t, i], grad[t, i], dh[i]
            dz, dh_tilde = d_zr[i, :H], d_h[i]
            for j in range(H):
                g = dh_i[j] + g_i[j]
                gz = g * z[j]
                dz[j] = (gz - gz * z[j]) * (h_tilde[j] - h_prev[j])
                dh_tilde[j] = gz - gz * h_tilde[j] * h_tilde[j]
                dh_i[j] = g - gz
        product(d_h, U_hT, drh)
        for i in rows:
            r, h_prev, drh_i = a[t, i, H : 2 * H], h[t, i], drh[i]
            dr, dh_i = d_zr[i, H:], dh[i]
            for j in range(H):
                g = drh_i[j] * r[j]
                dr[j] = (g - g * r[j]) * h_prev[j]
                dh_i[j] += g
        product(d_zr, U_zrT, s)
        for i in rows:
            da_zr, da_h = da[t, i, : 2 * H], da[t, i, 2 * H :]
            d_zr_i, d_h_i, dh_i, s_i = d_zr[i], d_h[i], dh[i], s[i]
            for j in range(2 * H):
                da_zr[j] = d_zr_i[j]
            for j in range(H):
                da_h[j] = d_h_i[j]
                dh_i[j] += s_i[j]


# GRU with the reset gate after the product: h~ = tanh(a_h + r (U_h h_{t-1} + b_U))


@compiled
def gru_after_forward(a, U, b_U, h, Uh):
    T, B, H = Uh.shape
    s, rows = np.empty((B, 3 * H), a.dtype), np.arange(B)
    for t in range(T):
        product(h[t], U, s)
        for i in rows:
            zr, s_zr, s_h = a[t, i, : 2 * H], s[i], s[i, 2 * H :]
            z, r, h_tilde = gates3(a[t, i])
            Uh_i, h_prev, h_new = Uh[t, i], h[t, i], h[t + 1, i]
            for j in range(2 * H):
                zr[j] = sigmoid(zr[j] + s_zr[j])
            for j in range(H):
                Uh_i[j] = s_h[j] + b_U[j]
                h_tilde[j] = tanh(h_tilde[j] + r[j] * Uh_i[j])
                h_new[j] = h_prev[j] + z[j] * (h_tilde[j] - h_prev[j])


@compiled
def gru_after_backward(grad, a, Uh, h, U, da, dh):
    T, B, H = grad.shape
    d, s, rows = np.empty((B, 3 * H), a.dtype), np.empty((B, H), a.dtype), np.arange(B)
    U_T = np.ascontiguousarray(U.T)
    for t in range(T - 1, -1, -1):
        for i in rows:
            (z, r, h_tilde), (dz, dr, dUh) = gates3(a[t, i]), gates3(d[i])
            Uh_i, h_prev, g_i, dh_i, da_h = Uh[t, i], h[t, i], grad[t, i], dh[i], da[t, i, 2 * H :]
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
            da_i, d_i, dh_i, s_i = da[t, i], d[i], dh[i], s[i]
            for j in range(2 * H):
                da_i[j] = d_i[j]
            for j in range(H):
                dh_i[j] += s_i[j]


# LSTM: i, f = sigmoid(. + V c_{t-1}), c_t = f c_{t-1} + i c~, o = sigmoid(. + V_o c_t), h_t = o tanh(c_t), or o c_t


@compiled
def lstm_forward(a, U, V, c, h, squash):
    T, B, G = a.shape
    H, s, rows = G // 4, np.empty((B, G), a.dtype), np.arange(B)
    V_o, V_i, V_f = gates3(V)
    for t in range(T):
        product(h[t], U, s)
        for i in rows:
            a_i, s_i, c_prev, c_new, h_new = a[t, i], s[i], c[t, i], c[t + 1, i], h[t + 1, i]
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
def lstm_backward(grad_h, grad_c, a, c, h, U, V, squash, da, dh, dc, dV):
    T, B, H = grad_h.shape
    rows = np.arange(B)
    U_T, (V_o, V_i, V_f), (dV_o, dV_i, dV_f) = np.ascontiguousarray(U.T), gates3(V), gates3(dV)
    for t in range(T - 1, -1, -1):
        for i in rows:
            (o, i_, f, c_tilde), (do, di, df, dc_tilde) = gates4(a[t, i]), gates4(da[t, i])
            c_prev, c_new, g_i, dh_i, dc_i = c[t, i], c[t + 1, i], grad_h[t, i], dh[i], dc[i]
            if grad_c is not None:
                gc_i = grad_c[t, i]
                for j in range(H):
                    dc_i[j] += gc_i[j]
            for j in range(H):
                g = (dh_i[j] + g_i[j]) * o[j]
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
        product(da[t], U_T, dh)

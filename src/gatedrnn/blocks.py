"""The negative log-likelihood of a model of music and its gradient, in one piece, compiled by Numba for a CPU.

What `gatedrnn.recurrence` does for all steps at once, one operation after the other, is done here for a block of steps
at a time: inputs, gates, states and predictions of a block stay in the processor's cache until nobody needs them. It
concerns one member: a (T, B, gH) becomes the gates, h (T + 1, B, H) the states with the start in front, d (T, B, K) the
derivative of the nats; aux is the GRU's r h (T, B, H), the LSTM's c (T + 1, B, H), or None. All are contiguous, in
float32 or float64. Of a piano roll only the notes are looked at: four of 88 rows of W a step, not a product with all.
"""

from typing import NamedTuple

import numpy as np

from . import fused
from .elementary import compiled, forget_older_code, softplus

forget_older_code()
ROWS = 128  # of a block, at least; and no fewer than 8 steps


class Weights(NamedTuple):
    """The parameters of a member, or their gradient: W (D, gH), U (H, gH), b (gH,), W_out (H, K), b_out (K,)."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    W_out: np.ndarray
    b_out: np.ndarray


class Roll(NamedTuple):
    """An input x (n, D), and what of it is not zero: values and places[starts[i] : starts[i + 1]] of row i."""

    x: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    values: np.ndarray


def room(T: int, B: int, H: int, G: int, K: int, dtype) -> tuple:
    """a, h, aux and d for a member, G = gH; the states begin with zeros."""
    a, h, d = (np.empty(shape, dtype) for shape in ((T, B, G), (T + 1, B, H), (T, B, K)))
    aux = None if G == H else np.empty((T + (G == 4 * H), B, H), dtype)
    for start in (h, aux):
        if start is not None:
            start[:1] = 0
    return a, h, aux, d


@compiled
def steps_of(B):
    """How many steps of B sequences make a block."""
    return max(8, ROWS // B)


@compiled
def flat(x):
    """All steps and sequences in one axis: (T, B, m) -> (T B, m)."""
    return x.reshape(-1, x.shape[-1])


@compiled
def notes(x):
    """The starts, places and values of a `Roll`."""
    starts, places, rows = np.zeros(len(x) + 1, np.int64), np.empty(x.size, np.int32), np.arange(len(x))
    n = 0
    for i in rows:
        x_i = x[i]
        for k in range(len(x_i)):
            places[n] = k
            n += x_i[k] != 0
        starts[i + 1] = n
    values = np.empty(n, x.dtype)
    for i in rows:
        for m in range(starts[i], starts[i + 1]):
            values[m] = x[i, places[m]]
    return starts, places, values


@compiled
def few(roll):
    """Whether so little of x is not zero that a product gains by looking."""
    return 6 * len(roll.values) < roll.x.size


@compiled
def project(roll, first, W, b, a):
    """a = x W + b for the rows of x from the first on: W (D, m), b (m,) -> a (n, m)."""
    sparse, rows = few(roll), np.arange(len(a))
    if not sparse:
        np.dot(roll.x[first : first + len(a)], W, a)
    for i in rows:
        a_i = a[i]
        for j in range(len(b)):
            a_i[j] = b[j] if sparse else a_i[j] + b[j]
        if sparse:
            for n in range(roll.starts[first + i], roll.starts[first + i + 1]):
                w, v = W[roll.places[n]], roll.values[n]
                for j in range(len(b)):
                    a_i[j] += v * w[j]


@compiled
def accumulate_roll(roll, first, da, dW):
    """dW += x^T da for the same rows: da (n, m) -> dW (D, m)."""
    if not few(roll):
        accumulate(roll.x[first : first + len(da)], da, dW)
        return
    rows = np.arange(len(da))
    for i in rows:
        da_i = da[i]
        for n in range(roll.starts[first + i], roll.starts[first + i + 1]):
            w, v = dW[roll.places[n]], roll.values[n]
            for j in range(len(w)):
                w[j] += v * da_i[j]


@compiled
def accumulate(x, da, dW):
    """dW += x^T da: (n, D), (n, m) -> (D, m)."""
    part, rows = np.dot(x.T, da), np.arange(len(dW))
    for k in rows:
        w, more = dW[k], part[k]
        for j in range(len(w)):
            w[j] += more[j]


@compiled
def accumulate_rows(da, db):
    """db += the sum of the rows of da: (n, m) -> (m,)."""
    rows = np.arange(len(da))
    for i in rows:
        da_i = da[i]
        for j in range(len(db)):
            db[j] += da_i[j]


@compiled
def weighted(d, weights, mask, out, total):
    """out = d (n, K), each row times its weight, zeros where the mask is False; total (K,) += the sum of the rows."""
    rows = np.arange(len(d))
    for i in rows:
        d_i, out_i, w = d[i], out[i], weights[i]
        if mask[i]:
            for k in range(len(d_i)):
                out_i[k] = w * d_i[k]
                total[k] += out_i[k]
        else:
            for k in range(len(d_i)):
                out_i[k] = 0


@compiled
def bernoulli(d, b_out, target, mask, nll):
    """d = W_out h (n, K) -> the nats of each row, nll (n,), 0 where the mask is False; d becomes their derivative."""
    nats, rows = np.empty_like(d), np.arange(len(d))
    for i in rows:
        d_i, x_i, nats_i = d[i], target[i], nats[i]
        for k in range(len(b_out)):
            v = d_i[k] + b_out[k]
            above, p = softplus(v)
            nats_i[k] = above - v * x_i[k]
            d_i[k] = p - x_i[k]
    np.dot(nats, np.ones_like(b_out), nll)
    for i in rows:
        if not mask[i]:
            nll[i] = 0


@compiled
def nll_forward(target, roll, mask, p, V, squash, a, h, aux, d, nll):
    """Fill a, h and aux from the second step on, d (T, B, K), and nll (T, B). V (3H,): the LSTM's, or None."""
    T, B = nll.shape
    for t in range(0, T, steps_of(B)):
        end = min(t + steps_of(B), T)
        a_block, h_block, d_block = a[t:end], h[t : end + 1], flat(d[t:end])
        project(roll, t * B, p.W, p.b, flat(a_block))
        if V is not None:
            fused.lstm_forward(a_block, p.U, V, aux[t : end + 1], h_block, squash)
        elif aux is not None:
            fused.gru_forward(a_block, p.U, h_block, aux[t:end])
        else:
            fused.tanh_forward(a_block, p.U, h_block)
        np.dot(flat(h_block[1:]), p.W_out, d_block)
        bernoulli(d_block, p.b_out, flat(target[t:end]), mask[t:end].reshape(-1), nll[t:end].reshape(-1))


@compiled
def nll_backward(weight, roll, mask, p, V, squash, a, h, aux, d, g, dV):
    """Add to g and dV the gradient of the nats, each step's times its weight (T, B)."""
    (T, B), H, W_outT = weight.shape, h.shape[2], np.ascontiguousarray(p.W_out.T)
    dh, dc = np.zeros_like(h[0]), np.zeros_like(h[0])
    for block in range((T - 1) // steps_of(B), -1, -1):
        t = block * steps_of(B)
        end = min(t + steps_of(B), T)
        a_block, h_block, d_block = a[t:end], h[t : end + 1], flat(d[t:end])
        dd, da, grad = np.empty_like(d_block), np.empty_like(a_block), np.empty_like(h_block[1:])
        weighted(d_block, weight[t:end].reshape(-1), mask[t:end].reshape(-1), dd, g.b_out)
        np.dot(dd, W_outT, flat(grad))
        accumulate(flat(h_block[1:]), dd, g.W_out)
        rows, h_prev = flat(da), flat(h_block[:-1])
        if V is not None:
            fused.lstm_backward(grad, None, a_block, aux[t : end + 1], h_block, p.U, V, squash, da, dh, dc, dV)
            accumulate(h_prev, rows, g.U)
        elif aux is not None:
            fused.gru_backward(grad, a_block, h_block, p.U, da, dh)
            accumulate(h_prev, np.ascontiguousarray(rows[:, : 2 * H]), g.U[:, : 2 * H])
            accumulate(flat(aux[t:end]), np.ascontiguousarray(rows[:, 2 * H :]), g.U[:, 2 * H :])
        else:
            fused.tanh_backward(grad, h_block, p.U, da, dh)
            accumulate(h_prev, rows, g.U)
        accumulate_roll(roll, t * B, rows, g.W)
        accumulate_rows(rows, g.b)

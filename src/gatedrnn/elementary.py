"""What the compiled loops are made of: how to compile, the nonlinearities, small products; in float32 and float64.

The nonlinearities of float32 are formulas without branches or tables, so that the compiler computes 8 or 16 of them at
once. No number stands in a formula as it is: `1 - z` would turn float32 into float64.

Of the "fast mathematics" only contraction is allowed, a multiplication and an addition at once. The rest of it would
make NaN disappear.
"""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .extras import Extra

with Extra("fast"):
    import numba
    from llvmlite.binding import get_host_cpu_features
    from numba.extending import overload

config: Any = numba.config
# Of AVX-512 the compiler by default uses half on some processors; the products use all of it, and so may the loops.
# Numba asks once a process, before its first function. What the user has set stays.
HOST = get_host_cpu_features()
if HOST.get("avx512f") and config.CPU_NAME is None and config.CPU_FEATURES is None:
    config.CPU_FEATURES = HOST.flatten() + ",-prefer-256-bit"

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}}  # a type of Numba's own
F, Int = np.float32, np.int32


def compiled(function):
    """Compile at the first call, and keep the machine code on disk where a place for it can be found."""
    try:
        return numba.njit(cache=True, nogil=True, **OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True, **OPTIONS)(function)


def forget_older_code() -> None:
    """Delete compiled code that is older than a source: Numba compares it with one file, not with those it uses."""
    if powers.stats.cache_path is None:
        return
    changed = max(Path(__file__).with_name(f"{name}.py").stat().st_mtime for name in ("elementary", "fused", "blocks"))
    for index in Path(powers.stats.cache_path).glob("*.nbi"):
        with suppress(OSError):  # another process may be deleting it, too, and some folders cannot be written
            if index.stat().st_mtime < changed:
                index.unlink()


@compiled
def powers(x):
    """2^n and e^f - 1, of which e^x is made: x = n log 2 + f with |f| < 0.35, and a Taylor polynomial for e^f - 1."""
    x = F(88) if x > F(88) else max(x, F(-87))  # where float32 ends; NaN passes
    shifted = x * F(1 / math.log(2)) + F(1.5 * 2**23)  # so large that its last bits are the integer n ...
    n = shifted - F(1.5 * 2**23)
    f = x - n * F(math.log(2))
    power = Int(Int(F(shifted).view(Int) << Int(23)) + Int(127 << 23)).view(F)  # ... which become the exponent: 2^n
    e = F(1 / 24) + f * (F(1 / 120) + f * (F(1 / 720) + f * F(1 / 5040)))
    return power, f + f * f * (F(1 / 2) + f * (F(1 / 6) + f * e))


def expm1(x):
    """e^x - 1, from which both nonlinearities follow without loss near 0."""
    return math.expm1(x)


@overload(expm1, jit_options=OPTIONS)
def _expm1(x):
    if x is not numba.float32:
        return lambda x: math.expm1(min(x, 700.0))  # where float64 ends; NaN passes the comparison

    def vectorised(x):
        power, e = powers(x)
        return power * e + (power - F(1))

    return vectorised


@compiled
def tanh(x):
    """(e^2x - 1) / (e^2x + 1)."""
    e = expm1(x + x)
    return e / (e + type(x)(2))


@compiled
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return type(x)(1) / (type(x)(2) + expm1(-x))


def softplus(x):
    """log(1 + e^x), and its derivative sigmoid(x), both without overflow."""
    u = math.exp(-abs(x))
    return max(x, 0.0) + math.log1p(u), (1.0 if x >= 0.0 else u) / (1.0 + u)


@overload(softplus, jit_options=OPTIONS)
def _softplus(x):
    if x is not numba.float32:
        return softplus  # as it is

    def vectorised(x):
        # with u = e^-|x| and s = u / (2 + u) < 0.34: log(1 + u) = 2 artanh s = 2 (s + s^3/3 + s^5/5 + ...)
        power, e = powers(-abs(x))
        u = power * e + power
        inverse = F(1) / ((F(1) + u) * (F(2) + u))  # one division for both
        s = u * (F(1) + u) * inverse
        q = s * s
        series = F(2 / 5) + q * (F(2 / 7) + q * (F(2 / 9) + q * (F(2 / 11) + q * F(2 / 13))))
        log1p = s * (F(2) + q * (F(2 / 3) + q * series))
        return max(x, F(0)) + log1p, (F(1) if x >= F(0) else u) * (F(2) + u) * inverse

    return vectorised


@compiled
def product(x, W, out):
    """out = x W: (B, m), (m, n) -> (B, n). One row by hand, four rows of W at a time: a library only pays for more."""
    if len(x) != 1:  # nothing checks indices here: an empty batch has no row to write
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
def gates3(row):
    """The three parts of a row (3H,), without a copy."""
    H = len(row) // 3
    return row[:H], row[H : 2 * H], row[2 * H :]


@compiled
def gates4(row):
    """The four parts of a row (4H,), without a copy."""
    H = len(row) // 4
    return row[:H], row[H : 2 * H], row[2 * H : 3 * H], row[3 * H :]

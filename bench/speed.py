"""How fast each way of computing the three units is, side by side: time steps a second, forward, backward and update.

    make bench                        (everything; about ten minutes on a quiet machine)
    python bench/speed.py --quick     (the GRU at the size for music)

All ways do the same work on the same data in the same run: a batch of random piano rolls or waveforms, the recurrence,
an output layer with its likelihood, the gradient, and one plain gradient step. A time step is one step of one sequence
of one member; a way that cannot run a population runs its members one after the other. Each figure is the median of
repeated runs; the spread is the distance from the first to the third quartile, relative to the median. One thread.

The rows
    ours        gatedrnn.recurrence, hand-written backward pass, population axis
    cells       gatedrnn.cells, step by step under autograd
    torch.nn    nn.RNN, nn.GRU, nn.LSTM (other forms of GRU and LSTM: reset after the product, no peepholes)
    jax         lax.scan, jitted, the members one after the other
    jax vmap    the same, jitted over all members at once
    products    nothing but the matrix products that the unit needs: the limit of any form that goes step by step
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from gatedrnn import records
from gatedrnn.cells import CELLS
from gatedrnn.model import GATES, SequenceModel, music_model, speech_model
from gatedrnn.training import prepare_process

RATE = 1e-4  # of the plain gradient step


def median_of(run: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Median time of a run and its relative spread, from as many runs as fit in about `seconds`, at least five."""
    run()  # compile, allocate
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(times, n=4)
    return middle, (high - low) / middle


def data(model: SequenceModel, P: int, B: int, T: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An input (P, T, B, D) and a target for every step."""
    generator = torch.Generator().manual_seed(0)
    if model.kind == "music":
        x = (torch.rand(P, T, B, model.input_size, generator=generator) < 0.05).float()
        return x, x.clone()
    return (torch.randn(P, T, B, n, generator=generator) for n in (model.input_size, model.output.size))


def ours(model, x, target):
    theta = model.init(range(len(x))).requires_grad_()

    def run():
        nll = model.output.nll(model.predict(theta, x), target).sum()
        (gradient,) = torch.autograd.grad(nll, theta)
        with torch.no_grad():
            theta.sub_(gradient, alpha=RATE)

    return run


def modules(model, x, target, make):
    """Members one after the other, each a module and an output layer, under autograd."""
    members = [(make(), nn.Linear(model.hidden_size, model.output.width)) for _ in x]
    parameters = [[*layer.parameters(), *out.parameters()] for layer, out in members]

    def run():
        for (layer, out), own, x_p, target_p in zip(members, parameters, x, target, strict=True):
            h = layer(x_p)
            h = h[0] if isinstance(h, tuple) else h
            gradients = torch.autograd.grad(model.output.nll(out(h), target_p).sum(), own)
            with torch.no_grad():
                for p, g in zip(own, gradients, strict=True):
                    p.sub_(g, alpha=RATE)

    return run


class Unrolled(nn.Module):
    """A readable cell over a sequence: x (T, B, D) -> h (T, B, H)."""

    def __init__(self, model):
        super().__init__()
        self.cell, self.unit = CELLS[model.unit](model.input_size, model.hidden_size), model.unit

    def forward(self, x):
        h = x.new_zeros(x.shape[1], self.cell.hidden_size)
        state, states = (h, h) if self.unit == "lstm" else h, []
        for x_t in x:
            state = self.cell(x_t, state)
            states.append(state[0] if self.unit == "lstm" else state)
        return torch.stack(states)


def cells(model, x, target):
    return modules(model, x, target, lambda: Unrolled(model))


def library(model, x, target):
    layer = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[model.unit]
    return modules(model, x, target, lambda: layer(model.input_size, model.hidden_size))


def products(model, x, target):
    """The products alone: input, recurrent (twice or once a step) and output, forward and both gradients of each."""
    (P, T, B, D), H, g, K = x.shape, model.hidden_size, GATES[model.unit], model.output.width
    flat, W, W_out = x.flatten(1, 2), torch.randn(P, D, g * H), torch.randn(P, H, K)
    # the paper's GRU needs two products a step, because its reset gate acts before the second
    U = [torch.randn(P, H, n * H) for n in ((2, 1) if model.unit == "gru" else (g,))]
    h, da, out = torch.randn(P, B, H), [torch.randn(P, B, u.shape[-1]) for u in U], torch.randn(P, T * B, K)
    states, gates = torch.randn(P, T * B, H), torch.randn(P, T * B, g * H)

    def run():
        torch.bmm(flat, W), torch.bmm(states, W_out)
        for _ in range(T):
            for u in U:
                torch.bmm(h, u)
        torch.bmm(out, W_out.mT), torch.bmm(states.mT, out)
        for _ in range(T):
            for d, u in zip(da, U, strict=True):
                torch.bmm(d, u.mT)
        torch.bmm(states.mT, gates), torch.bmm(flat.mT, gates)

    return run


def jax_forms(model, x, target):
    """The two JAX forms, or nothing where JAX is not installed."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return {}
    unit, H = model.unit, model.hidden_size
    x, target = jnp.asarray(x.numpy()), jnp.asarray(target.numpy())

    def step(p, state, a):
        U = p["U"]
        if unit == "tanh":
            h = jnp.tanh(a + state @ U)
            return h, h
        if unit == "gru":
            zr = jax.nn.sigmoid(a[:, : 2 * H] + state @ U[:, : 2 * H])
            z, r = zr[:, :H], zr[:, H:]
            h = (1 - z) * state + z * jnp.tanh(a[:, 2 * H :] + (r * state) @ U[:, 2 * H :])
            return h, h
        h, c = state
        a = a + h @ U
        V_o, V_i, V_f = jnp.split(p["V"], 3)
        i, f = jax.nn.sigmoid(a[:, H : 2 * H] + V_i * c), jax.nn.sigmoid(a[:, 2 * H : 3 * H] + V_f * c)
        c = f * c + i * jnp.tanh(a[:, 3 * H :])
        h = jax.nn.sigmoid(a[:, :H] + V_o * c) * jnp.tanh(c)
        return (h, c), h

    def nll(p, x, target):
        zeros = jnp.zeros((x.shape[1], H))
        a = x @ p["W"] + p["b"]
        _, h = jax.lax.scan(lambda s, a_t: step(p, s, a_t), (zeros, zeros) if unit == "lstm" else zeros, a)
        out = h @ p["W_out"] + p["b_out"]
        if model.kind == "music":
            return (jax.nn.softplus(out) - out * target).sum()
        K, n = model.output.components, model.output.size
        mean, sigma = (part.reshape(*out.shape[:-1], K, n) for part in jnp.split(out[..., K:], 2, axis=-1))
        sigma = jax.nn.softplus(sigma) + model.output.floor
        log_normal = -0.5 * ((target[..., None, :] - mean) / sigma) ** 2 - jnp.log(sigma) - 0.5 * jnp.log(2 * jnp.pi)
        log_weight = jax.nn.log_softmax(out[..., :K])
        return -jax.scipy.special.logsumexp(log_weight + log_normal.sum(-1), axis=-1).sum()

    def update(p, x, target):
        return jax.tree.map(lambda w, g: w - RATE * g, p, jax.grad(nll)(p, x, target))

    parts = {name: jnp.asarray(w.numpy()) for name, w in model.unflatten(model.init(range(len(x)))).items()}
    one, together = jax.jit(update), jax.jit(jax.vmap(update))
    members = [{name: w[k] for name, w in parts.items()} for k in range(len(x))]
    state = {"members": members, "parts": parts}

    def after_each_other():
        state["members"] = [one(p, x[k], target[k]) for k, p in enumerate(state["members"])]
        jax.block_until_ready(state["members"])

    def at_once():
        state["parts"] = jax.block_until_ready(together(state["parts"], x, target))

    return {"jax": after_each_other, "jax vmap": at_once}


def measure(model: SequenceModel, P: int, B: int, T: int, seconds: float) -> dict[str, dict]:
    x, target = data(model, P, B, T)
    ways = {"ours": ours, "cells": cells, "torch.nn": library, "products": products}
    runs = {name: way(model, x, target) for name, way in ways.items()} | jax_forms(model, x, target)
    found = {}
    for name, run in runs.items():
        middle, spread = median_of(run, seconds)
        found[name] = {"steps_per_second": round(P * B * T / middle), "spread": round(spread, 3)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the GRU at the size for music, sequences of 128 steps")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each figure (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("book/results/speed.json"), help="where the figures go")
    options = parser.parse_args()
    prepare_process()
    rows = []
    print(f"{'':34}" + "".join(f"{name:>12}" for name in ("ours", "cells", "torch.nn", "products", "jax", "jax vmap")))
    for make in (music_model,) if options.quick else (music_model, speech_model):
        for unit in ("gru",) if options.quick else ("tanh", "gru", "lstm"):
            model = make(unit)
            for T in (128,) if options.quick else (128, 1000):
                for P in (1, 10):
                    for B in (1, 8, 32):
                        found = measure(model, P, B, T, options.seconds)
                        rows.append({"kind": model.kind, "unit": unit, "T": T, "P": P, "B": B, "ways": found})
                        label = f"{model.kind} {unit} T={T} P={P} B={B}"
                        print(
                            f"{label:34}"
                            + "".join(f"{way['steps_per_second'] / 1e3:11.1f}k" for way in found.values()),
                            flush=True,
                        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"environment": records.environment("cpu"), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The ways to compute the three units that `bench/speed.py` compares: the same update on the same data.

Each function here takes a model, an input x (P, T, B, D) and a target (P, T, B, K), and returns a function without
arguments that does one update: the recurrence, an output layer with its likelihood, the gradient, and a plain gradient
step. P = members, T = steps, B = sequences, D and K = sizes of input and target.

    ours        the model's own likelihood, as training calls it, with the compiled engine: for music gatedrnn.blocks,
                for speech gatedrnn.recurrence
    torch loops the same with the other engine, gatedrnn.recurrence with the loops over time in PyTorch
    torch.nn    nn.RNN, nn.GRU, nn.LSTM, one member after the other. They are other forms of two of the units (the GRU's
                reset gate acts after its product, the LSTM has no peepholes), at about the same cost
    jax         lax.scan, jitted, one member after the other
    jax vmap    the same, all members at once
    products    nothing but the matrix products that the update needs: the limit of any form that goes step by step,
                leaves the products to PyTorch, and multiplies with every entry of the input. Ours, for music, looks at
                the notes only, and so leaves out most of the products with x
"""

from collections.abc import Callable
from functools import cache

import torch
from timing import Run
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gatedrnn.batching import Batch
from gatedrnn.model import SequenceModel
from gatedrnn.recurrence import use_engine
from gatedrnn.units import UNITS

RATE = 1e-4  # of the plain gradient step


def random_data(model: SequenceModel, P: int, T: int, B: int) -> tuple[Tensor, Tensor]:
    """An input (P, T, B, D) and a target for every step: sparse binary rolls, or Gaussian noise."""
    generator = torch.Generator().manual_seed(0)
    if model.kind == "music":
        x = (torch.rand(P, T, B, model.input_size, generator=generator) < 0.05).float()
        return x, x.clone()
    x, target = (torch.randn(P, T, B, n, generator=generator) for n in (model.input_size, model.output.size))
    return x, target


def ours(model: SequenceModel, x: Tensor, target: Tensor, engine: str = "compiled") -> Run:
    theta = model.init(range(len(x))).requires_grad_()
    batch = Batch(x, target, torch.ones(x.shape[:3], dtype=torch.bool))

    def run():
        with use_engine(engine):
            (gradient,) = torch.autograd.grad(model.nll(theta, batch).sum(), theta)
        with torch.no_grad():
            theta.sub_(gradient, alpha=RATE)

    return run


def torch_loops(model: SequenceModel, x: Tensor, target: Tensor) -> Run:
    return ours(model, x, target, "torch")


def our_parts(model: SequenceModel, x: Tensor, target: Tensor) -> dict[str, Run]:
    """Pieces of `ours`: the likelihood, the likelihood and its gradient, and the whole update."""
    theta = model.init(range(len(x))).requires_grad_()
    batch = Batch(x, target, torch.ones(x.shape[:3], dtype=torch.bool))

    def forward():
        with torch.no_grad(), use_engine("compiled"):
            model.nll(theta, batch)

    def both():
        with use_engine("compiled"):
            torch.autograd.grad(model.nll(theta, batch).sum(), theta)

    return {"forward": forward, "forward and backward": both, "update": ours(model, x, target)}


def library(model: SequenceModel, x: Tensor, target: Tensor) -> Run:
    """Members one after the other, each a layer of the library and an output layer, under autograd."""
    layer = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[model.unit]
    sizes = (model.input_size, model.hidden_size, model.output.width)
    members = [(layer(*sizes[:2]), nn.Linear(*sizes[1:])) for _ in x]
    parameters = [[*recurrent.parameters(), *out.parameters()] for recurrent, out in members]

    def run():
        for (recurrent, out), own, x_p, target_p in zip(members, parameters, x, target, strict=True):
            gradients = torch.autograd.grad(model.output.nll(out(recurrent(x_p)[0]), target_p).sum(), own)
            with torch.no_grad():
                for p, g in zip(own, gradients, strict=True):
                    p.sub_(g, alpha=RATE)

    return run


def product_parts(model: SequenceModel, x: Tensor, target: Tensor) -> dict[str, Run]:
    """The products of one update, each once: those in the loop over time, and those over all steps at once.

    In the loop: h U and, backward, da U^T; twice a step for the paper's GRU, whose reset gate acts before the second.
    At once: x W and h W_out; backward, d W_out^T and the gradients of W_out, U and W. The gradient of x is not needed.
    The factors lie contiguous in memory and, within the loop, stay in the cache: no form of them is faster here.
    """
    (P, T, B, D), H, g, K = x.shape, model.hidden_size, len(UNITS[model.unit].gates), model.output.width
    widths = (2 * H, H) if model.unit == "gru" else (g * H,)
    W, W_out, flat = torch.randn(P, D, g * H), torch.randn(P, H, K), x.flatten(1, 2)
    h, states = torch.randn(P, B, H), torch.randn(P, T * B, H)
    gates, out = torch.randn(P, T * B, g * H), torch.randn(P, T * B, K)
    U = [torch.randn(P, H, n) for n in widths]
    forward = [(h, u, torch.empty(P, B, u.shape[-1])) for u in U]
    backward = [(torch.randn(P, B, n), torch.randn(P, n, H), torch.empty(P, B, H)) for n in widths]

    def in_the_loop():
        for factors in (forward, backward):
            for _ in range(T):
                for left, right, result in factors:
                    torch.bmm(left, right, out=result)

    def at_once():
        torch.bmm(flat, W)
        torch.bmm(states, W_out)
        torch.bmm(out, W_out.mT)
        torch.bmm(states.mT, out)
        for part in gates.split(widths, dim=-1):
            torch.bmm(states.mT, part)
        torch.bmm(flat.mT, gates)

    return {"in the loop": in_the_loop, "at once": at_once}


def products(model: SequenceModel, x: Tensor, target: Tensor) -> Run:
    parts = product_parts(model, x, target).values()
    return lambda: [run() for run in parts]


@cache
def jax_updates(model: SequenceModel) -> tuple[Callable, Callable]:
    """(parameters, x (T, B, D), target) -> parameters after one update, jitted: of one member, and of all at once."""
    import jax
    import jax.numpy as jnp

    unit, H = model.unit, model.hidden_size

    def step(p, state, a):
        U = p["U"]
        if unit == "tanh":
            h = jnp.tanh(a + state @ U)
            return h, h
        if unit == "gru":
            U_zr, U_h = U
            zr = jax.nn.sigmoid(a[:, : 2 * H] + state @ U_zr)
            z, r = zr[:, :H], zr[:, H:]
            h = (1 - z) * state + z * jnp.tanh(a[:, 2 * H :] + (r * state) @ U_h)
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
        if unit == "gru":  # taken apart here, because inside the scan every step would copy the parts
            p = p | {"U": (p["U"][:, : 2 * H], p["U"][:, 2 * H :])}
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

    return jax.jit(update), jax.jit(jax.vmap(update))


def jax_parameters(model: SequenceModel, P: int) -> dict:
    """The parameters that `ours` starts from, by name, as JAX arrays with the leading axis P."""
    import jax.numpy as jnp

    return {name: jnp.asarray(w.numpy()) for name, w in model.unflatten(model.init(range(P))).items()}


def jax_one(model: SequenceModel, x: Tensor, target: Tensor) -> Run:
    import jax
    import jax.numpy as jnp

    update, parts = jax_updates(model)[0], jax_parameters(model, len(x))
    members = [{name: w[k] for name, w in parts.items()} for k in range(len(x))]
    batches = [tuple(jnp.asarray(part[k].numpy()) for part in (x, target)) for k in range(len(x))]

    def run():
        members[:] = [update(p, *batch) for p, batch in zip(members, batches, strict=True)]
        jax.block_until_ready(members)

    return run


def jax_vmap(model: SequenceModel, x: Tensor, target: Tensor) -> Run:
    import jax
    import jax.numpy as jnp

    update, state = jax_updates(model)[1], {"parts": jax_parameters(model, len(x))}
    x, target = jnp.asarray(x.numpy()), jnp.asarray(target.numpy())

    def run():
        state["parts"] = jax.block_until_ready(update(state["parts"], x, target))

    return run


class Counter(TorchDispatchMode):
    """Counts the operations that PyTorch carries out inside its block."""

    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.operations += 1
        return operation(*args, **(kwargs or {}))


def operations_a_step(way: Callable, model: SequenceModel) -> int:
    """Operations that a way hands to PyTorch for one more step of the sequence, forward and backward together."""
    counted = []
    for T in (4, 5):
        run = way(model, *random_data(model, 1, T, 2))
        with Counter() as counter:
            run()
        counted.append(counter.operations)
    return counted[1] - counted[0]


TOGETHER = {"ours": ours, "torch loops": torch_loops, "products": products, "jax vmap": jax_vmap}  # members at once
IN_TURN = {"torch.nn": library, "jax": jax_one}  # one member after the other

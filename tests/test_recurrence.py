"""The contract of the hand-written passes: gradcheck, equality with the cells under autograd, equality with PyTorch.

Both engines are held to it.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from gatedrnn.cells import CELLS
from gatedrnn.recurrence import gru_recurrence, lstm_recurrence, tanh_recurrence, use_engine

RECURRENCES = {"tanh": tanh_recurrence, "gru": gru_recurrence, "lstm": lstm_recurrence}
FORMS = [
    ("tanh", {}),
    ("tanh", {"bias": False}),
    ("gru", {}),
    ("gru", {"bias": False}),
    ("gru", {"reset": "after"}),
    ("lstm", {}),
    ("lstm", {"peepholes": False}),
    ("lstm", {"bias": False}),
]
SHAPES = [(1, 1, 1, 1, 1), (1, 7, 1, 3, 2), (4, 1, 3, 2, 5), (3, 6, 1, 1, 4), (2, 11, 4, 5, 3), (5, 4, 2, 6, 1)]
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(autouse=True, params=["torch", "compiled"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test of this module runs with each engine."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    with use_engine(request.param):
        yield request.param


def random(*shape, seed, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def population(unit, options, P, D, H):
    """P cells with random weights, and the same weights stacked as the recurrence takes them."""
    cells = [CELLS[unit](D, H, dtype=torch.float64, **options) for _ in range(P)]
    for seed, p in enumerate(p for cell in cells for p in cell.parameters()):
        p.data = random(*p.shape, seed=seed, scale=0.7)
    parts = [cell.stacked() for cell in cells]
    return cells, {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def unroll(cell, x, state):
    """The specification: the cell, step by step. x (T, B, D) -> states, each (T, B, H)."""
    out = []
    for x_t in x:
        state = cell(x_t, state)
        out.append(state)
    return [torch.stack(s) for s in zip(*out, strict=True)]


@pytest.mark.parametrize("unit, options", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_to_the_cells_and_their_autograd(unit, options, shape):
    P, T, B, D, H = shape
    cells, weights = population(unit, options, P, D, H)
    x = random(P, T, B, D, seed=100).requires_grad_()
    start = [random(P, B, H, seed=101 + k, scale=0.5).requires_grad_() for k in range(2 if unit == "lstm" else 1)]
    ours = RECURRENCES[unit](x, **weights, **dict(zip(("h0", "c0"), start, strict=False)))
    ours = ours if isinstance(ours, tuple) else (ours,)
    members = [unroll(cells[p], x[p], tuple(s[p] for s in start)) for p in range(P)]
    theirs = [torch.stack(s) for s in zip(*members, strict=True)]
    # ragged lengths: a loss that ends at another step for each sequence
    lengths = torch.arange(B) % T + 1
    mask = (torch.arange(T)[:, None] < lengths)[..., None]
    probes = [random(*s.shape, seed=200 + k) * mask for k, s in enumerate(ours)]
    leaves = [p for cell in cells for p in cell.parameters()] + [x, *start]
    gradients = [
        torch.autograd.grad(sum((s * w).sum() for s, w in zip(states, probes, strict=True)), leaves, retain_graph=True)
        for states in (ours, theirs)
    ]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


@pytest.mark.parametrize("unit, options", FORMS)
def test_gradcheck(unit, options):
    _, weights = population(unit, options, P=2, D=3, H=2)
    names = list(weights)
    weights = [w.detach().requires_grad_() for w in weights.values()]
    x = random(2, 4, 3, 3, seed=5).requires_grad_()
    h0 = random(2, 3, 2, seed=6).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, h0, *ws: RECURRENCES[unit](x, **dict(zip(names, ws, strict=True)), h0=h0), (x, h0, *weights)
    )


@pytest.mark.parametrize("unit, options", FORMS)
@pytest.mark.parametrize("T, B", [(4, 0), (0, 3), (0, 0)])
def test_without_sequences_or_steps_nothing_comes_out_and_every_gradient_is_zero(unit, options, T, B):
    _, weights = population(unit, options, P=2, D=3, H=5)
    weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    states = RECURRENCES[unit](random(2, T, B, 3, seed=7), **weights)
    for h in states if unit == "lstm" else (states,):
        assert h.shape == (2, T, B, 5)
        for gradient in torch.autograd.grad(h.sum(), list(weights.values()), retain_graph=True):
            assert (gradient == 0).all()


@pytest.mark.parametrize("unit, options", FORMS)
def test_an_input_shared_by_the_population(unit, options):
    _, weights = population(unit, options, P=3, D=3, H=2)
    x = random(1, 5, 2, 3, seed=8).requires_grad_()
    copies = x.detach().expand(3, -1, -1, -1).clone().requires_grad_()
    results = []
    for inputs in (x, copies):
        out = RECURRENCES[unit](inputs, **weights)
        out = out[0] if unit == "lstm" else out
        results.append((out, torch.autograd.grad(out.square().sum(), inputs, retain_graph=True)[0]))
    torch.testing.assert_close(results[0][0], results[1][0], **TIGHT)
    torch.testing.assert_close(results[0][1], results[1][1].sum(0, keepdim=True), **TIGHT)


def torch_layer(unit, weights, D, H):
    """The library's layer with our weights in it, and a function that brings its gradients into our layout."""
    layer = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[unit](D, H, dtype=torch.float64)
    # our gate order -> the library's, and the sign that maps z to 1 - z (PyTorch's z multiplies the old state)
    order = {"tanh": [(0, 1)], "gru": [(1, 1), (0, -1), (2, 1)], "lstm": [(1, 1), (2, 1), (3, 1), (0, 1)]}[unit]

    def to_library(w):
        return torch.cat([sign * w[..., k * H : (k + 1) * H] for k, sign in order], dim=-1)

    with torch.no_grad():
        layer.weight_ih_l0.copy_(to_library(weights["W"][0]).T)
        layer.weight_hh_l0.copy_(to_library(weights["U"][0]).T)
        layer.bias_ih_l0.copy_(to_library(weights["b"][0]))
        layer.bias_hh_l0.zero_()
        if unit == "gru":
            layer.bias_hh_l0[2 * H :] = weights["b_U"][0]
    return layer, to_library


@pytest.mark.parametrize(
    "unit, options", [("tanh", {}), ("lstm", {"peepholes": False}), ("gru", {"reset": "after"})], ids=str
)
def test_equal_to_torch_forward_and_gradient(unit, options):
    T, B, D, H = 9, 4, 5, 3
    _, weights = population(unit, options, 1, D, H)
    weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    layer, to_library = torch_layer(unit, weights, D, H)
    x = random(1, T, B, D, seed=11).requires_grad_()
    x_lib = x.detach()[0].requires_grad_()
    ours = RECURRENCES[unit](x, **weights)
    ours = ours[0] if unit == "lstm" else ours
    theirs = layer(x_lib)[0]
    torch.testing.assert_close(ours[0], theirs, **TIGHT)
    probe = random(T, B, H, seed=12)
    (ours[0] * probe).sum().backward()
    (theirs * probe).sum().backward()
    torch.testing.assert_close(x.grad[0], x_lib.grad, **TIGHT)
    torch.testing.assert_close(to_library(weights["W"].grad[0]).T, layer.weight_ih_l0.grad, **TIGHT)
    torch.testing.assert_close(to_library(weights["U"].grad[0]).T, layer.weight_hh_l0.grad, **TIGHT)
    torch.testing.assert_close(to_library(weights["b"].grad[0]), layer.bias_ih_l0.grad, **TIGHT)
    if unit == "gru":
        torch.testing.assert_close(weights["b_U"].grad[0], layer.bias_hh_l0.grad[2 * H :], **TIGHT)


ARRIVALS = {
    "permuted": lambda h, probe: (h.permute(3, 1, 0, 2) * probe.permute(3, 1, 0, 2)).sum(),
    "expanded": lambda h, probe: h.sum() + 0 * probe.sum(),
    "non-contiguous": lambda h, probe: (h[..., ::2] * probe[..., ::2]).sum() + (h[:, ::2] * probe[:, ::2]).sum(),
    "of the last step only": lambda h, probe: (h[:, -1] * probe[:, -1]).sum(),
}


@pytest.mark.parametrize("unit, options", FORMS)
@pytest.mark.parametrize("arrival", ARRIVALS)
def test_a_gradient_counts_the_same_however_it_lies_in_memory(unit, options, arrival):
    cells, weights = population(unit, options, P=2, D=3, H=4)
    x = random(2, 5, 3, 3, seed=20)
    probe = random(2, 5, 3, 4, seed=21)
    out = RECURRENCES[unit](x, **weights)
    h = out[0] if unit == "lstm" else out
    reference = torch.stack([cells[p].run(x[p])["h"] for p in range(2)])
    leaves = [p for cell in cells for p in cell.parameters()]
    ours, theirs = (torch.autograd.grad(ARRIVALS[arrival](states, probe), leaves) for states in (h, reference))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)], ids=["h", "c", "both"])
def test_a_gradient_that_is_missing_counts_as_zero(used):
    _, weights = population("lstm", {}, P=2, D=3, H=2)
    weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    x = random(2, 4, 3, 3, seed=22)

    def gradients(factors):
        states = lstm_recurrence(x, **weights)
        return torch.autograd.grad(sum(f * states[k].square().sum() for k, f in factors), list(weights.values()))

    present = gradients([(k, 1.0) for k in used])
    explicit = gradients([(k, float(k in used)) for k in (0, 1)])
    for a, b in zip(present, explicit, strict=True):
        torch.testing.assert_close(a, b, **TIGHT)


@pytest.mark.parametrize("unit, options", FORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_is_not_a_number_reaches_the_caller(unit, options, bad, dtype):
    """Training knows a diverged member by it, and the others go on."""
    _, weights = population(unit, options, P=2, D=3, H=4)
    weights = {name: w.detach().to(dtype) for name, w in weights.items()}
    x = random(2, 3, 2, 3, seed=23).to(dtype)
    weights["W"][1, 0, -1], x[1, 0, 0, 0] = bad, 0.0  # infinity times 0, too, is not a number
    W = weights.pop("W").requires_grad_()
    out = RECURRENCES[unit](x, W, **weights)
    h = out[0] if unit == "lstm" else out
    (gradient,) = torch.autograd.grad(h.sum(), W)
    assert h[0].isfinite().all() and gradient[0].isfinite().all()
    assert not h[1].isfinite().all() and not gradient[1].isfinite().all()


@pytest.mark.parametrize("unit, options", FORMS)
def test_a_shape_that_is_off_is_named(unit, options):
    _, weights = population(unit, options, P=2, D=3, H=4)
    x, recurrence = torch.zeros(2, 5, 3, 3, dtype=torch.float64), RECURRENCES[unit]
    for name in ("x", *weights, "h0"):
        arrays = {"x": x, "h0": x.new_zeros(2, 3, 4)} | weights
        for bad in (arrays[name][..., :-1], arrays[name][0], x.new_zeros(3, *arrays[name].shape[1:])):
            with pytest.raises(ValueError, match=r"^\w+ must have shape .* not \("):
                recurrence(**arrays | {name: bad})

"""The layers against the readable cells and against PyTorch's: values, gradients, shapes, and what is refused."""

import pytest
import torch
from torch import nn

from gatedrnn.layers import GRU, LSTM, TanhRNN

LAYERS = [TanhRNN, GRU, LSTM]
FORMS = [(TanhRNN, {}), (GRU, {}), (GRU, {"reset": "after"}), (LSTM, {}), (LSTM, {"peepholes": False})]
FORMS += [(layer, options | {"bias": False}) for layer, options in FORMS]
T, B, D, H = 7, 3, 4, 5


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def filled(layer):
    """The layer with every parameter away from its starting value."""
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = random(*parameter.shape, seed=seed + 10)
    return layer


def start_of(layer, *batch):
    h0, c0 = random(1, *batch, H, seed=1), random(1, *batch, H, seed=2)
    return (h0, c0) if isinstance(layer, (LSTM, nn.LSTM)) else h0


def flat(out):
    h, last = out
    return [h, *(last if isinstance(last, tuple) else [last])]


@pytest.mark.parametrize("kind, options", FORMS)
def test_a_layer_is_its_cell_step_by_step(kind, options):
    layer, x = filled(kind(D, H, dtype=torch.float64, **options)), random(T, B, D)
    h, *last = flat(layer(x, start_of(layer, B)))
    state = start_of(layer, B)
    run = layer.cell().run(x, tuple(part[0] for part in (state if isinstance(state, tuple) else (state,))))
    torch.testing.assert_close(h, run["h"])
    for name, part in zip(("h", "c"), last, strict=False):
        torch.testing.assert_close(part[0], run[name][-1])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_from_torch_gives_pytorchs_values_and_gradients(kind, bias, given):
    theirs = filled(kind.library(D, H, bias=bias, dtype=torch.float64))
    ours, x = kind.from_torch(theirs), random(T, B, D)
    assert ours.bias == bias
    results = []
    for layer in (theirs, ours):
        mine = x.clone().requires_grad_()
        start = start_of(layer, B) if given else None
        out = flat(layer(mine, start))
        sum((part * random(*part.shape, seed=50 + k)).sum() for k, part in enumerate(out)).backward()
        results.append((out, mine.grad))
    for a, b in zip(results[0][0], results[1][0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-10, atol=1e-10)
    # PyTorch's gradients, laid into a layer of PyTorch's and carried over like parameters, are ours
    gradients = kind.library(D, H, bias=bias, dtype=torch.float64)
    for name, parameter in theirs.named_parameters():
        getattr(gradients, name).data.copy_(parameter.grad)
    if bias:  # each of the two biases has the whole gradient: count it once, but for the one inside the product
        gradients.bias_hh_l0.data[: 2 * H if kind is GRU else None] = 0
    expected = dict(kind.from_torch(gradients).named_parameters())
    for name, parameter in ours.named_parameters():
        if bias or name != "b_U":
            torch.testing.assert_close(parameter.grad, expected[name].detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bias", [True, False])
def test_to_torch_and_back_changes_nothing(kind, bias):
    ours = filled(kind(D, H, bias=bias, batch_first=True, dtype=torch.float64, **kind.common))
    theirs, x = ours.to_torch(), random(B, T, D)
    for a, b in zip(flat(ours(x, start_of(ours, B))), flat(theirs(x, start_of(theirs, B))), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    back = kind.from_torch(theirs)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(dict(back.named_parameters())[name], parameter)


@pytest.mark.parametrize("kind, options", FORMS)
def test_shapes_are_those_of_pytorch(kind, options):
    layer = filled(kind(D, H, dtype=torch.float64, **options))
    theirs = kind.library(D, H, dtype=torch.float64)
    turned = kind(D, H, dtype=torch.float64, batch_first=True, **options)
    turned.load_state_dict(layer.state_dict())
    x = random(T, B, D)
    whole = flat(layer(x, start_of(layer, B)))
    assert [part.shape for part in whole] == [part.shape for part in flat(theirs(x, start_of(theirs, B)))]
    h, *last = flat(turned(x.transpose(0, 1), start_of(layer, B)))
    torch.testing.assert_close([h.transpose(0, 1), *last], whole)
    alone = flat(layer(x[:, 0], start_of(layer)))
    assert [part.shape for part in alone] == [part.shape for part in flat(theirs(x[:, 0], start_of(theirs)))]
    torch.testing.assert_close(alone[0], layer(x[:, :1], _with_batch(start_of(layer)))[0][:, 0])


def _with_batch(start):
    return tuple(part[:, None] for part in start) if isinstance(start, tuple) else start[:, None]


def test_a_layer_trains_inside_a_module():
    model = nn.Sequential(LSTM(D, H))
    model.append(nn.Linear(H, 1))
    before = {name: p.clone() for name, p in model.named_parameters()}
    h, _ = model[0](random(T, B, D).float())
    model[1](h).square().mean().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == set(before)


@pytest.mark.parametrize(
    "theirs",
    [nn.LSTM(D, H, num_layers=2), nn.LSTM(D, H, bidirectional=True), nn.LSTM(D, H, proj_size=2)],
    ids=["layers", "directions", "projection"],
)
def test_what_pytorch_has_and_we_lack_is_refused(theirs):
    with pytest.raises(ValueError, match="only one layer in one direction"):
        LSTM.from_torch(theirs)


def test_other_layers_and_units_are_refused():
    with pytest.raises(ValueError, match="only one layer in one direction, without projection or ReLU"):
        TanhRNN.from_torch(nn.RNN(D, H, nonlinearity="relu"))
    with pytest.raises(ValueError, match="GRU takes over a torch.nn.GRU, not LSTM"):
        GRU.from_torch(nn.LSTM(D, H))
    with pytest.raises(ValueError, match="it needs reset='after'"):
        GRU(D, H).to_torch()
    with pytest.raises(ValueError, match="it needs peepholes=False"):
        LSTM(D, H).to_torch()


@pytest.mark.parametrize("kind", LAYERS)
def test_wrong_shapes_say_what_was_expected(kind):
    layer = kind(D, H)
    with pytest.raises(ValueError, match=r"x must have shape \(T, B, 4\), not \(7, 3, 9\)"):
        layer(torch.zeros(T, B, 9))
    with pytest.raises(ValueError, match=r"h0 must have shape \(1, 3, 5\), not \(3, 5\)"):
        layer(torch.zeros(T, B, D), _without_first(start_of(layer, B)))
    pair = (torch.zeros(1, B, H), torch.zeros(1, B, H))
    with pytest.raises(ValueError, match="the state of"):
        layer(torch.zeros(T, B, D), pair[0] if kind is LSTM else pair)


@pytest.mark.parametrize("kind", LAYERS)
def test_what_no_layer_can_read_is_refused_in_one_sentence(kind):
    layer = kind(D, H)
    with pytest.raises(ValueError, match="at least one step"):
        layer(torch.zeros(0, B, D))
    with pytest.raises(ValueError, match="not a PackedSequence: pad the sequences"):
        layer(nn.utils.rnn.pack_sequence([torch.zeros(T, D)]))
    with pytest.raises(ValueError, match="^all must have one dtype, not x float32, W float32.* h0 float64"):
        layer(torch.zeros(T, B, D), start_of(layer, B))


@pytest.mark.parametrize("kind, options", FORMS)
def test_half_precision_runs_where_nothing_is_compiled_for_it(kind, options):
    layer = filled(kind(D, H, dtype=torch.float64, **options))
    exact = layer(random(T, B, D))[0]
    layer = layer.to(torch.bfloat16)
    h = layer(random(T, B, D).bfloat16())[0]
    h.sum().backward()
    assert h.dtype == layer.W.grad.dtype == torch.bfloat16
    torch.testing.assert_close(h.double(), exact, rtol=0.1, atol=0.1)


def _without_first(start):
    return tuple(part[0] for part in start) if isinstance(start, tuple) else start[0]

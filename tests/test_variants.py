"""Every variant against a few lines of PyTorch that know nothing of the recurrence; what is held stays where it is."""

import dataclasses

import pytest
import torch
from torch import Tensor

from gatedrnn.model import SequenceModel, music_model
from gatedrnn.outputs import BernoulliOutput
from gatedrnn.protocol import Protocol
from gatedrnn.recurrence import gru_recurrence
from gatedrnn.training import train
from gatedrnn.variants import (
    VARIANTS,
    apply_variant,
    blind,
    constrained,
    constraint,
    minimal_scan,
    num_held,
    same_parameters,
    variant_of,
    without_held,
)

NAMES = [(unit, name) for unit in ("gru", "lstm") for name in VARIANTS[unit]]
D, H, K, T, B = 4, 3, 5, 7, 2


def small(unit: str, name: str) -> SequenceModel:
    return apply_variant(SequenceModel(unit, D, H, BernoulliOutput(K)), name)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gru(name: str, w: dict[str, dict[str, Tensor]], x: Tensor) -> Tensor:
    """The GRU without a part, step by step: w[letter][gate], x (T, B, D) -> h (T, B, H)."""

    def a(gate: str, x_t: Tensor, h: Tensor) -> Tensor:
        blind = gate in {"input_gates": ("z", "r"), "minimal": ("z", "h_tilde")}.get(name, ())
        return x_t @ w["W"][gate] + w["b"][gate] + (0 if blind else h @ w["U"][gate])

    h, states = torch.zeros(B, H, dtype=torch.float64), []
    for x_t in x:
        z = torch.sigmoid(a("z", x_t, h))
        r = 1.0 if name in ("no_reset", "no_reset_constant_update", "minimal") else torch.sigmoid(a("r", x_t, h))
        if name in ("constant_update", "no_reset_constant_update"):
            z = torch.sigmoid(w["b"]["z"])
        if name == "no_update":
            z = torch.ones(H, dtype=torch.float64)
        if name == "reset_after":
            inside = h @ w["U"]["h_tilde"] + w["b_U"][""]
            h_tilde = torch.tanh(x_t @ w["W"]["h_tilde"] + w["b"]["h_tilde"] + r * inside)
        else:
            h_tilde = torch.tanh(a("h_tilde", x_t, r * h))
        keep = torch.sigmoid(a("f", x_t, h)) if name == "independent" else 1 - z
        h = keep * h + z * h_tilde
        states.append(h)
    return torch.stack(states)


def lstm(name: str, w: dict[str, dict[str, Tensor]], x: Tensor) -> Tensor:
    """The LSTM without a part, step by step."""

    def gate(which: str, x_t: Tensor, h: Tensor, c: Tensor) -> Tensor:
        seen = 0 if name == "no_peepholes" else w["V"][which] * c
        return torch.sigmoid(x_t @ w["W"][which] + h @ w["U"][which] + w["b"][which] + seen)

    h = c = torch.zeros(B, H, dtype=torch.float64)
    states = []
    for x_t in x:
        f = 1.0 if name == "no_forget_gate" else gate("f", x_t, h, c)
        i = 1.0 if name == "no_input_gate" else gate("i", x_t, h, c)
        if name in ("coupled", "forget_only"):
            i = 1 - f
        c_tilde = torch.tanh(x_t @ w["W"]["c_tilde"] + h @ w["U"]["c_tilde"] + w["b"]["c_tilde"])
        c = f * c + i * c_tilde
        o = 1.0 if name in ("no_output_gate", "forget_only") else gate("o", x_t, h, c)
        h = o * (c if name in ("no_tanh", "forget_only") else torch.tanh(c))
        states.append(h)
    return torch.stack(states)


def blocks(model: SequenceModel, theta: Tensor) -> dict[str, dict[str, Tensor]]:
    """The numbers of one member by letter and gate: V has none of the candidate's, b_U is one block."""
    gates = {"V": ("o", "i", "f"), "b_U": ("",)}
    parts = {name: part[0] for name, part in model.parts(theta).items() if not name.endswith("_out")}
    return {
        letter: dict(zip(gates.get(letter, model.gates), part.split(H, dim=-1), strict=True))
        for letter, part in parts.items()
    }


@pytest.mark.parametrize("unit, name", NAMES)
def test_equal_to_the_unit_written_out_without_the_part(unit: str, name: str):
    model, x = small(unit, name), random(T, B, D, seed=1)
    theta = (0.6 * random(1, model.num_parameters, seed=2)).requires_grad_()
    ours = model.hidden(theta, x[None])[0]
    theirs = {"gru": gru, "lstm": lstm}[unit](name, blocks(model, theta), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    probe = random(*ours.shape, seed=3)
    gradients = [torch.autograd.grad((h * probe).sum(), theta, retain_graph=True)[0] for h in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("unit, name", NAMES)
def test_what_is_held_gets_no_gradient_and_the_rest_gets_some(unit: str, name: str):
    model = small(unit, name)
    theta = (0.6 * random(1, model.num_parameters, seed=2)).requires_grad_()
    (gradient,) = torch.autograd.grad(model.hidden(theta, random(T, B, D, seed=1)[None]).square().sum(), theta)
    recurrent = model.num_parameters - K * (H + 1)
    assert int((gradient[0, :recurrent] != 0).sum()) == model.num_recurrent_parameters == recurrent - num_held(model)


@pytest.mark.parametrize("unit, name", [pair for pair in NAMES if VARIANTS[pair[0]][pair[1]].held])
def test_held_entries_do_not_move_in_training_nor_does_the_noise_reach_them(toy, unit: str, name: str):
    model = apply_variant(music_model(unit, 3), name)
    rule = Protocol(batch_size=5, max_epochs=2, start="modern", weight_noise=0.5, order="own")
    result = train(model, toy(), learning_rates=[1e-2], seeds=[0], protocol=rule, dtype=torch.float64)
    assert result.histories[0].best_epoch > 0
    before, after = model.init([0], torch.float64, start="modern"), result.theta
    held = constraint(model, torch.float64, after.device)[0] <= 0
    assert int(held.sum()) == num_held(model)
    assert torch.equal(before[:, held], after[:, held]) and not torch.equal(before, after)
    noisy = after + torch.randn_like(after) * held  # whatever stands in a held place, the parameters used are the same
    used, same = (model.unflatten(theta) for theta in (after, noisy))
    assert all(torch.equal(used[letter], same[letter]) for letter in used)


def test_a_complement_is_tied_to_the_other_gate():
    model = small("lstm", "coupled")
    theta = random(1, model.num_parameters, seed=5)
    used = model.unflatten(theta)
    i, f = (model.gates.index(gate) for gate in ("i", "f"))
    for letter in ("W", "U", "b"):
        part = used[letter][0].split(H, dim=-1)
        assert torch.equal(part[i], -part[f])
    a = random(20, seed=6)
    torch.testing.assert_close(torch.sigmoid(-a), 1 - torch.sigmoid(a))


@pytest.mark.parametrize("unit, name", NAMES)
def test_the_same_number_of_parameters_is_as_near_as_a_whole_number_of_units_can_bring_it(unit: str, name: str):
    full = music_model(unit)
    made = same_parameters(full, name)
    budget = full.num_recurrent_parameters
    off = abs(made.num_recurrent_parameters - budget)
    for size in (made.hidden_size - 1, made.hidden_size + 1):
        assert abs(dataclasses.replace(made, hidden_size=size).num_recurrent_parameters - budget) >= off
    assert off / budget < 0.03
    assert (made.held, made.reset, made.squash) == tuple(
        getattr(apply_variant(full, name), field) for field in ("held", "reset", "squash")
    )


def test_counts_by_hand():
    def count(unit: str, name: str) -> int:
        return small(unit, name).num_recurrent_parameters

    gate = D * H + H * H + H
    assert count("gru", "full") == 3 * gate and count("gru", "independent") == 4 * gate
    assert count("gru", "no_reset") == count("gru", "no_update") == 2 * gate
    assert count("gru", "constant_update") == 2 * gate + H and count("gru", "reset_after") == 3 * gate + H
    assert count("gru", "minimal") == 2 * (D * H + H) and count("gru", "input_gates") == 3 * gate - 2 * H * H
    assert count("lstm", "full") == 4 * gate + 3 * H and count("lstm", "no_peepholes") == 4 * gate
    assert count("lstm", "coupled") == 3 * gate + 2 * H and count("lstm", "forget_only") == 2 * gate + H


def test_an_unknown_variant_lists_the_units_own():
    with pytest.raises(ValueError, match="no variant 'coupled': it has full, no_reset"):
        variant_of("gru", "coupled")


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 21])
def test_the_minimal_unit_can_be_computed_side_by_side(steps: int):
    """By joining stretches, against the loop: values and gradients. The model leaves out the products only."""
    model, x = small("gru", "minimal"), random(2, steps, B, D, seed=7)
    theta = (0.6 * random(2, model.num_parameters, seed=8)).requires_grad_()
    p = model.unflatten(theta)
    z, _, h_tilde = (torch.einsum("ptbd,pdn->ptbn", x, p["W"]) + p["b"][:, None, None]).split(H, dim=-1)
    scanned = minimal_scan(torch.sigmoid(z), torch.tanh(h_tilde), torch.zeros(2, B, H, dtype=torch.float64))
    looped = gru_recurrence(x, p["W"], p["U"], p["b"])
    torch.testing.assert_close(scanned, looped, rtol=1e-10, atol=1e-12)
    start = 0.3 * random(2, B, H, seed=9)
    for h0 in (None, start):
        (ours,) = model.states(theta, x, h0 if h0 is None else (h0,))
        theirs = gru_recurrence(x, p["W"], p["U"], p["b"], h0=h0)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model.hidden(theta, x[:1])[0], looped[0], rtol=1e-10, atol=1e-12)  # one x for all
    ours, theirs = (torch.autograd.grad(h.square().sum(), theta, retain_graph=True)[0] for h in (scanned, looped))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("unit, name", NAMES)
def test_a_cell_is_the_variant_or_there_is_none(unit: str, name: str):
    """A cell is the readable unit; where it cannot say what the variant does, it says so."""
    model = small(unit, name)
    readable = not (model.held or model.independent or not model.squash)
    if not readable:
        with pytest.raises(ValueError, match="no readable cell"):
            model.new_cell()
        assert model.init([0, 1], start="modern").shape == (2, model.num_parameters)
        return
    theta, x = 0.6 * random(1, model.num_parameters, seed=2), random(T, B, D, seed=1)
    weights = {k: part[0] for k, part in model.unflatten(theta).items() if not k.endswith("_out")}
    cell = model.new_cell(dtype=torch.float64).load_stacked(weights)
    torch.testing.assert_close(cell.run(x)["h"], model.hidden(theta, x[None])[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("unit, name", [(unit, name) for unit in VARIANTS for name in VARIANTS[unit]])
@pytest.mark.parametrize("start", ["authors", "modern"])
def test_every_variant_starts_from_numbers_that_training_may_write_to(unit: str, name: str, start: str):
    model = apply_variant(music_model(unit, 3), name)
    theta = model.init([0, 1], start=start)
    assert not theta.requires_grad and theta.shape == (2, model.num_parameters)
    model.parts(theta)["b_out"][:] = 0.5


def test_only_a_unit_in_which_nothing_looks_at_the_state_goes_without_products():
    assert [name for unit, name in NAMES if blind(small(unit, name))] == ["minimal"]


@pytest.mark.parametrize("unit, name", NAMES)
def test_what_is_held_need_not_be_kept(unit: str, name: str):
    model = small(unit, name)
    theta = random(2, model.num_parameters, seed=3)
    kept = without_held(model, theta)
    assert torch.equal(constrained(model, kept), constrained(model, theta))
    assert (kept == 0).sum() == 2 * num_held(model) and not kept[kept == 0].signbit().any()  # a file of zeros is small

"""The cells are the specification: each is held against the paper's equations written out, and against PyTorch."""

import pytest
import torch
from torch import nn

from gatedrnn.cells import CELLS, GRUCell, LSTMCell, TanhCell
from gatedrnn.units import UNITS

D, H, B = 4, 3, 5
FORMS = [("tanh", {}), ("gru", {}), ("gru", {"reset": "after"}), ("lstm", {}), ("lstm", {"peepholes": False})]
FORMS += [(kind, options | {"bias": False}) for kind, options in FORMS]


def random_cell(kind, **options):
    cell = CELLS[kind](D, H, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(1)
    for p in cell.parameters():
        p.data.normal_(generator=generator)
    return cell


@pytest.fixture
def x():
    return torch.randn(B, D, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def h():
    return torch.rand(B, H, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 0.5


def test_gru_limits(x, h):
    """z = 0 keeps the old state; z = 1 and r = 1 is the tanh unit (this book's z multiplies the new state)."""
    cell = random_cell("gru")
    tanh = TanhCell(D, H, dtype=torch.float64)
    tanh.load_state_dict({"W": cell.W, "U": cell.U, "b": cell.b})
    with torch.no_grad():
        cell.b_z.fill_(-1e4)
        torch.testing.assert_close(cell(x, (h,))[0], h)
        cell.b_z.fill_(1e4)
        cell.b_r.fill_(1e4)
        torch.testing.assert_close(cell(x, (h,)), tanh(x, (h,)))


def test_gru_reset_before_and_after_differ_unless_r_is_one(x, h):
    before, after = random_cell("gru"), random_cell("gru", reset="after")
    after.load_state_dict(before.state_dict() | {"b_U": torch.zeros(H, dtype=torch.float64)})
    assert (before(x, (h,))[0] - after(x, (h,))[0]).abs().max() > 1e-3
    with torch.no_grad():
        for cell in (before, after):
            cell.b_r.fill_(1e4)
    torch.testing.assert_close(before(x, (h,)), after(x, (h,)))


def test_lstm_keeps_its_memory_with_an_open_forget_and_a_closed_input_gate(x, h):
    cell = random_cell("lstm")
    with torch.no_grad():
        cell.b_f.fill_(1e4)
        cell.b_i.fill_(-1e4)
    _, c = cell(x, (torch.zeros_like(h), h))
    torch.testing.assert_close(c, h)


def test_lstm_peepholes_look_at_the_right_memory(x, h):
    """i and f see c_{t-1}; o sees c_t."""
    cell = random_cell("lstm")
    c0 = torch.randn_like(h)
    g = cell.gates(x, (h, c0))
    for gate, c in (("i", c0), ("f", c0), ("o", g["c"])):
        a = x @ getattr(cell, f"W_{gate}") + h @ getattr(cell, f"U_{gate}") + getattr(cell, f"b_{gate}")
        torch.testing.assert_close(g[gate], torch.sigmoid(a + getattr(cell, f"V_{gate}") * c))
    torch.testing.assert_close(g["c"], g["f"] * c0 + g["i"] * g["c_tilde"])
    torch.testing.assert_close(g["h"], g["o"] * torch.tanh(g["c"]))


def test_equal_to_torch_one_step(x, h):
    tanh = random_cell("tanh")
    lib = nn.RNNCell(D, H, dtype=torch.float64)
    with torch.no_grad():
        lib.weight_ih.copy_(tanh.W.T), lib.weight_hh.copy_(tanh.U.T), lib.bias_ih.copy_(tanh.b), lib.bias_hh.zero_()
    torch.testing.assert_close(tanh(x, (h,))[0], lib(x, h))

    gru = random_cell("gru", reset="after")
    lib = nn.GRUCell(D, H, dtype=torch.float64)  # order r, z, n; its z multiplies the OLD state, so ours is 1 - z
    with torch.no_grad():
        lib.weight_ih.copy_(torch.cat([gru.W_r.T, -gru.W_z.T, gru.W.T]))
        lib.weight_hh.copy_(torch.cat([gru.U_r.T, -gru.U_z.T, gru.U.T]))
        lib.bias_ih.copy_(torch.cat([gru.b_r, -gru.b_z, gru.b]))
        lib.bias_hh.copy_(torch.cat([torch.zeros(2 * H, dtype=torch.float64), gru.b_U]))
    torch.testing.assert_close(gru(x, (h,))[0], lib(x, h))

    lstm = random_cell("lstm", peepholes=False)
    lib = nn.LSTMCell(D, H, dtype=torch.float64)
    with torch.no_grad():
        for ours, theirs in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih")):
            getattr(lib, theirs).copy_(torch.cat([getattr(lstm, f"{ours}_{gate}").t() for gate in "ifco"]))
        lib.bias_hh.zero_()
    for ours, theirs in zip(lstm(x, (h, h)), lib(x, (h, h)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_initialisation_is_orthogonal_and_seeded():
    cells = [LSTMCell(D, H, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) for _ in "ab"]
    for a, b in zip(*(cell.parameters() for cell in cells), strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(cells[0].U_f @ cells[0].U_f.T, torch.eye(H, dtype=torch.float64))
    assert cells[0].W_i.abs().max() <= 0.1 and not cells[0].b_f.any() and not cells[0].V_o.any()


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("sizes", [(4, 0), (0, 3), (4, -1), (4, 2.5)])
def test_sizes_below_one_are_refused(kind, sizes):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        CELLS[kind](*sizes)


def test_unknown_reset_is_refused():
    with pytest.raises(ValueError, match="'before' or 'after'"):
        GRUCell(D, H, reset="never")


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("batch", [(), (B,), (2, B)])
def test_a_step_without_a_state_starts_at_zero(kind, batch):
    cell = random_cell(kind)
    x = torch.randn(*batch, D, dtype=torch.float64)
    start = cell.start(*batch)
    assert len(start) == len(UNITS[kind].state)
    assert all(part.shape == (*batch, H) and part.dtype == x.dtype and not part.any() for part in start)
    torch.testing.assert_close(cell(x), cell(x, start))


@pytest.mark.parametrize("kind", CELLS)
def test_a_run_is_the_steps_one_after_the_other(kind):
    cell, x = random_cell(kind), torch.randn(6, B, D, dtype=torch.float64)
    state = tuple(torch.rand(B, H, dtype=torch.float64) for _ in UNITS[kind].state)
    run = cell.run(x, state)
    assert tuple(run) == UNITS[kind].parts
    for t in range(6):
        step = cell.gates(x[t], state)
        state = cell(x[t], state)
        for name, values in step.items():
            torch.testing.assert_close(run[name][t], values)
    torch.testing.assert_close(state, tuple(run[name][-1] for name in UNITS[kind].state))
    torch.testing.assert_close(cell.run(x[:, 0])["h"], cell.run(x)["h"][:, 0])  # one sequence, without the axis B
    with pytest.raises(ValueError, match=r"x must have shape \(T, B, 4\) with T of at least 1, not \(0, 5, 4\)"):
        cell.run(x[:0])


@pytest.mark.parametrize("kind, options", FORMS)
def test_stacked_parameters_are_taken_back(kind, options):
    cell, other = random_cell(kind, **options), CELLS[kind](D, H, dtype=torch.float64, **options)
    stacked = cell.stacked()
    g = len(UNITS[kind].gates)
    assert stacked["W"].shape == (D, g * H) and stacked["U"].shape == (H, g * H)
    assert other.load_stacked(stacked) is other
    for name, parameter in cell.named_parameters():
        assert torch.equal(parameter, dict(other.named_parameters())[name]), name
    with pytest.raises(ValueError, match="has the parameters W, U"):
        other.load_stacked({"W": stacked["W"]})
    with pytest.raises(ValueError, match=rf"U must have shape \(3, {3 * g}\), not \(3, {3 * g - 1}\)"):
        other.load_stacked(stacked | {"U": stacked["U"][:, 1:]})


def test_gates_are_stacked_in_the_order_of_the_units():
    gru, lstm = random_cell("gru"), random_cell("lstm")
    assert torch.equal(gru.stacked()["W"], torch.cat([gru.W_z, gru.W_r, gru.W], dim=-1))
    assert torch.equal(lstm.stacked()["b"], torch.cat([lstm.b_o, lstm.b_i, lstm.b_f, lstm.b_c]))
    assert torch.equal(lstm.stacked()["V"], torch.cat([lstm.V_o, lstm.V_i, lstm.V_f]))


def test_a_state_that_is_no_tuple_or_does_not_fit_is_refused(x, h):
    lstm, gru = random_cell("lstm"), random_cell("gru")
    for state, came in ((h[:2], "a Tensor"), ([h, h], "a list"), ((h,), "a tuple of 1")):
        with pytest.raises(ValueError, match=rf"state of a LSTMCell must be the tuple \(h, c\), not {came}"):
            lstm(x[:2], state)
    with pytest.raises(ValueError, match=r"state of a GRUCell must be the tuple \(h,\), not a Tensor"):
        gru.gates(x, h)
    with pytest.raises(ValueError, match=r"c must have shape \(5, 3\), not \(1, 3\)"):
        lstm(x, (h, h[:1]))
    with pytest.raises(ValueError, match=r"x must have shape \(5, 4\), not \(5, 3\)"):
        gru(h)


def test_a_cell_says_what_it_is():
    assert repr(TanhCell(3, 4, bias=False)) == "TanhCell(3, 4, bias=False)"
    assert repr(GRUCell(3, 4)) == "GRUCell(3, 4, reset='before')"
    assert repr(LSTMCell(3, 4)) == "LSTMCell(3, 4, peepholes=True)"

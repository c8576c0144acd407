"""The cells are the specification: each is held against the paper's equations written out, and against PyTorch."""

import pytest
import torch
from torch import nn

from gatedrnn.cells import CELLS, GRUCell, LSTMCell, TanhCell

D, H, B = 4, 3, 5


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
        torch.testing.assert_close(cell(x, h), h)
        cell.b_z.fill_(1e4)
        cell.b_r.fill_(1e4)
        torch.testing.assert_close(cell(x, h), tanh(x, h))


def test_gru_reset_before_and_after_differ_unless_r_is_one(x, h):
    before, after = random_cell("gru"), random_cell("gru", reset="after")
    after.load_state_dict(before.state_dict() | {"b_U": torch.zeros(H, dtype=torch.float64)})
    assert (before(x, h) - after(x, h)).abs().max() > 1e-3
    with torch.no_grad():
        for cell in (before, after):
            cell.b_r.fill_(1e4)
    torch.testing.assert_close(before(x, h), after(x, h))


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
    torch.testing.assert_close(tanh(x, h), lib(x, h))

    gru = random_cell("gru", reset="after")
    lib = nn.GRUCell(D, H, dtype=torch.float64)  # order r, z, n; its z multiplies the OLD state, so ours is 1 - z
    with torch.no_grad():
        lib.weight_ih.copy_(torch.cat([gru.W_r.T, -gru.W_z.T, gru.W.T]))
        lib.weight_hh.copy_(torch.cat([gru.U_r.T, -gru.U_z.T, gru.U.T]))
        lib.bias_ih.copy_(torch.cat([gru.b_r, -gru.b_z, gru.b]))
        lib.bias_hh.copy_(torch.cat([torch.zeros(2 * H, dtype=torch.float64), gru.b_U]))
    torch.testing.assert_close(gru(x, h), lib(x, h))

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

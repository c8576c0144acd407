"""Gates, saturation and gradients, held against known numbers, explicit products and finite differences."""

import numpy as np
import pytest
import torch

from gatedrnn.batching import Batch, make_batch
from gatedrnn.cells import CELLS, GRUCell, LSTMCell, TanhCell
from gatedrnn.diagnostics import gradient_flow, saturation, step_jacobian
from gatedrnn.model import music_model, speech_model
from gatedrnn.network import Network
from gatedrnn.units import UNITS


def rolls(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [(rng.random((length, 88)) < 0.1).astype(np.uint8) for length in lengths]


def network_of(unit: str) -> Network:
    """A model of 5 units in float64 with every parameter away from zero, peepholes and biases too."""
    model = music_model(unit, 5)
    (theta,) = model.init([0], dtype=torch.float64)
    noise = torch.randn(theta.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Network(model, theta + 0.3 * noise)


def filled(cell):
    """The cell in float64 with every parameter drawn from a normal distribution, its inputs to fit."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in cell.double().parameters():
            parameter.normal_(generator=generator)
    x, h, c = torch.randn(3, 6, dtype=torch.float64, generator=generator)
    return cell, x[: cell.input_size], h[: cell.hidden_size], c[: cell.hidden_size]


def test_saturation_of_a_known_array():
    gate = np.array([[0.05, 0.1, 0.5, 0.95], [0.0, 0.9, 0.91, 1.0]]).reshape(2, 1, 4)
    assert saturation(gate) == (2 / 8, 3 / 8)
    assert saturation(gate, low=0.2, high=0.94) == (3 / 8, 2 / 8)
    assert saturation(torch.from_numpy(gate), mask=torch.tensor([[True], [False]])) == (1 / 4, 1 / 4)
    assert saturation([-0.95, -0.5, 0.95, 0.2], low=-0.9) == (1 / 4, 1 / 4)
    with pytest.raises(ValueError, match="no gate value"):
        saturation(gate, mask=np.zeros((2, 1), dtype=bool))


def test_gradient_flow_of_the_tanh_unit_is_a_product_of_jacobians():
    """dL_T/dh_t = dL_T/dh_T J_T J_{T-1} ... J_{t+1} with J_t = diag(1 - h_t^2) U^T, written out in float64."""
    network = network_of("tanh")
    batch = make_batch(rolls(12), "music", torch.float64)
    p, h = network.parameters, network.hidden(batch.x[0])[:, 0]
    g = (torch.sigmoid(h[-1] @ p["W_out"] + p["b_out"]) - batch.target[0, -1, 0]) @ p["W_out"].T  # of the Bernoulli NLL
    expected = [g.norm().item()]
    for t in range(11, 0, -1):
        g = (g * (1 - h[t] ** 2)) @ p["U"].T
        expected.append(g.norm().item())
    flow = gradient_flow(network, batch)
    np.testing.assert_allclose(flow["h"], expected, rtol=1e-12)
    assert set(flow) == {"h", "state"}
    np.testing.assert_array_equal(flow["state"], flow["h"])


@pytest.mark.parametrize("unit", UNITS)
def test_gradient_flow_goes_back_through_the_jacobians_of_the_whole_state(unit):
    network = network_of(unit)
    batch = make_batch(rolls(7), "music", torch.float64)
    cell, gates, p = network.cell, network.gates(batch.x[0]), network.parameters
    flow = gradient_flow(network, batch)
    a = gates["h"][-1, 0] @ p["W_out"] + p["b_out"]
    g_h = (torch.sigmoid(a) - batch.target[0, -1, 0]) @ p["W_out"].T
    g = torch.cat([g_h, torch.zeros(5)]) if unit == "lstm" else g_h
    for lag in range(7):
        t = 6 - lag
        np.testing.assert_allclose(flow["state"][lag], g.norm(), rtol=1e-10)
        np.testing.assert_allclose(flow["h"][lag], g[:5].norm(), rtol=1e-10)
        if unit == "lstm":  # in "c" what reaches c_t through h_t = o_t(c_t) tanh(c_t) is counted as well
            c, o = gates["c"][t, 0], gates["o"][t, 0]
            through_h = o * (1 - torch.tanh(c) ** 2) + o * (1 - o) * cell.V_o.detach() * torch.tanh(c)
            np.testing.assert_allclose(flow["c"][lag], (g[5:] + g[:5] * through_h).norm(), rtol=1e-10)
        if t > 0:
            state = tuple(gates[name][t - 1, 0] for name in UNITS[unit].state)
            g = g @ step_jacobian(cell, batch.x[0, t, 0], state, of="state").detach()


@pytest.mark.parametrize("unit", UNITS)
def test_gradient_flow_averages_over_the_sequences_that_reach_a_lag(unit):
    network = network_of(unit)
    short, long = rolls(4, 9)
    together = gradient_flow(network, make_batch([short, long], "music", torch.float64))
    alone = [gradient_flow(network, make_batch([roll], "music", torch.float64)) for roll in (short, long)]
    for name, flow in together.items():
        assert flow.shape == (9,)
        np.testing.assert_allclose(flow[:4], (alone[0][name] + alone[1][name][:4]) / 2, rtol=1e-12)
        np.testing.assert_allclose(flow[4:], alone[1][name][4:], rtol=1e-12)


def test_gradient_flow_keeps_very_small_norms_and_works_on_speech():
    model = music_model("tanh", 5)
    network = Network(model, model.init([0])[0])
    network.parameters["U"].mul_(0.01)
    flow = gradient_flow(network, make_batch(rolls(40), "music", torch.float32))
    assert 0 < flow["h"][-1] < 1e-60  # far below the smallest number of float32
    speech = speech_model("gru", 4)
    wave = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    flow = gradient_flow(Network(speech, speech.init([0])[0]), make_batch([wave], "speech", torch.float32))
    assert flow["h"].shape == (8,) and (flow["h"] > 0).all()


def test_the_flow_begins_at_the_last_step_however_many_of_those_before_count():
    """Of the recall task only the last step is real: taken for the first, nothing lay before it."""
    batch = make_batch(rolls(7, 4), "music", torch.float64)
    late = batch.mask & ~torch.cat([batch.mask[:, 1:], torch.zeros_like(batch.mask[:, :1])], dim=1)
    assert late.sum() == 2
    whole, alone = (gradient_flow(network_of("lstm"), Batch(batch.x, batch.target, m)) for m in (batch.mask, late))
    for name, norms in whole.items():
        np.testing.assert_array_equal(alone[name], norms)


def test_gradient_flow_refuses_a_sequence_without_steps():
    batch = make_batch(rolls(3, 3), "music", torch.float64)
    mask = batch.mask.clone()
    mask[0, :, 1] = False
    with pytest.raises(ValueError, match="no real step"):
        gradient_flow(network_of("gru"), Batch(batch.x, batch.target, mask))


def test_step_jacobian_of_the_tanh_unit_has_its_closed_form():
    cell, x, h, _ = filled(TanhCell(2, 4))
    expected = torch.diag(1 - cell(x, (h,))[0] ** 2) @ cell.U.T
    torch.testing.assert_close(step_jacobian(cell, x, (h,)), expected)


@pytest.mark.parametrize("unit", UNITS)
def test_step_jacobian_agrees_with_finite_differences(unit):
    cell, x, h, c = filled(CELLS[unit](2, 4))
    start = torch.cat([h, c]) if unit == "lstm" else h

    def advance(state):
        return torch.cat(cell(x, state.split(4)))

    moves = 1e-6 * torch.eye(len(start), dtype=torch.float64)
    columns = [(advance(start + move) - advance(start - move)) / 2e-6 for move in moves]
    state = start.split(4)
    whole = step_jacobian(cell, x, state, of="state")
    torch.testing.assert_close(whole, torch.stack(columns, dim=1), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(step_jacobian(cell, x, state), whole[:4, :4])
    if unit == "lstm":
        torch.testing.assert_close(step_jacobian(cell, x, state, of="c"), whole[4:, 4:])


def test_along_the_memory_cell_the_jacobian_is_the_forget_gate():
    cell, x, h, c = filled(LSTMCell(2, 4, peepholes=False))
    forget = cell.gates(x, (h, c))["f"]
    torch.testing.assert_close(step_jacobian(cell, x, (h, c), of="c"), torch.diag(forget))


def test_step_jacobian_refuses_a_part_that_the_unit_lacks():
    cell, x, h, _ = filled(GRUCell(2, 4))
    with pytest.raises(ValueError, match="one of h, state, not 'c'"):
        step_jacobian(cell, x, (h,), of="c")


def test_a_tensor_as_the_state_and_a_populations_batch_are_refused():
    cell, x, h, _ = filled(GRUCell(2, 4))
    with pytest.raises(ValueError, match=r"state of a GRUCell must be the tuple \(h,\), not a Tensor"):
        step_jacobian(cell, x, h)
    batch = make_batch(rolls(3), "music", torch.float64)
    pair = Batch(*(part.expand(2, *part.shape[1:]) for part in (batch.x, batch.target, batch.mask)))
    with pytest.raises(ValueError, match=r"batch.x must have shape \(1, T, B, 88\), not \(2, 3, 1, 88\)"):
        gradient_flow(network_of("gru"), pair)

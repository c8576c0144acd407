"""Lesions against the readable cells run by hand with the part held, and against the forms they claim to be."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gatedrnn import lesions, study
from gatedrnn.datasets import load
from gatedrnn.files import DataError
from gatedrnn.lesions import averages, catalogue, costs, held, noisy, without
from gatedrnn.model import music_model
from gatedrnn.network import Network
from gatedrnn.outputs import RecallOutput
from gatedrnn.statistics import over_pieces
from gatedrnn.variants import VARIANTS

UNITS = ("gru", "lstm")
GATES = {"gru": ("z", "r"), "lstm": ("o", "i", "f")}


@pytest.fixture
def rolls() -> list[np.ndarray]:
    """A few short pieces of different lengths."""
    random = np.random.default_rng(0)
    return [(random.random((steps, 88)) < 0.1).astype(np.uint8) for steps in (9, 14, 6)]


@pytest.fixture(params=UNITS)
def network(request: pytest.FixtureRequest) -> Network:
    """A network whose every parameter says something."""
    return made(request.param)


def made(unit: str) -> Network:
    model = music_model(unit, 5)
    theta = 0.4 * torch.randn(model.num_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Network(model, theta)


def frames(roll: np.ndarray) -> Tensor:
    """What is read while a roll is predicted, (T, 1, 88): silence, then every frame but the last."""
    return torch.from_numpy(np.concatenate([np.zeros((1, 88)), roll[:-1]]))[:, None]


def by_hand(network: Network, x: Tensor, **fixed: Tensor) -> Tensor:
    """The states h (T, B, H) of the paper's equations with some gates replaced by numbers."""
    cell = network.cell.requires_grad_(False)
    h = c = torch.zeros(x.shape[1], cell.hidden_size, dtype=x.dtype)
    states = []
    for x_t in x:

        def gate(name: str, peek=0.0, x_t=x_t, h=h) -> Tensor:
            own = torch.sigmoid(cell._linear(name, x_t, h) + peek)
            return fixed.get(name, own)

        if cell.unit == "gru":
            z, r = gate("z"), gate("r")
            h = (1 - z) * h + z * torch.tanh(cell._linear("h_tilde", x_t, r * h))
        else:
            i, f = gate("i", cell.V_i * c), gate("f", cell.V_f * c)
            c = f * c + i * torch.tanh(cell._linear("c_tilde", x_t, h))
            h = gate("o", cell.V_o * c) * torch.tanh(c)
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_a_gate_stands_still_where_it_is_held(network: Network, rolls, value: float):
    x = frames(rolls[0])
    for gate in GATES[network.model.unit]:
        ours = held(network, **{gate: value}).hidden(x)
        torch.testing.assert_close(
            ours, by_hand(network, x, **{gate: torch.tensor(value, dtype=x.dtype)}), rtol=0, atol=1e-9
        )
    assert torch.equal(network.hidden(x), made(network.model.unit).hidden(x))  # the network itself is not touched


def test_each_unit_can_be_held_at_its_own_mean_and_several_gates_at_once(network: Network, rolls):
    means, x = averages(network, rolls), frames(rolls[0])
    still = {gate: means[gate] for gate in GATES[network.model.unit]}
    run = held(network, **still).gates(x)
    for gate, mean in still.items():
        torch.testing.assert_close(run[gate], mean.expand_as(run[gate]))
    torch.testing.assert_close(run["h"], by_hand(network, x, **still))


def test_means_are_over_real_steps(network: Network, rolls):
    runs = [network.gates(frames(roll)) for roll in rolls]
    for name, mean in averages(network, rolls).items():
        torch.testing.assert_close(mean, torch.cat([run[name][:, 0] for run in runs]).mean(0))


def test_means_of_the_recall_task_are_over_all_steps_though_one_is_scored(rolls):
    music = made("gru")
    recall = Network(replace(music.model, output=RecallOutput(88)), music.theta)
    for name, mean in averages(recall, rolls).items():
        torch.testing.assert_close(mean, averages(music, rolls)[name])


@pytest.mark.parametrize("unit, gate", [("gru", "h_tilde"), ("gru", "o"), ("tanh", "h")])
def test_only_a_gate_can_be_held(unit: str, gate: str):
    with pytest.raises(ValueError, match=rf"no gate of the {unit} unit: it has"):
        held(made(unit), **{gate: 1.0})


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), torch.tensor([0.1, 0.2, 3.0, 0.4, 0.5])])
def test_a_gate_cannot_be_held_where_no_gate_is(value: float | Tensor):
    with pytest.raises(ValueError, match="a gate lies between 0 and 1"):
        held(made("gru"), z=value)


@pytest.mark.parametrize("unit, variant, fixed", [
    ("gru", "no_reset", {"r": 1.0}), ("gru", "no_update", {"z": 1.0}), ("lstm", "no_input_gate", {"i": 1.0}),
    ("lstm", "no_forget_gate", {"f": 1.0}), ("lstm", "no_output_gate", {"o": 1.0}),
])  # fmt: skip
def test_a_part_taken_away_is_the_gate_held_open(unit: str, variant: str, fixed: dict, rolls):
    network, x = made(unit), frames(rolls[0])
    ours = without(network, variant, averages(network, rolls))
    torch.testing.assert_close(ours.hidden(x), held(network, **fixed).hidden(x), rtol=0, atol=1e-9)


def test_the_other_parts_are_taken_away_by_their_definition(rolls):
    x, gru, lstm = frames(rolls[0]), made("gru"), made("lstm")
    means = averages(gru, rolls)
    ours = without(gru, "no_reset_constant_update", means).hidden(x)
    torch.testing.assert_close(ours, held(gru, r=1.0, z=means["z"]).hidden(x), rtol=0, atol=1e-9)
    blind = without(gru, "input_gates", means)
    torch.testing.assert_close(
        blind.parameters["b"][:5], gru.parameters["b"][:5] + means["h"] @ gru.parameters["U"][:, :5]
    )
    assert (blind.parameters["U"][:, :10] == 0).all() and not (blind.parameters["U"][:, 10:] == 0).any()
    after = without(gru, "reset_after", means)
    torch.testing.assert_close(after.gates(x)["h"], after.hidden(x))
    means = averages(lstm, rolls)
    plain = without(lstm, "no_peepholes", means)
    assert not plain.model.peepholes
    deaf = Network(lstm.model, lstm.theta.clone())
    deaf.parameters["V"][:] = 0
    torch.testing.assert_close(plain.hidden(x), deaf.hidden(x))
    for variant in ("no_tanh", "coupled", "forget_only"):
        assert not torch.allclose(without(lstm, variant, means).hidden(x), lstm.hidden(x))


def test_every_variant_has_a_lesion_but_the_one_that_adds_a_gate(rolls):
    for unit in UNITS:
        network = made(unit)
        means, x = averages(network, rolls), frames(rolls[0])
        for variant in VARIANTS[unit]:
            if variant == "independent":
                with pytest.raises(ValueError, match="adds a gate"):
                    without(network, variant, means)
            else:
                assert without(network, variant, means).hidden(x).isfinite().all()


def test_noise_moves_one_gate_and_none_of_it_is_no_lesion(network: Network, rolls):
    gate = GATES[network.model.unit][1]
    found = costs(network, {"none": noisy(network, gate, 0.0), "some": noisy(network, gate, 1.0)}, rolls)
    assert found["none"].mean == pytest.approx(0, abs=1e-12) and abs(found["some"].mean) > 1e-3
    again = costs(network, {"some": noisy(network, gate, 1.0)}, rolls)
    assert again["some"] == found["some"] != costs(network, {"some": noisy(network, gate, 1.0)}, rolls, 1)["some"]
    x = frames(rolls[0])
    random = torch.randn(*x.shape[:2], 5, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    run = noisy(network, gate, 2.0).gates(torch.cat([x, random], dim=-1))
    states = [run[name] for name in ("h", "c") if name in run]
    before = tuple(torch.cat([torch.zeros_like(s[:1]), s[:-1]])[3] for s in states)
    plain = network.cell.gates(x[3], before)
    moved = torch.logit(run[gate][3]) - torch.logit(plain[gate])
    torch.testing.assert_close(moved, 2 * random[3], rtol=1e-8, atol=1e-9)
    for other in GATES[network.model.unit]:
        if other not in (gate, "o"):  # the output gate sees the memory that the noise has moved
            torch.testing.assert_close(run[other][3], plain[other])


def test_a_cost_is_what_the_score_gains_with_the_error_of_a_ratio(network: Network, rolls):
    lesions = {"one": held(network, **{GATES[network.model.unit][0]: 0.2}), "other": without(
        network, {"gru": "no_reset", "lstm": "no_tanh"}[network.model.unit], averages(network, rolls))}  # fmt: skip
    found = costs(network, lesions, rolls)
    assert list(found) == ["one", "other"]
    for name, lesion in lesions.items():
        assert found[name].mean == pytest.approx(lesion.evaluate(rolls).pooled - network.evaluate(rolls).pooled)
        assert found[name].freedom == len(rolls) - 1 and set(found[name].shares) == {"pieces"}
    assert np.isnan(costs(network, lesions, rolls[:1])["one"].half)


def test_the_interval_over_pieces_holds_the_truth():
    random, inside = np.random.default_rng(3), 0
    for _ in range(400):
        steps = random.integers(20, 90, 40).astype(float)
        nll = (0.2 + 0.1 * random.standard_normal(40)) * steps
        found = over_pieces(nll, steps)
        inside += abs(found.mean - 0.2) < found.half
    assert 365 <= inside <= 395


def test_the_catalogue_has_every_gate_and_every_part(rolls):
    gru, lstm = (catalogue(made(unit), rolls) for unit in UNITS)
    four = ("mean", "0", "1", "noise")
    assert gru.keys() == {f"{gate} {how}" for gate in "zr" for how in four} | {"all mean"} | (
        VARIANTS["gru"].keys() - {"full", "independent"}
    )
    assert lstm.keys() == {f"{gate} {how}" for gate in "oif" for how in four} | {"all mean"} | (
        VARIANTS["lstm"].keys() - {"full", "zero_bias"}
    )


def test_two_commands_that_record_at_once_keep_each_others_lesions(tmp_path, toy, monkeypatch):
    monkeypatch.setattr(lesions, "load", lambda name, progress: toy((2, 2, 2)))
    whole = lesions.atomic

    def slow(path):
        time.sleep(0.3)  # after the other has read
        return whole(path)

    monkeypatch.setattr(lesions, "atomic", slow)
    trials = [study.Trial("paper", "bach_chorales", unit) for unit in UNITS]
    for trial in trials:
        study.save_parameters(trial, trial.model.init([1])[0].numpy(), tmp_path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda trial: lesions.record(trial, tmp_path), trials))
    assert {unit for _, _, unit in lesions.read(tmp_path)} == set(UNITS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lesions.json", "paper"]


def test_a_damaged_file_of_lesions_is_said_before_the_work(tmp_path):
    (tmp_path / lesions.FILE).write_text('{"paper/')
    for work in (lambda: lesions.record(study.Trial("paper", "bach_chorales", "gru"), tmp_path),
                 lambda: lesions.read(tmp_path)):  # fmt: skip
        with pytest.raises(DataError, match="lesions.json is damaged: delete it"):
            work()


@pytest.mark.slow
def test_recorded_lesions_are_those_of_the_kept_network(tmp_path):
    trial = study.Trial("paper", "bach_chorales", "gru")
    theta = trial.model.init([1])
    study.save_parameters(trial, theta[0].numpy(), tmp_path)
    assert lesions.read(tmp_path) == {}
    lesions.record(trial, tmp_path)
    (found,) = lesions.read(tmp_path).values()
    data, network = load("bach_chorales", progress=False), Network(trial.model, theta[0].double())
    again = costs(network, catalogue(network, data.valid), data.test)
    assert found.keys() == again.keys()
    for name, cost in again.items():
        assert (found[name].mean, found[name].half) == pytest.approx((cost.mean, cost.half), abs=1e-3)
    study.save_parameters(trial, trial.model.init([2])[0].numpy(), tmp_path)
    with pytest.raises(ValueError, match="lesion them anew"):
        lesions.read(tmp_path)

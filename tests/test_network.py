"""One model without a population axis: what the population computes for it, and a file that holds it whole."""

import json

import numpy as np
import pytest
import torch

from gatedrnn.batching import make_batch
from gatedrnn.evaluation import evaluate
from gatedrnn.model import SequenceModel, music_model, recall_model, speech_model
from gatedrnn.network import Network
from gatedrnn.outputs import BernoulliOutput, GaussianMixtureOutput
from gatedrnn.units import UNITS
from gatedrnn.variants import VARIANTS, apply_variant

FORMS = [("tanh", {}), ("gru", {}), ("gru", {"reset": "after"}), ("lstm", {}), ("lstm", {"peepholes": False})]


def population(unit, options=None, members=3):
    """A model of 4 units, and parameters (P, N) away from their starting values."""
    model = music_model(unit, 4, **options or {})
    theta = model.init(range(members), torch.float64)
    noise = torch.randn(theta.shape, dtype=theta.dtype, generator=torch.Generator().manual_seed(1))
    return model, theta + 0.5 * noise


@pytest.fixture
def rolls():
    rng = np.random.default_rng(4)
    return [(rng.random((length, 88)) < 0.1).astype(np.uint8) for length in (6, 3, 9)]


@pytest.fixture
def network():
    model, theta = population("gru")
    return Network(model, theta[1], data="bach_chorales")


@pytest.mark.parametrize("unit, options", FORMS)
def test_a_network_is_its_row_of_the_population(unit, options, rolls):
    model, theta = population(unit, options)
    batch, network = make_batch(rolls, "music", torch.float64), Network(model, theta[1])
    x, target, mask = batch.x[0], batch.target[0], batch.mask[0]
    torch.testing.assert_close(network.predict(x), model.predict(theta, batch.x)[1])
    torch.testing.assert_close(network.hidden(x), model.hidden(theta, batch.x)[1])
    torch.testing.assert_close(network.nll(batch), model.nll(theta, batch)[1])
    torch.testing.assert_close(network.nll(x, target, mask), network.nll(batch))
    torch.testing.assert_close(network.nll(x, target)[:3], network.nll(batch)[:3])  # no mask: every step is real
    assert network.nll(x, target)[8, 1] > 0 == network.nll(batch)[8, 1]
    assert network.evaluate(rolls) == evaluate(model, theta[[1]], rolls)[0]
    torch.testing.assert_close(network.hidden(x) @ network.W_out + network.b_out, network.predict(x))


@pytest.mark.parametrize("unit, options", FORMS)
def test_gates_are_those_of_the_cell_and_their_states_those_of_the_recurrence(unit, options, rolls):
    model, theta = population(unit, options)
    x, network = make_batch(rolls, "music", torch.float64).x[0], Network(model, theta[1])
    gates = network.gates(x)
    assert tuple(gates) == UNITS[unit].parts and all(g.shape == (9, 3, 4) for g in gates.values())
    torch.testing.assert_close(gates["h"], network.hidden(x))
    assert all(((gates[name] > 0) & (gates[name] < 1)).all() for name in UNITS[unit].sigmoid_gates)
    assert not any(gate.requires_grad for gate in gates.values())


def test_steps_one_by_one_are_the_whole_sequence(network):
    x, state = torch.randn(5, 2, 88, dtype=torch.float64), None
    whole = network.predict(x)
    for t in range(5):
        a, state = network.step(x[t], state)
        torch.testing.assert_close(a, whole[t])


def test_parameters_are_views_and_the_cell_is_a_copy(network):
    network.parameters["b_out"].fill_(2.0)
    assert (network.b_out == 2).all() and (network.theta[-88:] == 2).all()
    cell = network.cell
    cell.W.data.fill_(0.0)
    assert network.parameters["W"].abs().min() > 0


def test_input_in_another_precision_is_taken_in_the_networks(network):
    x = torch.ones(2, 1, 88)
    assert network.predict(x).dtype == torch.float64
    single = network.to(torch.float32)
    assert single.predict(x).dtype == torch.float32 and single.data == network.data
    torch.testing.assert_close(single.predict(x).double(), network.predict(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda n: n.predict(torch.zeros(7, 88)), r"x must have shape \(T, B, 88\), not \(7, 88\)"),
        (lambda n: n.predict(torch.zeros(7, 2, 80)), r"x must have shape \(T, B, 88\), not \(7, 2, 80\)"),
        (lambda n: n.gates(torch.zeros(1, 7, 2, 88)), r"x must have shape \(T, B, 88\), not \(1, 7, 2, 88\)"),
        (lambda n: n.nll(torch.zeros(7, 2, 88)), "needs a target"),
        (
            lambda n: n.nll(torch.zeros(7, 2, 88), torch.zeros(6, 2, 88)),
            r"target must have shape .*, not \(1, 6, 2, 88\)",
        ),
        (lambda n: n.evaluate([]), "no sequence to score"),
        (lambda n: Network(n.model, n.theta[None]), r"theta must have shape \(12680,\)|theta must have shape \(\d+,\)"),
        (lambda n: Network(n.model, n.theta.half()), "float32 or float64, not float16"),
        (lambda n: Network(n.model, n.theta.numpy().tolist()), "not a list"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(network, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(network)


MODELS = [
    music_model("lstm", 4),
    music_model("lstm", 4, peepholes=False),
    music_model("gru", 4, reset="after"),
    speech_model("tanh", 4),
    SequenceModel("gru", 3, 2, GaussianMixtureOutput(2, 5, 1e-3)),
    SequenceModel("tanh", 3, 2, BernoulliOutput(6)),
    recall_model("gru", 4),
    *(apply_variant(music_model("gru", 4), name) for name in VARIANTS["gru"]),
    *(apply_variant(music_model("lstm", 4), name) for name in VARIANTS["lstm"]),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_network_is_loaded_as_it_was(model, dtype, tmp_path):
    network = Network(model, model.init([3], dtype)[0], data="jsb_chorales")
    loaded = Network.load(network.save(tmp_path / "network.npz"))
    assert (loaded.model, loaded.data) == (model, "jsb_chorales")
    assert torch.equal(loaded.theta, network.theta) and loaded.theta.dtype == dtype
    assert [path.name for path in tmp_path.iterdir()] == ["network.npz"]


def test_a_network_that_is_not_finite_is_not_written_and_leaves_what_was_there(network, tmp_path):
    path = network.save(tmp_path / "network.npz")
    before = path.read_bytes()
    network.theta[7] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        network.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="does not exist: make it first"):
        network.save(tmp_path / "missing" / "network.npz")


def written(path, network, /, about=None, **changes):
    """A file like the one that `save` writes, with something else in it."""
    network.save(path)
    stored = dict(np.load(path))
    if about is not None:
        stored["network"] = json.dumps(about(json.loads(str(stored["network"]))))
    np.savez(path, **stored | changes)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"theta": np.zeros((1, 7))},
        {"theta": np.array(["a", "b"])},
        {"theta": np.zeros(3, np.int64)},
        {"network": "not JSON"},
        {"network": "null"},
        {"network": "[1, 2]"},
        {"network": "[" * 100_000},
        {"extra": np.zeros(3)},
        {"about": lambda about: about | {"more": 1}},
        {"about": lambda about: about | {"data": 3}},
        {"about": lambda about: about | {"model": None}},
        {"about": lambda about: about | {"model": about["model"] | {"unit": "elman"}}},
        {"about": lambda about: about | {"model": about["model"] | {"hidden_size": "4"}}},
        {"about": lambda about: about | {"model": about["model"] | {"hidden_size": 5}}},
        {"about": lambda about: about | {"model": about["model"] | {"progress": True}}},
        {"about": lambda about: about | {"model": about["model"] | {"output": {"name": "print", "size": 88}}}},
        {"about": lambda about: about | {"model": about["model"] | {"output": None}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_foreign_content_is_refused_in_a_sentence(changes, network, tmp_path):
    path = written(tmp_path / "network.npz", network, **changes)
    with pytest.raises(ValueError, match="is not a network that `gatedrnn train` or `Network.save` wrote"):
        Network.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_file_with_parameters_that_are_not_finite_is_refused(value, network, tmp_path):
    theta = network.theta.numpy().copy()
    theta[5] = value
    with pytest.raises(ValueError, match="holds NaN or infinity among its parameters"):
        Network.load(written(tmp_path / "network.npz", network, theta=theta))


def test_parameters_in_another_precision_are_refused(network, tmp_path):
    with pytest.raises(ValueError, match="is not a network"):
        Network.load(written(tmp_path / "network.npz", network, theta=network.theta.half().numpy()))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04\x95", b"hello"])
def test_a_damaged_or_foreign_file_is_refused(content, tmp_path):
    path = tmp_path / "network.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a network"):
        Network.load(path)
    with pytest.raises(ValueError, match="there is no file"):
        Network.load(tmp_path / "other.npz")


def test_a_pickle_is_never_opened(network, tmp_path):
    path = network.save(tmp_path / "network.npz")
    stored = dict(np.load(path))
    np.savez(path, **stored | {"theta": np.array([{"a": 1}], dtype=object)}, allow_pickle=True)
    with pytest.raises(ValueError, match="is not a network"):
        Network.load(path)

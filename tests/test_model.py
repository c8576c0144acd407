"""The model against its cells, its parameter counts against Table 1, and its single step against whole sequences."""

import pytest
import torch

from gatedrnn.batching import Batch, make_batch
from gatedrnn.model import SequenceModel, music_model, speech_model
from gatedrnn.network import Network
from gatedrnn.outputs import BernoulliOutput, GaussianMixtureOutput
from gatedrnn.units import UNITS

FORMS = [("tanh", {}), ("gru", {}), ("gru", {"reset": "after"}), ("lstm", {}), ("lstm", {"peepholes": False})]


def small(unit, options):
    return SequenceModel(unit, 5, 3, BernoulliOutput(5), **options)


def scattered(model, seeds):
    """Parameters away from their starting values, so that no bias or peephole is zero."""
    theta = model.init(seeds, torch.float64)
    return theta + 0.5 * torch.randn(theta.shape, dtype=theta.dtype, generator=torch.Generator().manual_seed(1))


def inputs(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("unit, options", FORMS)
def test_hidden_states_are_those_of_each_members_cell(unit, options):
    model = small(unit, options)
    theta, x = scattered(model, [0, 1, 2]), inputs(3, 6, 2, 5)
    h = model.hidden(theta, x)
    for member in range(3):
        cell = Network(model, theta[member]).cell
        torch.testing.assert_close(h[member], cell.run(x[member])["h"])


@pytest.mark.parametrize("unit, options", FORMS)
def test_steps_one_by_one_are_the_whole_sequence(unit, options):
    model = small(unit, options)
    theta, x = scattered(model, [0, 1]), inputs(2, 6, 3, 5)
    whole, state = model.predict(theta, x), None
    for t in range(6):
        a, state = model.step(theta, x[:, t], state)
        torch.testing.assert_close(a, whole[:, t])


@pytest.mark.parametrize("unit, options", FORMS)
def test_theta_holds_every_parameter_once(unit, options):
    model = small(unit, options)
    theta = model.init([0, 7])
    assert theta.shape == (2, model.num_parameters) and theta.dtype == torch.float32
    parts = model.unflatten(theta)
    assert {name: tuple(part.shape[1:]) for name, part in parts.items()} == model.shapes
    assert torch.equal(torch.cat([part.flatten(1) for part in parts.values()], dim=1), theta)
    assert torch.equal(model.init([7])[0], theta[1]) and not torch.equal(theta[0], theta[1])


@pytest.mark.parametrize("unit, count", [("lstm", 169_065), ("gru", 168_888), ("tanh", 168_400)])
def test_speech_models_have_the_recurrent_parameters_of_table_1(unit, count):
    assert speech_model(unit).num_recurrent_parameters == count


@pytest.mark.parametrize("unit, count", [("lstm", 251_385), ("gru", 264_648), ("tanh", 336_820)])
def test_speech_models_with_their_output_layer(unit, count):
    model = speech_model(unit)
    assert isinstance(model.output, GaussianMixtureOutput) and model.num_parameters == count


@pytest.mark.parametrize("unit, count", [("lstm", 22_812), ("gru", 24_246), ("tanh", 29_396)])
def test_music_models_at_the_96_pitches_of_jsb(unit, count):
    size = music_model(unit).hidden_size
    assert SequenceModel(unit, 96, size, BernoulliOutput(96)).num_parameters == count


def test_nll_of_padding_is_zero_and_padding_changes_nothing():
    model = music_model("gru", 4)
    theta = model.init([0], torch.float64)
    rolls = [(inputs(t, 88) > 1).numpy().astype("uint8") for t in (3, 7)]
    together = model.nll(theta, make_batch(rolls, "music", torch.float64))
    assert not together[0, 3:, 0].any()
    for b, roll in enumerate(rolls):
        alone = model.nll(theta, make_batch([roll], "music", torch.float64))
        torch.testing.assert_close(together[0, : len(roll), b], alone[0, :, 0])


def test_float32_and_float64_start_at_the_same_point():
    model = small("lstm", {})
    assert torch.equal(model.init([3]), model.init([3], torch.float64).float())


@pytest.mark.parametrize("make", [music_model, speech_model])
def test_an_unknown_unit_lists_the_known_ones(make):
    with pytest.raises(ValueError, match="tanh, gru, lstm"):
        make("elman")


@pytest.mark.parametrize("unit", UNITS)
def test_hidden_size_zero_is_refused(unit):
    with pytest.raises(ValueError, match="hidden_size must be an integer of at least 1"):
        music_model(unit, 0)


def test_unknown_reset_is_refused():
    with pytest.raises(ValueError, match="'before' or 'after'"):
        music_model("gru", reset="never")


@pytest.mark.parametrize("seeds", [3, [], "7", None, 1.0, [0.5], ["7"]])
def test_seeds_that_are_no_list_are_refused(seeds):
    with pytest.raises(ValueError, match=r"one seed a member, such as \[0\], not"):
        music_model("gru", 4).init(seeds)


@pytest.mark.parametrize(
    "unit, options, sentence",
    [
        ("gru", {"peepholes": False}, "only the LSTM has peepholes to leave out"),
        ("tanh", {"peepholes": False}, "only the LSTM has peepholes to leave out"),
        ("lstm", {"reset": "after"}, "only the GRU has a reset gate"),
        ("tanh", {"reset": "after"}, "only the GRU has a reset gate"),
        ("lstm", {"independent": True}, "only a GRU's gates can be made independent"),
        ("gru", {"squash": False}, "only the LSTM has a tanh on its memory"),
        ("gru", {"held": (("f", "one"),)}, r"held must be pairs of a gate \(z, r, h_tilde\) and how"),
        ("lstm", {"held": (("i", "shut"),)}, r"how \(one, constant, input, complement"),
        ("gru", {"held": (("z", "complement"),)}, "complement where there is a gate f"),
    ],
)
def test_an_option_of_another_unit_is_refused(unit, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        music_model(unit, **options)


def test_a_start_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="start must be one of authors, glorot, modern, not 'zero'"):
        music_model("gru", 4).init([0], start="zero")


@pytest.mark.parametrize("unit", UNITS)
def test_a_state_with_a_part_too_many_or_too_few_is_refused(unit):
    model = music_model(unit, 4)
    for count in {0, 1, 2} - {len(UNITS[unit].state)}:
        with pytest.raises(ValueError, match=f"the state of '{unit}' has the parts .* got {count} of"):
            model.step(model.init([0]), torch.zeros(1, 2, 88), (torch.zeros(1, 2, 4),) * count)


# of seeds 0 and 7: the first three parameters of each, then the sum of all, as the recorded runs had them
STARTS = {
    "tanh": [0.0940106, 0.041564, -0.0081234, -0.0441239, -0.0452613, 0.0724186, -3.32655, -20.52486],
    "gru": [0.0940106, 0.041564, -0.0081234, -0.0441239, -0.0452613, 0.0724186, 20.06894, -10.96475],
    "lstm": [0.0940106, 0.041564, -0.0081234, -0.0441239, -0.0452613, 0.0724186, -8.36684, -26.63582],
}


@pytest.mark.parametrize("unit", UNITS)
def test_the_starting_point_of_the_recorded_runs_has_not_moved(unit):
    theta = music_model(unit).init([0, 7])
    found = theta[:, :3].flatten().tolist() + theta.double().sum(1).tolist()
    assert found == pytest.approx(STARTS[unit], abs=2e-5)


def test_shapes_that_do_not_fit_are_named():
    model = music_model("gru", 4)
    theta, x = model.init([0, 1]), torch.zeros(1, 7, 2, 88)
    N = model.num_parameters
    with pytest.raises(ValueError, match=rf"theta must have shape \(P, {N}\), not \({N},\)"):
        model.predict(theta[0], x)
    with pytest.raises(ValueError, match=r"x must have shape \(P or 1, T, B, 88\) with P = 2, not \(7, 2, 88\)"):
        model.predict(theta, x[0])
    with pytest.raises(ValueError, match=r"x must have shape .* with P = 2, not \(3, 7, 2, 88\)"):
        model.predict(theta, x.expand(3, -1, -1, -1))
    with pytest.raises(ValueError, match=r"mask must have shape \(P or 1, T, B\) with P = 2, T = 7, B = 2, not"):
        model.nll(theta, Batch(x, x, torch.ones(1, 7, 3)))

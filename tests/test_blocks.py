"""The likelihood of a model of music in one piece: the same as from the recurrence and the output layer."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

numba = pytest.importorskip("numba")

import numpy as np  # noqa: E402

from gatedrnn import blocks  # noqa: E402
from gatedrnn.batching import Batch  # noqa: E402
from gatedrnn.model import SequenceModel, music_model, speech_model  # noqa: E402
from gatedrnn.outputs import BernoulliOutput, RecallOutput  # noqa: E402
from gatedrnn.recurrence import use_engine  # noqa: E402
from gatedrnn.variants import apply_variant  # noqa: E402

FORMS = [("tanh", {}), ("gru", {}), ("lstm", {}), ("lstm", {"peepholes": False}), ("lstm", {"squash": False})]
SHAPES = {  # P, T, B, D, H, K, the share of the input that is not zero
    "one of everything": (1, 1, 1, 1, 1, 1, 1.0),
    "one sequence, several blocks": (1, 300, 1, 5, 3, 4, 0.1),
    "one step": (3, 1, 4, 6, 5, 2, 0.1),
    "a roll, several blocks": (2, 37, 9, 20, 6, 7, 0.05),
    "dense, several blocks": (3, 33, 4, 5, 8, 3, 1.0),
    "silence": (2, 5, 3, 4, 2, 4, 0.0),
}


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    with use_engine("compiled"):
        yield


def problem(unit: str, options: dict, shape: tuple, shared: bool = False, dtype: torch.dtype = torch.float64):
    """A model, parameters that need a gradient, and a batch of random numbers with sequences of several lengths."""
    P, T, B, D, H, K, density = shape
    model = SequenceModel(unit, D, H, BernoulliOutput(K), **options)
    generator = torch.Generator().manual_seed(0)
    draw = {"dtype": torch.float64, "generator": generator}
    theta = torch.randn(P, model.num_parameters, **draw) / max(H, 4) ** 0.5
    axes = (1 if shared else P, T, B)
    x = torch.randn(*axes, D, **draw) * (torch.rand(*axes, D, **draw) < density)
    target, lengths = torch.rand(*axes, K, **draw) < 0.3, torch.randint(1, T + 1, (axes[0], 1, B), generator=generator)
    mask = torch.arange(T)[:, None] < lengths
    return model, theta.to(dtype).requires_grad_(), Batch(x.to(dtype), target.to(dtype), mask)


def both(model, theta, batch, loss=torch.sum) -> list[tuple]:
    """Likelihood and gradient, in one piece and by the recurrence in PyTorch."""
    found = []
    for name in ("compiled", "torch"):
        with use_engine(name):
            nll = model.nll(theta, batch)
            assert ("_NLL" in nll.grad_fn.name()) == (name == "compiled")
            found.append((nll.detach(), *torch.autograd.grad(loss(nll), theta)))
    return found


def assert_same(found: list[tuple]) -> None:
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * float(theirs.abs().max()))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("unit, options", FORMS)
def test_equal_to_the_recurrence_in_float64(unit: str, options: dict, shape: tuple, shared: bool):
    assert_same(both(*problem(unit, options, shape, shared)))


@pytest.mark.parametrize("T, B", [(4, 0), (0, 3), (0, 0)])
@pytest.mark.parametrize("unit, options", FORMS)
def test_without_sequences_or_steps_the_gradient_is_zero(unit: str, options: dict, T: int, B: int):
    model, theta, batch = problem(unit, options, (2, 1, 1, 6, 5, 4, 0.5))
    parts = (batch.x, batch.target, batch.mask)
    batch = Batch(*(part.repeat(1, T, B, *[1] * (part.ndim - 3)) for part in parts))
    found = both(model, theta, batch)
    assert found[0][0].shape == (2, T, B) and (found[0][1] == 0).all()
    torch.testing.assert_close(*found)


ARRIVALS = {
    "permuted": lambda nll: (nll.permute(2, 0, 1) * torch.linspace(0, 1, nll.numel()).view(nll.shape[2], -1, 37)).sum(),
    "non-contiguous": lambda nll: nll[:, ::2].sum() + nll[..., 1::2].square().sum(),
    "of the last step only": lambda nll: nll[:, -1].sum(),
    "the mean of each member": lambda nll: nll.mean((1, 2)).prod(),
}


@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("unit, options", FORMS[:3])
def test_a_gradient_counts_the_same_however_it_lies_in_memory(unit: str, options: dict, arrival: str):
    assert_same(both(*problem(unit, options, SHAPES["a roll, several blocks"]), ARRIVALS[arrival]))


@pytest.mark.parametrize("unit, options", FORMS)
def test_gradcheck(unit: str, options: dict):
    model, theta, batch = problem(unit, options, (2, 4, 3, 3, 2, 3, 0.5))
    assert torch.autograd.gradcheck(lambda theta: model.nll(theta, batch), theta)


@pytest.mark.parametrize("unit, name", [("lstm", "coupled"), ("gru", "no_reset"), ("lstm", "forget_only")])
def test_variants_with_held_gates(unit: str, name: str):
    _, _, batch = problem(unit, {}, (2, 9, 3, 6, 4, 5, 0.2))
    model = apply_variant(SequenceModel(unit, 6, 4, BernoulliOutput(5)), name)
    theta = model.init([0, 1], torch.float64).requires_grad_()
    outs = []
    for engine in ("compiled", "torch"):
        with use_engine(engine):
            nll = model.nll(theta, batch)
            outs.append((nll.detach(), *torch.autograd.grad(nll.sum(), theta)))
    assert_same(outs)


def test_the_recall_task_counts_its_last_step_only():
    model, theta, batch = problem("gru", {}, (2, 9, 3, 6, 4, 5, 0.2))
    model, mask = replace(model, output=RecallOutput(5)), torch.zeros_like(batch.mask)
    mask[:, -1] = True
    found = both(model, theta, Batch(batch.x, batch.target, mask))
    assert_same(found)
    assert (found[0][0][:, :-1] == 0).all()


def test_float32_is_about_as_accurate_as_in_pytorch():
    for unit, options in FORMS:
        shape = (2, 40, 8, 88, 46, 88, 0.05)
        exact = both(*problem(unit, options, shape))[1]
        ours, theirs = both(*problem(unit, options, shape, dtype=torch.float32))
        for k, x in enumerate(exact):
            error, usual = ((found[k] - x).abs().max() / x.abs().max() for found in (ours, theirs))
            assert error < max(4 * usual, 1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("unit, options", FORMS[:3])
def test_what_is_not_a_number_reaches_the_caller(unit: str, options: dict, dtype: torch.dtype, bad: float):
    """Training knows a diverged member by it, and the others go on."""
    model, theta, batch = problem(unit, options, (2, 5, 2, 3, 4, 3, 1.0), dtype=dtype)
    for name in ("W", "U", "b", "W_out", "b_out"):
        poisoned = theta.detach().clone()
        model.parts(poisoned)[name][1] = bad
        ours, theirs = both(model, poisoned.requires_grad_(), batch)
        for found, reference in zip(ours, theirs, strict=True):
            finite = found.flatten(1).isfinite().all(1)
            assert finite[0] and finite[1] == reference[1].isfinite().all()
        assert not ours[0][1].isfinite().all() or (name in "WUb" and bad == bad)  # an infinite gate is 0 or 1


def test_a_graph_can_be_gone_through_again_but_not_with_other_parameters():
    model, theta, batch = problem("gru", {}, (2, 9, 3, 6, 4, 5, 0.2))
    nll = model.nll(theta, batch).sum()
    first, again = (torch.autograd.grad(nll, theta, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)
    with torch.no_grad():
        theta.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(nll, theta)


def test_what_it_does_not_cover_takes_the_recurrence():
    model, theta, batch = problem("gru", {}, (2, 9, 3, 6, 4, 5, 0.2))

    def way(model, theta, batch, *keep) -> bool:
        return "_NLL" in model.nll(theta, batch, *keep).grad_fn.name()

    assert way(model, theta, batch)
    assert not way(model, theta, batch, torch.ones(2, 9, 3, 4, dtype=torch.float64))
    assert not way(model, theta, Batch(batch.x.clone().requires_grad_(), batch.target, batch.mask))
    for options in ({"reset": "after"}, {"independent": True}):
        other = replace(model, **options)
        assert not way(other, other.init([0, 1], torch.float64).requires_grad_(), batch)
    speech = speech_model("gru", 4)
    noise = Batch(torch.randn(1, 3, 2, 20), torch.randn(1, 3, 2, 10), torch.ones(1, 3, 2, dtype=torch.bool))
    assert not way(speech, speech.init([0]).requires_grad_(), noise)


def test_without_a_gradient_the_likelihood_is_the_same():
    model, theta, batch = problem("lstm", {}, (2, 9, 3, 6, 4, 5, 0.2))
    with torch.no_grad():
        nll = model.nll(theta, batch)
    assert not nll.requires_grad and torch.equal(nll, model.nll(theta, batch))


def test_the_notes_of_a_roll():
    x = np.array([[0, 2.0, 0], [0, 0, 0], [3.0, 0, np.nan]])
    starts, places, values = blocks.notes(x)
    assert starts.tolist() == [0, 1, 1, 3] and places[:3].tolist() == [1, 0, 2]
    np.testing.assert_array_equal(values, [2, 3, np.nan])


def test_the_paper_sizes_take_the_short_way_through_rolls():
    roll = (torch.rand(1, 50, 4, 88, generator=torch.Generator().manual_seed(0)) < 0.05).float()
    theta = music_model("gru").init([0]).requires_grad_()
    flat = roll.view(-1, 88).numpy()
    assert blocks.few(blocks.Roll(flat, *blocks.notes(flat)))
    found = both(music_model("gru"), theta, Batch(roll, roll, torch.ones(1, 50, 4, dtype=torch.bool)))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)

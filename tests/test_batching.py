import numpy as np
import pytest
import torch

from gatedrnn import batching, datasets, preparation, sources
from gatedrnn.batching import (
    Batch,
    buckets,
    count_steps,
    epoch_batches,
    epoch_plan,
    evaluation_batches,
    make_batch,
)
from gatedrnn.evaluation import evaluate
from gatedrnn.files import DataError
from gatedrnn.model import recall_model


def music(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.random((n, 88)) < 0.1).astype(np.uint8) for n in lengths]


def speech(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(n).astype(np.float32) for n in lengths]


LENGTHS = [1, 2, 3, 40, 41, 42, 43, 44, 45, 46, 60, 61, 62, 63, 64, 65, 66, 67, 68, 5000, 30, 30, 30, 31, 32, 33, 34]


def test_of_the_recall_task_only_the_last_step_counts():
    rolls = preparation.recall(3)["test"][:5]
    batch = batching.make_batch(list(rolls), "recall")
    assert batch.mask[0].sum(0).tolist() == [1] * 5 and batch.mask[0, -1].all()
    assert (batch.target[0, -1] == batch.x[0, 1]).all()  # the first frame, which is the second input
    model = recall_model("gru", 3)
    theta = model.init([0])
    score = evaluate(model, theta, list(rolls))[0]
    assert score.steps == score.sequences == 5
    assert score.pooled == pytest.approx(float(model.nll(theta, batch)[0, -1].mean()), rel=1e-5)


def test_music_batch_predicts_every_frame_from_those_before():
    sequences = music([4, 1, 7])
    batch = make_batch(sequences, "music", torch.float64)
    assert batch.x.shape == (1, 7, 3, 88) == batch.target.shape and batch.mask.shape == (1, 7, 3)
    assert batch.x.dtype == batch.target.dtype == torch.float64 and batch.mask.dtype == torch.bool
    for b, sequence in enumerate(sequences):
        n = len(sequence)
        assert batch.mask[0, :, b].sum() == n and batch.mask[0, :n, b].all()
        np.testing.assert_array_equal(batch.target[0, :n, b], sequence)
        np.testing.assert_array_equal(batch.x[0, 1:n, b], sequence[:-1])
        assert not batch.x[0, 0, b].any() and not batch.x[0, n:, b].any() and not batch.target[0, n:, b].any()


@pytest.mark.parametrize(("samples", "steps"), [(30, 1), (39, 1), (40, 2), (500, 48), (8000, 798)])
def test_speech_batch(samples, steps):
    (wave,) = sequences = speech([samples])
    batch = make_batch(sequences, "speech")
    assert batch.x.shape == (1, steps, 1, 20) and batch.target.shape == (1, steps, 1, 10) and batch.mask.all()
    for t in (0, steps // 2, steps - 1):
        np.testing.assert_array_equal(batch.x[0, t, 0], wave[10 * t : 10 * t + 20])
        np.testing.assert_array_equal(batch.target[0, t, 0], wave[10 * t + 20 : 10 * t + 30])


def test_speech_batch_of_two_lengths():
    batch = make_batch(speech([30, 95]), "speech")
    assert batch.mask.sum(dim=1).tolist() == [[1, 7]]


def test_float64_keeps_the_digits_of_float64():
    wave = np.random.default_rng(0).standard_normal(50)
    np.testing.assert_array_equal(make_batch([wave], "speech", torch.float64).x[0, 0, 0], wave[:20])


def test_to_moves_dtype_but_not_the_mask():
    batch = make_batch(music([3]), "music").to("cpu", torch.float64)
    assert (batch.x.dtype, batch.target.dtype, batch.mask.dtype) == (torch.float64, torch.float64, torch.bool)
    assert batch.to("cpu").x.dtype == torch.float64


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, key), getattr(other, key)) for key in ("x", "target", "mask"))


@pytest.mark.parametrize("batch_size", [1, 4, 27])
def test_with_an_order_of_its_own_a_member_sees_what_a_single_run_sees(batch_size):
    """The same sequences side by side in the same batches, in the same order; what is longer is padding."""
    sequences = music(LENGTHS)
    together = list(epoch_batches(sequences, "music", batch_size, [3, 8, 5], 2, order="own"))
    for member, seed in enumerate([3, 8, 5]):
        alone = list(epoch_batches(sequences, "music", batch_size, [seed], 2, order="own"))
        for one, all_members in zip(alone, together, strict=True):
            T = one.x.shape[1]
            for key in ("x", "target", "mask"):
                ours = getattr(all_members, key)[member]
                assert torch.equal(getattr(one, key)[0], ours[:T]) and not ours[T:].any()
    if batch_size == 4:
        assert len({tuple(contents(together, member)) for member in range(3)}) == 3


@pytest.mark.parametrize("epoch", [0, 5])
def test_member_of_a_population_sees_what_a_single_run_sees(epoch):
    sequences = music(LENGTHS)
    together = list(epoch_batches(sequences, "music", 4, [3, 8, 3], epoch))
    for member, seed in enumerate([3, 8, 3]):
        alone = list(epoch_batches(sequences, "music", 4, [seed], epoch))
        assert len(alone) == len(together)
        for one, all_members in zip(alone, together, strict=True):
            part = slice(member, member + 1)
            assert same(one, Batch(all_members.x[part], all_members.target[part], all_members.mask[part]))


def contents(batches, member):
    found = []
    for batch in batches:
        for b in range(batch.x.shape[2]):
            found.append(batch.target[member, batch.mask[member, :, b], b].numpy().astype(np.uint8).tobytes())
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 4, 8, 27, 100])
def test_every_sequence_once_for_every_member(batch_size):
    sequences = music(LENGTHS)
    expected = sorted(sequence.tobytes() for sequence in sequences)
    batches = list(epoch_batches(sequences, "music", batch_size, [0, 1], 2))
    assert [batch.x.shape[0] for batch in batches] == [2] * len(batches)
    assert sum(batch.x.shape[2] < batch_size for batch in batches) <= 1
    for member in range(2):
        assert sorted(contents(batches, member)) == expected
    assert all(batch.mask.any(dim=1).all() for batch in batches)


def test_seed_and_epoch_change_the_batches_and_nothing_else_does():
    sequences = music(range(40, 80))

    def run(seed, epoch):
        return contents(epoch_batches(sequences, "music", 4, [seed], epoch), 0)

    assert run(0, 0) == run(0, 0)
    assert run(0, 0) != run(1, 0) and run(0, 0) != run(0, 1)


def test_equal_seeds_share_one_axis():
    batches = list(epoch_batches(music([5, 6, 7]), "music", 2, [4, 4, 4], 0))
    assert {batch.x.shape[0] for batch in batches} == {1}


def test_buckets_of_equal_lengths_are_one():
    assert len(buckets([500] * 1000, 8)) == 1
    found = buckets(LENGTHS, 4)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(LENGTHS)))
    assert len(found[0]) % 4 == len(LENGTHS) % 4, "the short batch is among the longest sequences"


@pytest.mark.parametrize("name", ["nottingham", "muse_data", "bach_chorales"])
def test_padding_stays_small(name):
    """Of a padded epoch at batch size 8, less than a tenth is padding."""
    if sources.source(name).here() is None and name != "bach_chorales":
        pytest.skip(f"{name} is not at hand: run `gatedrnn data fetch {name}` or set GATEDRNN_DATA")
    lengths = list(map(count_steps, datasets.load(name).train))
    padded = sum(T * chosen.size for T, chosen in epoch_plan(lengths, 8, [0], 0))
    assert 1 <= padded / sum(lengths) < 1 / 0.9


@pytest.mark.parametrize("kind", ["music", "speech"])
def test_evaluation_takes_every_sequence_once(kind):
    sequences = music([3, 9, 1, 4]) if kind == "music" else speech([30, 90, 45, 61])
    seen = []
    for indices, batch in evaluation_batches(sequences, kind, 3, torch.float64):
        assert same(batch, make_batch([sequences[i] for i in indices], kind, torch.float64))
        seen += indices.tolist()
    assert sorted(seen) == [0, 1, 2, 3]
    assert [count_steps(sequences[i]) for i in seen] == sorted(map(count_steps, sequences), reverse=True)
    assert list(evaluation_batches([], kind)) == []


def test_sequences_that_cannot_be_used_make_no_batch():
    with pytest.raises(DataError, match="Sequence 1 .* NaN"):
        make_batch([*music([3]), np.full((4, 88), np.nan)], "music")


def test_batches_of_an_epoch_are_not_checked_again(monkeypatch):
    """A `Dataset` has checked them once, and an epoch asks no more."""
    monkeypatch.setattr(batching, "check_sequences", lambda *_: pytest.fail("checked again"))
    assert len(list(epoch_batches(music([3, 4]), "music", 2, [0], 0))) == 1
    assert len(list(evaluation_batches(music([3, 4]), "music"))) == 1


def test_an_unknown_order_is_refused():
    with pytest.raises(DataError, match="no order 'random' of batches: use 'shared' or 'own'"):
        next(epoch_batches(music([3]), "music", 1, [0], 0, order="random"))


def test_nothing_to_batch():
    with pytest.raises(DataError, match="one sequence at least"):
        make_batch([], "music")
    for sequences, size in (([], 2), (music([2]), 0)):
        with pytest.raises(DataError, match="one sequence at least, and a batch size of 1"):
            next(epoch_batches(sequences, "music", size, [0], 0))


def test_members_may_have_an_order_of_their_own():
    lengths, seeds = [5, 9, 9, 8, 3, 2, 2, 7, 6, 4, 1], [3, 4, 5]
    together = epoch_plan(lengths, 2, seeds, 7, "own")
    orders = set()
    for p, seed in enumerate(seeds):
        alone = epoch_plan(lengths, 2, [seed], 7, "own")
        assert [chosen[p].tolist() for _, chosen in together] == [chosen[0].tolist() for _, chosen in alone]
        assert all(both >= one for (both, _), (one, _) in zip(together, alone, strict=True))
        seen = [i for _, chosen in alone for i in chosen[0].tolist()]
        assert sorted(seen) == list(range(len(lengths)))
        orders.add(tuple(lengths[chosen[0][0]] for _, chosen in alone))
    assert len(orders) == 3
    assert all(T >= max(lengths[i] for i in chosen.flat) for T, chosen in together)

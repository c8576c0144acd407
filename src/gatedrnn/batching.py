"""From sequences of many lengths to padded batches: little padding, the same for every member of a population.

P = population, T = steps, B = batch, D = input size, K = size of the target. A *step* is one prediction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch

from .datasets import check_sequences
from .files import DataError
from .protocol import Order
from .rolls import PITCHES
from .waveforms import HOP, WINDOW

PADDING = 0.08
"""The share of padding up to which neighbouring batches are joined to one bucket."""


@dataclass(frozen=True)
class Batch:
    """Padded sequences: x (1 or P, T, B, D), target (1 or P, T, B, K), mask (1 or P, T, B), True at real steps."""

    x: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Batch":
        """The same batch on a device; `dtype`, where given, is that of x and target, while the mask stays bool."""
        return Batch(self.x.to(device, dtype), self.target.to(device, dtype), self.mask.to(device))


def count_steps(sequence: np.ndarray) -> int:
    """Predictions in a sequence: the frames of a piano roll (T, 88), or (n - 20) // 10 of a waveform (n,)."""
    return len(sequence) if sequence.ndim == 2 else (len(sequence) - WINDOW) // HOP


def _assemble(groups: list[list[np.ndarray]], kind: str, steps: int, dtype: torch.dtype) -> Batch:
    """Pad `groups`, one list of sequences a member, to `steps` (T).

    Music: the target at t is frame t and the input is frame t - 1, zeros at the first step, so that every frame is
    predicted; of the recall task only the last one counts. Speech: 20 samples in, the next 10 out.
    """
    shape = (len(groups), steps, len(groups[0]))
    width_in, width_out = (WINDOW, HOP) if kind == "speech" else (PITCHES, PITCHES)
    numbers = np.uint8 if kind != "speech" else np.float64 if dtype == torch.float64 else np.float32
    x, target = np.zeros((*shape, width_in), numbers), np.zeros((*shape, width_out), numbers)
    mask = np.zeros(shape, bool)
    for p, group in enumerate(groups):
        for b, sequence in enumerate(group):
            n = count_steps(sequence)
            mask[p, n - 1 if kind == "recall" else 0 : n, b] = True
            if kind != "speech":
                x[p, 1:n, b] = sequence[:-1]
                target[p, :n, b] = sequence
            else:
                pieces = np.lib.stride_tricks.sliding_window_view(sequence, WINDOW + HOP)[::HOP]
                x[p, :n, b], target[p, :n, b] = pieces[:, :WINDOW], pieces[:, WINDOW:]
    return Batch(torch.from_numpy(x).to(dtype), torch.from_numpy(target).to(dtype), torch.from_numpy(mask))


def make_batch(sequences: Sequence[np.ndarray], kind: str, dtype: torch.dtype = torch.float32) -> Batch:
    """One batch, leading axis 1, of all `sequences`, padded to the longest. Raises DataError as `check_sequences`."""
    if not len(sequences):
        raise DataError("A batch needs one sequence at least.")
    check_sequences(sequences, kind)
    return _assemble([list(sequences)], kind, max(map(count_steps, sequences)), dtype)


def buckets(lengths: Sequence[int], batch_size: int, padding: float = PADDING) -> list[np.ndarray]:
    """Indices by falling length, cut into buckets that are padded to their longest sequence.

    Each holds whole batches, as many as fit while its padding stays within `padding`. The one short batch, if any, is
    that of the longest sequences, where a small batch also costs the least memory. A batch of the long tail that is
    beyond the tolerance by itself is a bucket by itself.
    """
    steps = np.asarray(lengths)
    order = np.argsort(-steps, kind="stable")
    cuts = [0, *range(len(order) % batch_size or batch_size, len(order), batch_size), len(order)]
    found, start = [], 0
    for this, following in zip(cuts[1:], [*cuts[2:], None], strict=True):
        if following is not None:
            joined = steps[order[start:following]]
            if 1 - joined.sum() / (joined[0] * len(joined)) <= padding:
                continue
        found.append(order[start:this])
        start = this
    return found


def epoch_plan(
    lengths: Sequence[int], batch_size: int, seeds: Sequence[int], epoch: int, order: Order = "shared"
) -> list[tuple[int, np.ndarray]]:
    """Which sequences meet in which batch of an epoch: pairs of a padded length T and indices (P or 1, B).

    Each member sees every sequence once. Buckets of similar length (see `buckets`) are the same for all; a member's
    seed, with the epoch, decides which sequences of a bucket share a batch. The order of the batches is decided by the
    epoch alone ("shared", so that all members share each batch's length), or by the member's seed as well ("own", and a
    batch is padded to the longest of the members'). Either way the member with seed s sees exactly what a single run
    with seed s sees. P is 1 where all seeds are equal. Raises DataError for an unknown order.
    """
    if order not in get_args(Order):
        raise DataError(f"There is no order {order!r} of batches: use {' or '.join(map(repr, get_args(Order)))}.")
    members = sorted(set(seeds)) if len(set(seeds)) == 1 else list(seeds)
    generators = [np.random.default_rng(np.random.SeedSequence([int(seed), int(epoch)])) for seed in members]
    slots = []
    for bucket in buckets(lengths, batch_size):
        orders = np.stack([generator.permutation(bucket) for generator in generators])
        for stop in range(len(bucket) % batch_size or batch_size, len(bucket) + 1, batch_size):
            slots.append((lengths[bucket[0]], orders[:, max(stop - batch_size, 0) : stop]))
    common = np.random.default_rng(np.random.SeedSequence([int(epoch)]))
    if order == "shared":
        return [slots[slot] for slot in common.permutation(len(slots))]
    whole = [slot for slot in slots if slot[1].shape[1] == batch_size]
    turns = np.stack([generator.permutation(len(whole)) for generator in generators]).T  # (slots, P)
    mixed = [
        (max(whole[slot][0] for slot in turn), np.stack([whole[slot][1][p] for p, slot in enumerate(turn)]))
        for turn in turns
    ]
    for short in (slot for slot in slots if slot[1].shape[1] < batch_size):  # one at most; its place is common to all
        mixed.insert(int(common.integers(len(slots))), short)
    return mixed


def epoch_batches(
    sequences: Sequence[np.ndarray],
    kind: str,
    batch_size: int,
    seeds: Sequence[int],
    epoch: int,
    dtype: torch.dtype = torch.float32,
    order: Order = "shared",
) -> Iterator[Batch]:
    """The batches of one epoch, as `epoch_plan` puts them together, with leading axis P = len(seeds), or 1 where all
    seeds are equal. The sequences are those of a `Dataset`, which has checked them. Raises DataError where there is
    none, and as `epoch_plan`.
    """
    if not len(sequences) or batch_size < 1:
        raise DataError("An epoch needs one sequence at least, and a batch size of 1 or more.")
    lengths = [count_steps(sequence) for sequence in sequences]
    for longest, chosen in epoch_plan(lengths, batch_size, seeds, epoch, order):
        yield _assemble([[sequences[i] for i in indices] for indices in chosen], kind, longest, dtype)


def evaluation_batches(
    sequences: Sequence[np.ndarray], kind: str, batch_size: int = 32, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Every sequence once, by falling length: (indices (B,), batch with leading axis 1)."""
    order = np.argsort([-count_steps(sequence) for sequence in sequences], kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        chosen = [sequences[i] for i in indices]
        yield indices, _assemble([chosen], kind, count_steps(chosen[0]), dtype)

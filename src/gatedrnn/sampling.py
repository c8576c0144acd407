"""From a trained model to what it has learnt: draw a piano roll or a waveform, one step after the other."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from .datasets import Dataset
from .network import Network
from .rolls import PITCHES, check_roll


@torch.no_grad()
def sample_roll(
    network: Network, steps: int, *, opening: ArrayLike | None = None, seed: int | np.random.Generator = 0
) -> np.ndarray:
    """Draw a piano roll from a music model, one step after the other: each pitch is on with its own probability.

    The model reads a zero frame first, as in training, then the opening (T0, 88) if there is one, and then what it has
    drawn itself. Returns uint8 (T0 + steps, 88), the opening first. The uniform numbers come from numpy, whose stream
    is the same on every machine.

    Raises ValueError when the model is not one of music, when steps is negative, when nothing would be returned, when
    the opening is not a piano roll, or when the model's output is not finite.
    """
    if network.model.kind != "music":
        raise ValueError("Only a model of music can draw a piano roll.")
    start = np.zeros((0, PITCHES), dtype=bool) if opening is None else check_roll(opening)
    if steps < 0 or len(start) + steps == 0:
        raise ValueError(f"steps must be at least {0 if len(start) else 1}; it is {steps}.")
    rng, state = np.random.default_rng(seed), None
    roll = np.concatenate([start, np.zeros((steps, PITCHES))]).astype(np.uint8)
    for t in range(len(roll)):
        frame = roll[t - 1] if t else np.zeros(PITCHES)
        a, state = network.step(torch.as_tensor(frame)[None], state)
        if t >= len(start):
            roll[t] = network.model.output.sample(_finite(a, t), rng)
    return roll


@torch.no_grad()
def sample_waveform(
    network: Network, steps: int, *, opening: ArrayLike | None = None, seed: int | np.random.Generator = 0
) -> np.ndarray:
    """Draw a waveform from a speech model, a block of 10 samples a step, in the standardised units of its training.

    At each step the model sees the last 20 samples and the next 10 are drawn from its mixture: first a component, then
    its Gaussians. It reads the opening (n,), n >= 20, in the same way, in windows of which the last one ends with it;
    without an opening it begins after 20 zeros, which are not returned. Returns float32 (n + 10 steps,), the
    opening first. The random numbers come from numpy, whose stream is the same on every machine; as each block depends
    on those before it, rounding can still tell long waveforms of two machines apart.

    Raises ValueError when the model is not one of speech, when steps is below 1, when the opening is not one axis of at
    least 20 finite samples, or when the model's output is not finite.
    """
    if network.model.kind != "speech":
        raise ValueError("Only a model of speech can draw a waveform.")
    if steps < 1:
        raise ValueError(f"steps must be at least 1; it is {steps}.")
    seen, hop = network.model.input_size, network.model.output.size
    start = np.zeros(seen, np.float32) if opening is None else np.asarray(opening, np.float32)
    if start.ndim != 1 or len(start) < seen:
        raise ValueError(f"An opening has one axis and at least {seen} samples; this one has shape {start.shape}.")
    if not np.isfinite(start).all():
        raise ValueError("The opening holds NaN or infinity.")
    rng = np.random.default_rng(seed)
    wave, state = np.concatenate([start, np.zeros(hop * steps, np.float32)]), None
    for now in range(seen + (len(start) - seen) % hop, len(wave), hop):
        a, state = network.step(torch.as_tensor(wave[now - seen : now])[None], state)
        if now >= len(start):
            wave[now : now + hop] = network.model.output.sample(_finite(a, now), rng)
    return wave[seen if opening is None else 0 :]


def _finite(a: torch.Tensor, where: int) -> torch.Tensor:
    """What the output layer gives for a batch of one, a (1, width) -> (width,), if it is finite."""
    if not a.isfinite().all():
        raise ValueError(f"The model's output is not finite at step or sample {where}: theta holds NaN or infinity.")
    return a[0]


def unstandardise(waveform: ArrayLike, dataset: Dataset) -> np.ndarray:
    """Return a standardised waveform (n,) as `audio` takes it: float32 (n,), where 1 is full scale of 16 bits.

    `dataset` is the one whose mean and std standardised it. What is beyond full scale is cut off, as it is in a sound
    card. Raises ValueError for a data set of music.
    """
    if dataset.kind != "speech":
        raise ValueError(f"{dataset.name} is a data set of music: only speech is standardised.")
    return np.clip((np.asarray(waveform) * dataset.std + dataset.mean) / 32768, -1, 1).astype(np.float32)

"""What a waveform is: one axis of samples, (n,), 16,000 a second, read by a model in windows (section 4.1)."""

import numpy as np

SAMPLE_RATE = 16_000
"""Samples a second of every speech data set, and of every sound that the package makes."""

WINDOW, HOP = 20, 10
"""Samples that a model sees at a step, and samples it predicts, which is also how far the next step is."""


def check_waveform(samples: np.ndarray) -> None:
    """Raise ValueError unless `samples` has one axis of finite numbers, and enough of them for one prediction.

    >>> check_waveform(np.zeros(30))
    """
    if samples.ndim != 1:
        raise ValueError(f"A waveform has one axis of samples; this one has shape {samples.shape}.")
    if len(samples) < WINDOW + HOP:
        raise ValueError(f"A first prediction needs {WINDOW + HOP} samples; this waveform has {len(samples)}.")
    if not np.isfinite(samples).all():
        raise ValueError("The waveform holds NaN or infinity.")

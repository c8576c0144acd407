"""Gated recurrent networks: the tanh unit, the LSTM and the GRU, as Chung et al. (2014) compare them.

Three lines train a GRU on Bach's chorales and score it:

    from gatedrnn import load, music_model, train
    result = train(music_model("gru"), load("bach_chorales"), learning_rates=[1e-3], seeds=[0])
    print(result.network().evaluate(load("bach_chorales").test))

The names below are imported when they are first used, so that what needs no torch does not wait for it.
"""

from importlib import import_module
from importlib.metadata import version

__version__ = version("gatedrnn")

HOMES = {
    "datasets": ("load",),
    "units": ("UNITS", "Unit"),
    "cells": ("TanhCell", "GRUCell", "LSTMCell"),
    "layers": ("TanhRNN", "GRU", "LSTM"),
    "model": ("SequenceModel", "music_model", "speech_model"),
    "protocol": ("Protocol",),
    "training": ("Result", "train"),
    "network": ("Network",),
    "evaluation": ("Evaluation", "evaluate"),
    "diagnostics": ("gradient_flow", "saturation", "step_jacobian"),
    "sampling": ("sample_roll", "sample_waveform"),
    "sound": ("audio", "save_midi"),
}  # module -> its names that are public here, which `__init__.pyi` tells type checkers
_HOME = {name: module for module, names in HOMES.items() for name in names}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

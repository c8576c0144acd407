"""Peak memory of training MuseData, the set with the longest pieces, with ten members: `python bench/memory.py gru`.

Trains for one epoch on the longest pieces alone (two batches of the study's size), with ten seeds so that every member
has batches of its own, and validates on the longest pieces. Prints the peak of this process in bytes.
"""

import resource
import sys
from dataclasses import replace

from gatedrnn.datasets import load
from gatedrnn.protocol import Protocol
from gatedrnn.study import Trial
from gatedrnn.training import train

MEMBERS, BATCHES = 10, 2
EVALUATED = 32  # at least as many sequences as `evaluate` takes at once


def longest(sequences, number: int) -> tuple:
    return tuple(sorted(sequences, key=len)[-number:])


def peak(unit: str) -> int:
    """Bytes: the largest resident size of this process so far, after training."""
    trial, data = Trial("paper", "muse_data", unit, max_epochs=1), load("muse_data", progress=False)
    protocol = Protocol(**trial.settings["protocol"])
    part = replace(data, train=longest(data.train, BATCHES * protocol.batch_size), valid=longest(data.valid, EVALUATED))
    rates, seeds = [1e-3] * MEMBERS, range(MEMBERS)
    train(trial.model, part, learning_rates=rates, seeds=seeds, protocol=protocol, progress=False, on_nan="drop")
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024  # kilobytes everywhere else


if __name__ == "__main__":
    print(peak(sys.argv[1]))

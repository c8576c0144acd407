"""What the package's own way costs: whole training, growth with the sizes, parts of an update, operations, memory."""

import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import ways
from plans import Configuration, Plan
from timing import load, quartiles, take_turns

from gatedrnn import files, sources
from gatedrnn.datasets import Dataset
from gatedrnn.model import music_model
from gatedrnn.protocol import Protocol
from gatedrnn.recurrence import use_engine
from gatedrnn.training import train
from gatedrnn.units import UNITS


def measure_growth(plan: Plan) -> dict:
    """Seconds an update of ours takes for the GRU of music as P, T and H grow, each alone from the plan's base."""
    points = {axis: [plan.base | {axis: value} for value in values] for axis, values in plan.growth.items()}
    runs = {}
    for point in (point for line in points.values() for point in line):
        model = music_model("gru", point["H"])
        runs[str(point)] = ways.ours(model, *ways.random_data(model, point["P"], point["T"], point["B"]))
    found = {"base": plan.base, "load": load()}
    times = take_turns(runs, 4 * plan.seconds)
    for axis, line in points.items():
        found[axis] = [{"value": point[axis], "seconds": quartiles(times[str(point)])} for point in line]
    return found


def measure_parts(plan: Plan) -> list[dict]:
    """Where the time of the GRU's update goes: pieces of ours, and the products, in and outside the loop.

    The backward pass and the gradient step cannot run alone: they are differences within a round.
    """
    found = []
    for kind, P, B in plan.parts:
        it = Configuration(kind, "gru", plan.base["T"], P, B)
        data = it.model, *ways.random_data(it.model, P, it.T, B)
        times = take_turns(ways.our_parts(*data) | ways.product_parts(*data), plan.seconds)
        pairs = zip(times["forward"], times["forward and backward"], times["update"], strict=True)
        backward, rest = zip(*((both - forward, update - both) for forward, both, update in pairs), strict=True)
        kept = {name: times[name] for name in ("forward", "update", "in the loop", "at once")}
        kept |= {"backward": backward, "gradient step": rest}
        row = asdict(it) | {"load": load(), "rounds": len(backward)}
        found.append(row | {"seconds": {name: quartiles(t) for name, t in kept.items()}})
    return found


def measure_training(plan: Plan) -> list[dict]:
    """A whole call of `train`, one epoch on random music with batches of 8, with either engine."""
    generator = np.random.default_rng(0)
    T = plan.base["T"]
    pieces = [(generator.random((int(n), 88)) < 0.05).astype(np.uint8) for n in generator.integers(T // 2, 2 * T, 80)]
    data = Dataset("random", "music", tuple(pieces[:64]), tuple(pieces[64:]), (), 0.5, "random", "bench/speed.py")

    def whole(engine: str, unit: str, P: int):
        with use_engine(engine):
            protocol = Protocol(max_epochs=1)
            train(music_model(unit), data, learning_rates=[1e-3] * P, seeds=range(P), protocol=protocol, progress=False)

    found = []
    for P in plan.training:
        for unit in plan.units:
            runs = {engine: partial(whole, engine, unit, P) for engine in ("compiled", "torch")}
            before, times = load(), take_turns(runs, plan.seconds)
            faster = [other / own for other, own in zip(times["torch"], times["compiled"], strict=True)]
            row = {"unit": unit, "P": P, "load": before, "rounds": len(faster), "compiled_is_faster": quartiles(faster)}
            found.append(row | {"seconds": {engine: quartiles(t) for engine, t in times.items()}})
    return found


def count_operations() -> dict:
    """Operations a step, by unit and way: what the interpreter and the dispatcher have to handle one by one."""
    counted = {"ours": ways.ours, "torch loops": ways.torch_loops, "torch.nn": ways.library}
    return {
        unit: {name: ways.operations_a_step(way, music_model(unit)) for name, way in counted.items()} for unit in UNITS
    }


def measure_memory() -> dict:
    """Peak bytes of training MuseData with ten members, a process for each unit."""
    try:
        sources.check("muse_data")
    except files.DataError:
        return {"left_out": "MuseData is not at hand: run `gatedrnn data fetch muse_data`"}
    script = Path(__file__).with_name("memory.py")
    peaks = {}
    for unit in UNITS:
        done = subprocess.run([sys.executable, script, unit], check=True, capture_output=True, text=True)
        peaks[unit] = int(done.stdout)
    return {"data": "muse_data", "P": 10, "peak_bytes": peaks}

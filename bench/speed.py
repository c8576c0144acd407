"""How fast each way of computing the three units is, side by side, and what the package's own way costs.

    make bench                              everything, about twenty minutes on one core of a quiet machine
    python bench/speed.py --plan gru        the GRU at the size for music, about a minute
    python bench/speed.py --plan tiny       small sizes that say nothing about speed: to see that it runs

`bench/ways.py` says what is compared. All ways do the same work on the same data. Within a configuration they take
turns: in each round every way runs once (a short one as often as fills 20 ms), in an order drawn anew, so that whatever
disturbs the machine disturbs all. Kept are the quartiles over rounds of the seconds an update takes, and of the ratio
to ours within the round. A way that takes members one after the other is timed on two of them, and its time scaled to
all, where all would take more than half a second ("members" says how many were timed). One process, one core.

The result is written whole after each configuration, so a run that was ended goes on where it was. It starts afresh
when the plan, the machine, a version, or the code that is timed has changed.

The file holds: environment and settings; `rows`, one for each configuration; `growth`, seconds an update of ours as P,
T and H grow, each alone; `parts`, where an update's time goes; `operations`, how many a step of time hands to PyTorch;
`memory`, the peak while training MuseData. Times are [first quartile, median, third quartile] in seconds; "load" is the
machine's load average just before.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ways
from timing import ROUNDS, free_memory, load, quartiles, take_turns, use_one_core, warm_up

from gatedrnn import datasets, files, records
from gatedrnn.model import SequenceModel, music_model, speech_model
from gatedrnn.units import UNITS

SCHEMA = 1
ROOT = Path(__file__).resolve().parents[1]
TIMED = ("bench/*.py", *(f"src/gatedrnn/{name}.py" for name in ("cells", "model", "outputs", "recurrence")))
SPARE = 1e9  # bytes that are left to others
IN_FULL = 0.5  # seconds up to which ways that take members in turn are timed on all of them
MODELS = {"music": music_model, "speech": speech_model}


@dataclass(frozen=True)
class Plan:
    """What is measured. seconds : for each configuration, unless three rounds take longer. base : of the growth."""

    kinds: tuple[str, ...] = ("music", "speech")
    units: tuple[str, ...] = tuple(UNITS)
    T: tuple[int, ...] = (128, 1000)
    P: tuple[int, ...] = (1, 10)
    B: tuple[int, ...] = (1, 8, 32)
    seconds: float = 3.0
    base: dict = field(default_factory=lambda: {"P": 10, "T": 128, "B": 8, "H": 46})
    growth: dict = field(
        default_factory=lambda: {
            "P": (1, 2, 5, 10, 20),
            "T": (32, 64, 128, 256, 512, 1024),
            "H": (23, 46, 92, 184),
        }
    )
    parts: tuple = (("music", 1, 8), ("music", 10, 8), ("music", 10, 32), ("speech", 10, 8))
    memory: bool = True


TINY = {"kinds": ("music",), "units": ("gru",), "T": (4,), "P": (2,), "B": (2,), "seconds": 0.1, "memory": False}
TINY["base"] = {"P": 2, "T": 4, "B": 2, "H": 46}
PLANS = {
    "full": Plan(),
    "gru": Plan(kinds=("music",), units=("gru",), T=(128,)),
    "tiny": Plan(**TINY, growth={"P": (1, 2), "T": (4, 8), "H": (23,)}, parts=(("music", 2, 2),)),
}


@dataclass(frozen=True)
class Configuration:
    kind: str
    unit: str
    T: int
    P: int
    B: int

    @property
    def model(self) -> SequenceModel:
        return MODELS[self.kind](self.unit)

    @property
    def work(self) -> float:
        """Multiplications in the products of an update of all members, roughly."""
        return 3.0 * self.T * self.P * self.B * self.model.num_parameters

    @property
    def room(self) -> float:
        """Bytes that one way needs at the most, roughly: what autograd keeps of a time step, times the time steps."""
        shapes = self.model.shapes
        return 4.0 * self.T * self.P * self.B * (4 * shapes["b"][0] + 12 * shapes["b_out"][0])

    def __str__(self) -> str:
        return f"{self.kind} {self.unit} T={self.T} P={self.P} B={self.B}"


def configurations(plan: Plan) -> list[Configuration]:
    """The plan's grid, the short ones of each kind first."""
    return [
        Configuration(kind, unit, T, P, B)
        for kind in plan.kinds
        for T in plan.T
        for P in plan.P
        for B in plan.B
        for unit in plan.units
    ]


def measure(it: Configuration, seconds: float, jax: bool) -> dict:
    """One row: every way, or why it was left out."""
    row = asdict(it) | {"load": load(), "ways": {}}
    together, in_turn = dict(ways.TOGETHER), dict(ways.IN_TURN)
    if not jax:
        together.pop("jax vmap"), in_turn.pop("jax")
        row["ways"] |= {name: {"left_out": "JAX is not installed"} for name in ("jax", "jax vmap")}
    # PyTorch and JAX each keep what they have once taken, so in the worst case the two need their room side by side
    free = free_memory() - SPARE
    if 2 * it.room > free and "jax vmap" in together:
        together.pop("jax vmap")
        row["ways"]["jax vmap"] = {"left_out": f"two ways need {2 * it.room / 1e9:.0f} GB, {free / 1e9:.0f} were free"}
    if it.room > free:
        return row | {"ways": {"ours": {"left_out": f"needs {it.room / 1e9:.0f} GB, {free / 1e9:.0f} were free"}}}
    model, (x, target) = it.model, ways.random_data(it.model, it.P, it.T, it.B)
    runs, members = {}, {}
    for name, way in in_turn.items():
        members[name] = min(it.P, 2)
        runs[name] = way(model, x[:2], target[:2])
        if it.P > 2 and warm_up(runs[name]) * it.P / 2 <= IN_FULL:
            members[name], runs[name] = it.P, way(model, x, target)
    for name, way in together.items():
        members[name], runs[name] = it.P, way(model, x, target)
    times = take_turns(runs, seconds)
    for name in runs:
        whole = [t * it.P / members[name] for t in times[name]]
        faster = [other / own for other, own in zip(whole, times["ours"], strict=True)]
        row["ways"][name] = {
            "members": members[name],
            "seconds": quartiles(whole),
            "steps_per_second": round(it.P * it.T * it.B / statistics.median(whole)),
            "ours_is_faster": quartiles(faster),
        }
    return row | {"rounds": len(times["ours"])}


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

    The backward pass and what follows the recurrence cannot run alone: they are differences within a round.
    """
    found = []
    for kind, P, B in plan.parts:
        it = Configuration(kind, "gru", plan.base["T"], P, B)
        data = it.model, *ways.random_data(it.model, P, it.T, B)
        times = take_turns(ways.our_parts(*data) | ways.product_parts(*data), plan.seconds)
        pairs = zip(times["forward"], times["forward and backward"], times["update"], strict=True)
        backward, rest = zip(*((both - forward, update - both) for forward, both, update in pairs), strict=True)
        kept = {name: times[name] for name in ("forward", "update", "in the loop", "at once")}
        kept |= {"backward": backward, "output, likelihood, update": rest}
        row = asdict(it) | {"load": load(), "rounds": len(backward)}
        found.append(row | {"seconds": {name: quartiles(t) for name, t in kept.items()}})
    return found


def count_operations() -> dict:
    """Operations a step, by unit and way: what the interpreter and the dispatcher have to handle one by one."""
    counted = {"ours": ways.ours, "torch.nn": ways.library, "cells": ways.cells}
    return {
        unit: {name: ways.operations_a_step(way, music_model(unit)) for name, way in counted.items()} for unit in UNITS
    }


def measure_memory() -> dict:
    """Peak bytes of training MuseData with ten members, a process for each unit."""
    try:
        datasets.check("muse_data")
    except files.DataError:
        return {"left_out": "MuseData is not at hand: run `gatedrnn data fetch muse_data`"}
    script = ROOT / "bench" / "memory.py"
    peaks = {}
    for unit in UNITS:
        done = subprocess.run([sys.executable, script, unit], check=True, capture_output=True, text=True)
        peaks[unit] = int(done.stdout)
    return {"data": "muse_data", "P": 10, "peak_bytes": peaks}


def settings_of(name: str, plan: Plan) -> dict:
    """What must agree for a run to go on: the plan, and the code that is timed."""
    code = hashlib.sha256()
    for path in sorted(path for pattern in TIMED for path in ROOT.glob(pattern)):
        code.update(path.read_bytes())
    return {"plan": name, "code": code.hexdigest()[:16]} | json.loads(json.dumps(asdict(plan)))


def begin(path: Path, environment: dict, settings: dict) -> dict:
    """What an earlier run with the same settings left, or nothing."""
    empty = {"schema": SCHEMA, "environment": environment, "settings": settings, "rows": []}
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return empty
    same = all(found.get(name) == empty[name] for name in ("schema", "environment", "settings"))
    print(f"going on with {path}" if same else f"{path} is of another plan, machine, version or code: starting afresh")
    return found if same else empty


def save(result: dict, path: Path) -> None:
    """Write the whole result, or nothing: a line for each part and each row, so that differences can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {name: json.dumps(value) for name, value in result.items()}
    parts["rows"] = "[\n" + ",\n".join(map(json.dumps, result["rows"])) + "\n]"
    with files.atomic(path) as file:
        file.write(("{\n" + ",\n".join(f'"{name}": {text}' for name, text in parts.items()) + "\n}\n").encode())


def steps(result: dict, plan: Plan, jax: bool) -> Iterator[tuple[str, float, ways.Run]]:
    """What is still missing: a label, the seconds it may take on a quiet machine, and how to measure it."""
    if plan.memory and "peak_bytes" not in result.get(
        "memory", {}
    ):  # first: a child process starts with its parent's peak
        yield "memory of training MuseData", 30.0, lambda: result.update(memory=measure_memory())
    if "operations" not in result:
        yield "operations of a step", 1.0, lambda: result.update(operations=count_operations())
    if "growth" not in result:
        yield "growth with P, T and H", 6 * plan.seconds, lambda: result.update(growth=measure_growth(plan))
    if "parts" not in result:
        seconds = 2 * len(plan.parts) * plan.seconds
        yield "parts of an update", seconds, lambda: result.update(parts=measure_parts(plan))
    done = {tuple(row[name] for name in ("kind", "unit", "T", "P", "B")) for row in result["rows"]}
    for it in configurations(plan):
        if tuple(asdict(it).values()) not in done:
            a_round = it.work * 8 / 45e9  # of all ways: about eight times what the products take
            about = 2.5 + a_round + max(plan.seconds, ROUNDS[0] * a_round)
            yield str(it), about, lambda it=it: result["rows"].append(measure(it, plan.seconds, jax))


def line(label: str, result: dict) -> str:
    """What was just measured, for the terminal: of a configuration, thousands of time steps a second."""
    if " T=" not in label:
        return result.get("memory", {}).get("left_out", "done") if label.startswith("memory") else "done"
    row = result["rows"][-1]
    found = {name: way["steps_per_second"] for name, way in row["ways"].items() if "left_out" not in way}
    return "  ".join(f"{name} {rate / 1e3:.1f}k" for name, rate in found.items()) or row["ways"]["ours"]["left_out"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", choices=PLANS, default="full", help="what to measure (default %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "book/results/speed.json", help="where the figures go")
    parser.add_argument("--seconds", type=float, help="for each configuration (default 3), at least three rounds")
    options = parser.parse_args()
    use_one_core()
    plan = PLANS[options.plan]
    plan = replace(plan, seconds=options.seconds or plan.seconds)
    environment = records.environment("cpu") | {"threads": 1}
    try:
        environment["versions"]["jax"], jax = version("jax"), True
    except PackageNotFoundError:
        jax = False
        print("JAX is not installed, so its two ways are left out: pip install -c constraints.txt -e '.[bench]'")
    result = begin(options.output, environment, settings_of(options.plan, plan))
    todo = list(steps(result, plan, jax))
    start, expected = time.perf_counter(), sum(about for _, about, _ in todo)
    print(f"{len(todo)} measurements to make, about {expected / 60:.0f} min on a quiet machine", flush=True)
    passed = 0.0
    for number, (label, about, run) in enumerate(todo, 1):
        run()
        save(result, options.output)
        passed += about
        left = (time.perf_counter() - start) / passed * (expected - passed)
        print(f"[{number}/{len(todo)}] {label}: {line(label, result)}   ({left / 60:.0f} min left)", flush=True)
    print(f"the figures are in {options.output}; `make execute NB=07_performance` puts them into the book")


if __name__ == "__main__":
    main()

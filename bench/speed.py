"""How fast each way of computing the three units is, side by side, and what the package's own way costs.

    make bench                              all that the book shows, about twenty minutes on one core of a quiet machine
    make bench QUICK=1                      music, T = 128, one and ten members, batches of 8 and 32: four minutes
    python bench/speed.py --plan speech     the sizes for speech, T = 128
    python bench/speed.py --plan quick --avx2   every library held to the vectors of older processors, of 256 bits
    python bench/speed.py --plan tiny       small sizes that say nothing about speed: to see that it runs

`bench/ways.py` says what is compared. All ways do the same work on the same data. Within a configuration they take
turns: in each round every way runs once (a short one as often as fills 20 ms), in an order drawn anew, so that whatever
disturbs the machine disturbs all. Kept are the quartiles over rounds of the seconds an update takes, and of the ratio
to ours within the round. A way that takes members one after the other is timed on two of them, and its time scaled to
all, where all would take more than half a second ("members" says how many were timed). One process, one core.

The result is written whole after each configuration, so a run that was ended goes on where it was. It starts afresh
when the plan, the machine, a version, or the code that is timed has changed; comments do not count.

The file holds: environment and settings; `rows`, one for each configuration; `training`, seconds that a whole call of
`train` takes with either engine; `growth`, seconds an update of ours as P, T and H grow, each alone; `parts`, where an
update's time goes; `operations`, how many a step of time hands to PyTorch; `memory`, the peak while training MuseData.
Times are [first quartile, median, third quartile] in seconds; "load" is the machine's load average just before.
"""

import argparse
import ast
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import costs
import torch
import ways
from plans import PLANS, Configuration, Plan, configurations
from timing import ROUNDS, free_memory, load, quartiles, take_turns, use_one_core, warm_up

from gatedrnn import files, process

SCHEMA = 2
ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ("blocks", "elementary", "fused", "kernels", "loops", "model", "outputs", "recurrence")
TIMED = ("bench/timing.py", "bench/ways.py", *(f"src/gatedrnn/{name}.py" for name in PACKAGE))
AVX2 = {  # how each library is held to it
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}
SHOWN = ("", "_speech", "_quick_avx2")  # the runs that the book shows
SPARE = 1e9  # bytes that are left to others
IN_FULL = 0.5  # seconds up to which ways that take members in turn are timed on all of them


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


def settings_of(name: str, plan: Plan) -> dict:
    """What must agree for a run to go on: the plan, and the code that is timed, without comments and docstrings."""
    code = hashlib.sha256()
    for path in map(ROOT.joinpath, TIMED):
        tree = ast.parse(path.read_text(encoding="utf8"))
        for node in ast.walk(tree):
            if hasattr(node, "body") and isinstance(node.body, list):
                node.body = [part for part in node.body if not is_text(part)]
        code.update(ast.dump(tree).encode())
    return {"plan": name, "code": code.hexdigest()[:16]} | json.loads(json.dumps(asdict(plan)))


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


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
        yield "memory of training MuseData", 30.0, lambda: result.update(memory=costs.measure_memory())
    if plan.operations and "operations" not in result:
        yield "operations of a step", 1.0, lambda: result.update(operations=costs.count_operations())
    if plan.training and "training" not in result:
        seconds = 2 * len(plan.training) * len(plan.units) * plan.seconds
        yield "whole calls of train", seconds, lambda: result.update(training=costs.measure_training(plan))
    if plan.growth and "growth" not in result:
        yield "growth with P, T and H", 6 * plan.seconds, lambda: result.update(growth=costs.measure_growth(plan))
    if plan.parts and "parts" not in result:
        seconds = 2 * len(plan.parts) * plan.seconds
        yield "parts of an update", seconds, lambda: result.update(parts=costs.measure_parts(plan))
    done = {tuple(row[name] for name in ("kind", "unit", "T", "P", "B")) for row in result["rows"]}
    for it in configurations(plan):
        if tuple(asdict(it).values()) not in done:
            a_round = it.work * 8 / 45e9  # of all ways: about eight times what the products take
            about = 2.5 + a_round + max(plan.seconds, ROUNDS[0] * a_round)
            yield str(it), about, lambda it=it: result["rows"].append(measure(it, plan.seconds, jax))


def line(label: str, result: dict) -> str:
    """What was just measured, for the terminal: of a configuration, our rate, and how many times as fast as others."""
    if " T=" not in label:
        return result.get("memory", {}).get("left_out", "done") if label.startswith("memory") else "done"
    found = {name: way for name, way in result["rows"][-1]["ways"].items() if "left_out" not in way}
    if "ours" not in found:
        return result["rows"][-1]["ways"]["ours"]["left_out"]
    ratios = {name: way["ours_is_faster"] for name, way in found.items() if name != "ours"}
    ratios = [f"{name} {median:.2f} [{low:.2f}, {high:.2f}]" for name, (low, median, high) in ratios.items()]
    return f"{found['ours']['steps_per_second'] / 1e3:.0f} thousand steps/s; ours / " + ", ".join(ratios)


def summary(rows: list[dict]) -> str:
    """Of the configurations with more than one sequence: in how many ours is ahead, of JAX of both forms."""
    core = [row["ways"] for row in rows if row["B"] > 1]
    counts = []
    for title, names in (("torch.nn", ["torch.nn"]), ("JAX", ["jax", "jax vmap"])):
        medians = [[w[name]["ours_is_faster"][1] for name in names if "seconds" in w.get(name, {})] for w in core]
        counts.append(f"{sum(min(found) > 1 for found in medians if found)} of {sum(map(bool, medians))} ({title})")
    return "ahead in " + ", ".join(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", choices=PLANS, default="full", help="what to measure (default %(default)s)")
    parser.add_argument("--output", type=Path, help="where the figures go (default book/results/speed.json)")
    parser.add_argument("--avx2", action="store_true", help="without AVX-512, as on processors that lack it")
    parser.add_argument("--seconds", type=float, help="for each configuration (default 3), at least three rounds")
    options = parser.parse_args()
    if options.avx2 and os.environ.get("NUMBA_CPU_NAME") != AVX2["NUMBA_CPU_NAME"]:  # to be set before libraries load
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | AVX2)
    if options.output is None:
        suffix = ("" if options.plan == "full" else f"_{options.plan}") + ("_avx2" if options.avx2 else "")
        folder = ROOT / ("book/results" if suffix in SHOWN else "_build")
        options.output = folder / f"speed{suffix}.json"
    use_one_core()
    plan = PLANS[options.plan]
    plan = replace(plan, seconds=options.seconds or plan.seconds)
    environment = process.environment("cpu", "compiled") | {"threads": 1}
    environment["instructions"] = torch.backends.cpu.get_cpu_capability()
    environment["versions"]["numba"] = version("numba")
    print(f"{environment['processor']}, {environment['instructions']}")
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
    print(f"the figures are in {options.output}")
    print(summary(result["rows"]))


if __name__ == "__main__":
    main()

"""Fair timing on a machine that may be disturbed: one core, runs that take turns, quartiles over rounds."""

import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from gatedrnn import kernels
from gatedrnn.process import prepare_process

SHORTEST = 0.02  # seconds that a run is repeated for in a round, at least
ROUNDS = 3, 25

Run = Callable[[], object]


def use_one_core() -> None:
    """Keep this process, with every thread that a library starts, on one core."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    if hasattr(os, "sched_setaffinity"):  # Linux; elsewhere the libraries' own settings have to do
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    prepare_process()
    kernels.prepare()


def seconds_of(run: Run, times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


def warm_up(run: Run) -> float:
    """Compile, allocate, and find out about how long a run takes.

    Once more while that makes it faster by a tenth, up to four times: the system hands over gigabytes page by page, and
    an update of the largest sizes takes several runs to get all that it needs.
    """
    times = [seconds_of(run), seconds_of(run)]
    while times[-1] < 0.9 * min(times[:-1]) and len(times) < 5:
        times.append(seconds_of(run))
    return min(times)


def take_turns(runs: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Seconds that each run took in each round; about `seconds` in all, but no fewer than three rounds."""
    about = {name: warm_up(run) for name, run in runs.items()}
    often = {name: max(1, round(SHORTEST / once)) for name, once in about.items()}
    a_round = sum(often[name] * once for name, once in about.items())
    names, order, times = list(runs), random.Random(0), {name: [] for name in runs}
    for _ in range(min(max(ROUNDS[0], int(seconds / a_round)), ROUNDS[1])):
        order.shuffle(names)
        for name in names:
            times[name].append(seconds_of(runs[name], often[name]))
    return times


def quartiles(values: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in statistics.quantiles(values, n=4)]


def free_memory() -> float:
    """Bytes that can be had without taking them from others; infinity where the system does not say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return float("inf")


def load() -> float | None:
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None

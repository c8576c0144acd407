"""The process and the device that a computation runs on: how they are set up, and what a record says of them."""

import ctypes
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from . import recurrence


def prepare_process(engine: str | None = None) -> None:
    """Settings that make small models fast on a CPU; they concern the whole process and change no result that is shown.

    engine : where given, from here on that of `recurrence`. The chapters name "torch", whose numbers they show, so that
    they say the same wherever they are opened. Raises ValueError for an unknown one.

    One thread, because the products are too small to share; denormal numbers flushed to zero, because a hidden state
    that decays under silence becomes denormal and slows arithmetic twentyfold; and, with glibc, freed memory kept for
    the next batch instead of being returned to the system and faulted in again.
    """
    if engine is not None:
        os.environ["GATEDRNN_ENGINE"] = recurrence.check_engine(engine)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if recurrence.engine() != "torch" and "compiled" in recurrence.engines_here():
        from . import kernels

        kernels.prepare()  # its products have threads of their own
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large array
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: do not shrink the heap
    except (OSError, AttributeError):  # not glibc: nothing to tune
        pass


def check_device(name: str | torch.device) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:1", .... Raises ValueError for one that is not here.

    >>> check_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"there is no device {str(name)!r}: use cpu, cuda, cuda:1, ...")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no {device} on this machine: it has {torch.cuda.device_count()}, use cpu")
    return device


def environment(device: str, engine: str | None = None) -> dict:
    """Versions and hardware, as a record of the study keeps them, and which engine ran if it is told."""
    versions = {name: version(name) for name in ("gatedrnn", "torch", "numpy")}
    device = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    known = {
        "versions": versions | {"python": platform.python_version()},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": device,
    }
    return known | ({"engine": engine} if engine else {})


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

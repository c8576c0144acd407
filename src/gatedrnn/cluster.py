"""Trials sent to the workers of a Dask cluster; what goes wrong there becomes one sentence."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import Any

import numpy as np

from .extras import Extra
from .study import Trial

Done = tuple[dict, np.ndarray]  # a record, and the parameters that are kept with it
Claims = Iterator[tuple[Trial, ExitStack]]  # trials to run, each with the lock that is let go of when it is recorded
PATIENCE = 60  # seconds, for a scheduler that has no worker yet


def on_dask(
    claims: Claims, scheduler: str, key: Callable[[Trial], str], run: Callable[..., Done], *arguments: object
) -> Iterator[tuple[Trial, Done]]:
    """Each trial with what `run` returns for it, as they finish.

    key : a name of all that decides a trial's numbers; another study on the same scheduler may have a trial of the same
    name. run : called on a worker with a trial and the arguments. Raises ModuleNotFoundError where Dask is not
    installed, and ConnectionError, TimeoutError or ChildProcessError for a cluster or its workers.
    """
    with Extra("study"):
        from distributed import Client, KilledWorker, as_completed
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it says of a lost cluster is a page long
    lost = f"the scheduler at {scheduler} cannot be reached"
    try:
        client = Client(scheduler, timeout=PATIENCE // 4)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"{lost}: name a running one, tcp://HOST:PORT") from error
    locks: dict[Any, tuple[Trial, ExitStack]] = {}
    try:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise TimeoutError(
                f"no worker came to {scheduler} in {PATIENCE} s: start `dask worker {scheduler}`"
            ) from error
        for trial, lock in claims:
            name = f"gatedrnn-{trial}-{key(trial)}"
            locks[client.submit(run, trial, *arguments, key=name, pure=False)] = trial, lock
        for future in as_completed(locks):
            trial, lock = locks[future]
            done = future.result()
            with lock:
                yield trial, done
    except KilledWorker as error:
        raise ChildProcessError(
            f"several workers died, one after the other, while they ran {trial}, for want of memory perhaps: "
            "the same command goes on from its checkpoint"
        ) from error
    except (CommClosedError, CancelledError, FutureCancelledError) as error:
        raise ConnectionError(f"{lost} any more: start it and its workers, and give the same command again") from error
    finally:
        for _, lock in locks.values():
            lock.close()
        client.close(timeout=2)

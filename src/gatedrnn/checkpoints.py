"""The state of a training in a file, so that a run that was killed goes on from there to the same end."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .files import DataError, atomic, read_npz


def write(path: Path, run: dict, state: dict, arrays: Mapping[str, Tensor]) -> None:
    """Write a state beside `path` and move it there, so that a kill at any moment leaves a whole file.

    run : what must agree for the file to belong to a run; state : what else is no array; both for JSON.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored: dict[str, Any] = {"state": json.dumps({"run": run} | state)}
    stored |= {name: array.cpu().numpy() for name, array in arrays.items()}
    with atomic(path) as file:
        np.savez(file, **stored)


def read(path: Path, run: dict) -> tuple[dict, dict[str, np.ndarray]]:
    """The state and the arrays that `write` kept. Raises ValueError for another file, and for another run's."""
    try:
        arrays = read_npz(path)
        state = json.loads(str(arrays.pop("state")))
        theirs = state.pop("run")
        differs = [name for name in run if run[name] != theirs.get(name)]
    except (DataError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise not_one(path) from error
    if differs:
        raise ValueError(f"{path} belongs to another run ({', '.join(differs)} differ): name another checkpoint")
    return state, arrays


def not_one(path: Path) -> ValueError:
    """What to say of a file that holds something else."""
    return ValueError(f"{path} is not a checkpoint of this program: delete it or name another")

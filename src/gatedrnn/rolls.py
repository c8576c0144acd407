"""What a piano roll is: an array of 0 and 1, shape (T, 88).

Row t is one time step, column i is MIDI pitch 21 + i, so that column 0 is the lowest key of a piano (A0) and column 87
the highest (C8).
"""

import numpy as np
from numpy.typing import ArrayLike

PITCHES = 88
LOWEST_PITCH = 21
"""The MIDI pitch of column 0."""


def check_roll(roll: ArrayLike) -> np.ndarray:
    """Return `roll` as a boolean array (T, 88).

    Raises ValueError when the shape is not (T, 88), when there is no step at all, or when a value is neither 0 nor 1.

    >>> check_roll([[0] * 87 + [1]]).sum()
    np.int64(1)
    """
    array = np.asarray(roll.detach().cpu() if hasattr(roll, "detach") else roll)  # a tensor, whatever its device
    if array.ndim != 2 or array.shape[1] != PITCHES:
        raise ValueError(f"A piano roll has shape (steps, {PITCHES}); this one has shape {array.shape}.")
    if len(array) == 0:
        raise ValueError("The piano roll is empty: it has no time step.")
    if not ((array == 0) | (array == 1)).all():  # a NaN is neither
        raise ValueError("A piano roll holds only 0 (silent) and 1 (sounding); this one holds other values or NaN.")
    return array.astype(bool)


def held_notes(roll: ArrayLike) -> list[tuple[int, int, int]]:
    """Return the notes of a roll (T, 88) as (column, first step, step after the last), sorted by column, then time.

    A pitch that is on in consecutive steps is one held note: the roll cannot tell a held note from a repeated one.
    Raises ValueError as `check_roll`.

    >>> roll = np.zeros((4, 88))
    >>> roll[1:3, 39] = 1
    >>> held_notes(roll)
    [(39, 1, 3)]
    """
    silence = np.zeros((1, PITCHES), dtype=np.int8)
    change = np.diff(np.concatenate([silence, check_roll(roll), silence]), axis=0)
    columns, starts = np.nonzero(change.T == 1)
    _, ends = np.nonzero(change.T == -1)
    return list(zip(columns.tolist(), starts.tolist(), ends.tolist(), strict=True))

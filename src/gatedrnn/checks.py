"""What a caller can get wrong about sizes and shapes, and the sentence that says so. No torch: shapes are tuples."""

from collections.abc import Mapping, Sequence
from functools import cache


def check_sizes(**sizes: int) -> None:
    """Raise ValueError, naming the size, unless every one is an integer of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} must be an integer of at least 1, not {size!r}")


def check_shapes(expected: Mapping[str, Sequence[str | int]], /, **arrays: object) -> dict[str, int]:
    """Hold arrays against the shapes that were meant, and return the size of every axis by its letter.

    expected : array name -> its axes, each a letter (the same letter, the same size everywhere), a number, or a
    multiple such as "3H" of a letter. An axis "P|1" may also have size 1, for an array that a population shares. Arrays
    that are None are passed over.

    >>> import numpy as np
    >>> expected, x, U = {"x": "TBD", "U": ("H", "3H"), "W": ("D", "3H")}, np.zeros((9, 2, 5)), np.zeros((4, 12))
    >>> check_shapes(expected, x=x, U=U, W=np.zeros((5, 12)))
    {'T': 9, 'B': 2, 'D': 5, 'H': 4}
    >>> check_shapes(expected, x=x, U=U, W=np.zeros((6, 12)))
    Traceback (most recent call last):
    ValueError: W must have shape (D, 3H) with D = 5, H = 4, not (6, 12)

    Raises ValueError for the first array that does not fit; the sentence names it, what was meant and what came.
    """
    sizes: dict[str, int] = {}
    for name, axes in expected.items():
        array = arrays.get(name)
        if array is None:
            continue
        shape = tuple(getattr(array, "shape", ()))
        found = _match(axes, shape, sizes) if hasattr(array, "shape") and len(shape) == len(axes) else None
        if found is None:
            letters = dict.fromkeys(letter for letter, _ in map(_parse, axes) if letter in sizes)
            given = ", ".join(f"{letter} = {sizes[letter]}" for letter in letters)
            came = shape if hasattr(array, "shape") else f"a {type(array).__name__}"
            wanted = ", ".join(str(axis).replace("|", " or ") for axis in axes) + ("," if len(axes) == 1 else "")
            raise ValueError(f"{name} must have shape ({wanted}){' with ' + given if given else ''}, not {came}")
        sizes = found
    return sizes


def _match(axes: Sequence[str | int], shape: tuple[int, ...], sizes: dict[str, int]) -> dict[str, int] | None:
    """The sizes of all letters, those of this array added, or None if the array's shape is another."""
    sizes = dict(sizes)
    for axis, size in zip(axes, shape, strict=True):
        letter, factor = _parse(axis)
        if letter is None:
            fits = size == factor
        elif str(axis).endswith("|1") and size == 1:
            continue
        else:
            fits = size == factor * sizes.setdefault(letter, size // factor)
        if not fits:
            return None
    return sizes


@cache
def _parse(axis: str | int) -> tuple[str | None, int]:
    """The letter and the factor of an axis: "3H" -> ("H", 3), 88 -> (None, 88)."""
    if isinstance(axis, int):
        return None, axis
    letter = axis.removesuffix("|1")[-1]
    return letter, int(axis.removesuffix("|1")[:-1] or 1)

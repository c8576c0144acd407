"""Sizes and shapes that do not fit are refused in one sentence, which says what was meant and what came."""

import numpy as np
import pytest

from gatedrnn.checks import check_shapes, check_sizes

RECURRENCE = {"x": ("P|1", "T", "B", "D"), "W": ("P", "D", "3H"), "U": ("P", "H", "3H"), "b": ("P", "3H")}


def arrays(**shapes):
    usual = {"x": (1, 7, 2, 5), "W": (3, 5, 12), "U": (3, 4, 12), "b": (3, 12)}
    return {name: None if shape is None else np.zeros(shape) for name, shape in (usual | shapes).items()}


def test_what_fits_gives_every_size():
    assert check_shapes(RECURRENCE, **arrays()) == {"P": 3, "T": 7, "B": 2, "D": 5, "H": 4}
    assert check_shapes(RECURRENCE, **arrays(b=None))["H"] == 4
    assert check_shapes({"a": (88,)}, a=np.zeros(88)) == {}


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"x": (7, 2, 5)}, r"x must have shape \(P or 1, T, B, D\), not \(7, 2, 5\)"),
        ({"x": (2, 7, 2, 5)}, r"W must have shape \(P, D, 3H\) with P = 2, D = 5, not \(3, 5, 12\)"),
        ({"W": (3, 5, 13)}, r"W must have shape \(P, D, 3H\) with D = 5, not \(3, 5, 13\)"),
        ({"U": (3, 5, 12)}, r"U must have shape \(P, H, 3H\) with P = 3, H = 4, not \(3, 5, 12\)"),
        ({"b": (12,)}, r"b must have shape \(P, 3H\) with P = 3, H = 4, not \(12,\)"),
    ],
)
def test_what_does_not_fit_is_named(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_shapes(RECURRENCE, **arrays(**wrong))


def test_what_is_no_array_is_named():
    with pytest.raises(ValueError, match=r"x must have shape \(T, B\), not a list"):
        check_shapes({"x": "TB"}, x=[1.0])
    with pytest.raises(ValueError, match=r"a must have shape \(88,\), not \(87,\)"):
        check_shapes({"a": (88,)}, a=np.zeros(87))


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "3", None])
def test_sizes_are_integers_of_at_least_1(size):
    with pytest.raises(ValueError, match="hidden_size must be an integer of at least 1, not"):
        check_sizes(input_size=1, hidden_size=size)

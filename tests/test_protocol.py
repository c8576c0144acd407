"""A protocol refuses, by its name, what makes no sense."""

import math
import subprocess
import sys

import pytest

from gatedrnn.protocol import CHOICES, Protocol


@pytest.mark.parametrize(
    "field, values",
    [
        ("weight_noise", [-1, math.nan, math.inf, None]),
        ("clip_norm", [0, -3, math.nan, "1"]),
        ("decay", [2, -0.1, math.nan]),
        ("momentum", [-3, 1]),
        ("epsilon", [-1, 0]),
        ("batch_size", [1.5, 0, True]),
        ("max_epochs", [math.inf, 0]),
        ("validate_every", [0]),
        ("averaging", [1.0]),
        ("dropout", [1.0]),
        ("schedule", ["step"]),
        ("objective", ["max"]),
        ("order", ["random"]),
        ("start", ["zero"]),
    ],
)
def test_a_protocol_refuses_what_makes_no_sense_by_its_name(field, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{field} must be"):
            Protocol(**{field: value})


def test_a_choice_names_the_others():
    for field, known in CHOICES.items():
        with pytest.raises(ValueError, match=f"^{field} must be one of {', '.join(known)}, not 'sgd'$"):
            Protocol(**{field: "sgd"})


@pytest.mark.parametrize("module", ["protocol", "history"])
def test_it_needs_no_torch(module):
    code = f"import sys, gatedrnn.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

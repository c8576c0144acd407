"""What the units are said to be, held against what they are: the printed equations are evaluated beside the cells."""

import re
import subprocess
import sys

import pytest
import torch

from gatedrnn.cells import CELLS
from gatedrnn.units import SYMBOLS, UNITS, check_unit

D, H, B = 4, 3, 5
NAMES = {symbol: name for name, symbol in SYMBOLS.items()} | {"x_t": "x", "h_{t-1}": "h_prev", "c_{t-1}": "c_prev"}
ANY_SYMBOL = re.compile("|".join(map(re.escape, NAMES)))


def python_of(tex: str) -> str:
    """The right side of an equation, as an expression over rows: W x becomes x @ W."""
    tex = ANY_SYMBOL.sub(lambda found: NAMES[found[0]], tex)
    tex = re.sub(r"(U\w*)\\,\(([^()]*)\)", r"(\2) @ \1", tex)  # U (r * h)
    tex = re.sub(r"([WU]\w*) (x|h_prev)", r"\2 @ \1", tex)
    return tex.replace(r"\sigma", "sigmoid").replace(r"\tanh", "tanh").replace(r"\odot", "*")


def printed(unit, cell, x, state, **options) -> dict:
    """Every part by the printed equations, each from those above it."""
    known = dict(cell.named_parameters()) | {f"{name}_prev": s for name, s in zip(unit.state, state, strict=True)}
    known |= {"x": x, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
    for part in unit.parts:
        left, right = unit.equation(part, **options).split(" = ", 1)
        assert left == SYMBOLS[part]
        known[part] = eval(python_of(right), {"__builtins__": {}}, known)
    return {part: known[part] for part in unit.parts}


@pytest.mark.parametrize("name, peepholes", [("tanh", True), ("gru", True), ("lstm", True), ("lstm", False)])
def test_the_printed_equations_are_what_the_cells_compute(name, peepholes):
    """An equation with z and 1 - z exchanged, a gate's letter wrong or the wrong memory in a peephole fails here."""
    unit = UNITS[name]
    cell = CELLS[name](D, H, bias=False, dtype=torch.float64, **({"peepholes": peepholes} if name == "lstm" else {}))
    generator = torch.Generator().manual_seed(1)
    for p in cell.parameters():
        p.data.normal_(generator=generator)
    x = torch.randn(B, D, dtype=torch.float64, generator=generator)
    state = tuple(torch.randn(B, H, dtype=torch.float64, generator=generator) for _ in unit.state)
    computed = cell.gates(x, state)
    by_equation = printed(unit, cell, x, state, peepholes=peepholes)
    assert tuple(computed) == unit.parts
    for part, value in by_equation.items():
        torch.testing.assert_close(computed[part], value, msg=lambda text, part=part: f"{part}: {text}")


def test_exchanging_z_and_1_minus_z_in_the_text_would_be_seen():
    text = UNITS["gru"].equation("h")
    assert python_of(text) == "h = (1 - z) * h_prev + z * h_tilde"


def test_peepholes_are_in_the_equations_of_the_lstms_gates_only():
    for unit in UNITS.values():
        with_term = {part for part in unit.parts if "V_" in unit.equation(part)}
        assert with_term == set(unit.peepholes) == (set("oif") if unit.name == "lstm" else set())
        assert not any("V_" in unit.equation(part, peepholes=False) for part in unit.parts)


def test_gates_lie_side_by_side_in_one_order_everywhere():
    assert {name: unit.gates for name, unit in UNITS.items()} == {
        "tanh": ("h",),
        "gru": ("z", "r", "h_tilde"),
        "lstm": ("o", "i", "f", "c_tilde"),
    }
    assert [unit.sigmoid_gates for unit in UNITS.values()] == [(), ("z", "r"), ("o", "i", "f")]


def test_sizes_are_those_of_table_1():
    assert [unit.music_size for unit in UNITS.values()] == [100, 46, 36]
    assert [unit.speech_size for unit in UNITS.values()] == [400, 227, 195]


def test_units_look_different_from_each_other():
    for fact in ("color", "marker", "title"):
        assert len({getattr(unit, fact) for unit in UNITS.values()}) == len(UNITS)
    assert set(UNITS) == set(CELLS) and all(name == unit.name for name, unit in UNITS.items())


def test_an_unknown_unit_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown unit 'elman': the known units are tanh, gru, lstm"):
        check_unit("elman")


def test_units_need_no_torch():
    code = "import sys, gatedrnn.units, gatedrnn.checks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

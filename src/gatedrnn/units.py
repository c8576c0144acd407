"""What each of the three units is: its names, its look in the book, its gates, its equations, its sizes in Table 1.

Nothing here computes (`gatedrnn.cells` does) and nothing imports torch, so that tables and pictures can be made
without it. Equations are TeX, in the symbols of Chung et al. (2014), and tests evaluate them against the cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SYMBOLS = {
    "z": "z_t",
    "r": "r_t",
    "h_tilde": r"\tilde{h}_t",
    "o": "o_t",
    "i": "i_t",
    "f": "f_t",
    "c_tilde": r"\tilde{c}_t",
    "c": "c_t",
    "h": "h_t",
}  # a part's name in the code, and in TeX


@dataclass(frozen=True)
class Unit:
    """One kind of recurrent unit.

    >>> gru = UNITS["gru"]
    >>> gru.title, gru.gates, gru.state, gru.music_size
    ('GRU', ('z', 'r', 'h_tilde'), ('h',), 46)
    >>> print(gru.equation("h"))
    h_t = (1 - z_t) \\odot h_{t-1} + z_t \\odot \\tilde{h}_t
    """

    name: str  # in code and records
    title: str  # in a table or a legend
    color: str  # of Okabe and Ito's palette, readable with any colour vision
    marker: str  # of matplotlib, so that the units can be told apart without colour
    gates: tuple[str, ...]  # what W and U compute, in the order in which their columns lie side by side
    state: tuple[str, ...]  # what one step hands to the next
    equations: Mapping[str, str] = field(repr=False)  # part -> TeX, in the order in which a step computes them
    music_size: int  # hidden units in Table 1
    speech_size: int
    peepholes: Mapping[str, str] = field(default_factory=dict, repr=False)  # gate -> the term that can be left out

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything that one step computes, in the order in which it does."""
        return tuple(self.equations)

    @property
    def sigmoid_gates(self) -> tuple[str, ...]:
        """The gates proper, which lie between 0 and 1; every other part may be negative."""
        return tuple(gate for gate in self.gates if r"\sigma" in self.equations[gate])

    def equation(self, part: str, *, peepholes: bool = True) -> str:
        """The TeX of one part (without dollar signs), for an LSTM with its peepholes or without them."""
        return self.equations[part] if peepholes else self.equations[part].replace(self.peepholes.get(part, ""), "")


UNITS = {
    unit.name: unit
    for unit in (
        Unit(
            name="tanh",
            title="tanh",
            color="#D55E00",
            marker="o",
            gates=("h",),
            state=("h",),
            equations={"h": r"h_t = \tanh(W x_t + U h_{t-1})"},
            music_size=100,
            speech_size=400,
        ),
        Unit(
            name="gru",
            title="GRU",
            color="#0072B2",
            marker="s",
            gates=("z", "r", "h_tilde"),
            state=("h",),
            equations={
                "z": r"z_t = \sigma(W_z x_t + U_z h_{t-1})",
                "r": r"r_t = \sigma(W_r x_t + U_r h_{t-1})",
                "h_tilde": r"\tilde{h}_t = \tanh(W x_t + U\,(r_t \odot h_{t-1}))",
                "h": r"h_t = (1 - z_t) \odot h_{t-1} + z_t \odot \tilde{h}_t",
            },
            music_size=46,
            speech_size=227,
        ),
        Unit(
            name="lstm",
            title="LSTM",
            color="#009E73",
            marker="^",
            gates=("o", "i", "f", "c_tilde"),
            state=("h", "c"),
            equations={
                "i": r"i_t = \sigma(W_i x_t + U_i h_{t-1} + V_i \odot c_{t-1})",
                "f": r"f_t = \sigma(W_f x_t + U_f h_{t-1} + V_f \odot c_{t-1})",
                "c_tilde": r"\tilde{c}_t = \tanh(W_c x_t + U_c h_{t-1})",
                "c": r"c_t = f_t \odot c_{t-1} + i_t \odot \tilde{c}_t",
                "o": r"o_t = \sigma(W_o x_t + U_o h_{t-1} + V_o \odot c_t)",
                "h": r"h_t = o_t \odot \tanh(c_t)",
            },
            peepholes={
                "o": r" + V_o \odot c_t",
                "i": r" + V_i \odot c_{t-1}",
                "f": r" + V_f \odot c_{t-1}",
            },
            music_size=36,
            speech_size=195,
        ),
    )
}

SIGMOID_GATES = {gate for unit in UNITS.values() for gate in unit.sigmoid_gates}  # between 0 and 1, in every unit


def check_unit(name: str) -> str:
    """The name itself. Raises ValueError, listing the known units, for an unknown one."""
    if name not in UNITS:
        raise ValueError(f"unknown unit {name!r}: the known units are {', '.join(UNITS)}")
    return name


def suffix(gate: str) -> str:
    """How the paper marks a gate's parameters: W_z, but W for the GRU's candidate and W_c for the LSTM's."""
    return {"h": "", "h_tilde": "", "c_tilde": "_c"}.get(gate, f"_{gate}")

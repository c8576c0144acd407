"""The three recurrent units, one readable step each.

These cells are the specification: they say in a few lines what Chung et al. (2014), sections 2 and 3, say in
equations. They are written to be read, not to be fast; `gatedrnn.recurrence` computes the same thing for whole
sequences and is held against them.

Vectors are rows, so the paper's ``W x + U h`` is ``x @ W + h @ U`` here. Shapes: x (B, D), h and c (B, H),
W (D, H), U (H, H), b (H), peepholes V (H), because a diagonal matrix is a vector.
"""

import torch
from torch import Tensor, nn

from .checks import check_sizes


class Cell(nn.Module):
    """What the three units share: sizes, parameters, and the two ways of looking at a step.

    Parameters
    ----------
    input_size, hidden_size : D and H, both at least 1.
    bias : the paper's equations have none; its speech models do (see the chapter on Table 1).
    dtype, generator : of the parameters; U starts orthogonal, W uniform in (-0.1, 0.1), b and V at zero.

    Raises
    ------
    ValueError : a size below 1.
    """

    gate_names: tuple[str, ...]

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True, dtype=None, generator=None):
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        for gate in self.gate_names:
            suffix = f"_{gate}" if gate else ""
            W = torch.empty(input_size, hidden_size, dtype=dtype).uniform_(-0.1, 0.1, generator=generator)
            U = nn.init.orthogonal_(torch.empty(hidden_size, hidden_size, dtype=dtype), generator=generator)
            b = torch.zeros(hidden_size, dtype=dtype)
            self.register_parameter(f"W{suffix}", nn.Parameter(W))
            self.register_parameter(f"U{suffix}", nn.Parameter(U))
            self.register_parameter(f"b{suffix}", nn.Parameter(b) if bias else None)

    def gates(self, x: Tensor, state) -> dict[str, Tensor]:
        """Every quantity that one step computes, by its name in the paper; each (B, H)."""
        raise NotImplementedError

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """One step: x (B, D), h (B, H) -> the next h (B, H)."""
        return self.gates(x, h)["h"]

    def _linear(self, gate: str, x: Tensor, h: Tensor) -> Tensor:
        """``W x + U h + b`` of one gate."""
        suffix = f"_{gate}" if gate else ""
        b = getattr(self, f"b{suffix}")
        a = x @ getattr(self, f"W{suffix}") + h @ getattr(self, f"U{suffix}")
        return a if b is None else a + b

    def stacked(self) -> dict[str, Tensor]:
        """The parameters with the gates side by side, as `recurrence` takes them: W (D, gH), U (H, gH), b (gH)."""
        suffixes = [f"_{gate}" if gate else "" for gate in self.gate_names]
        out = {}
        for letter in "WUb":
            parts = [getattr(self, letter + s) for s in suffixes]
            if parts[0] is not None:
                out[letter] = torch.cat(parts, dim=-1)
        return out


class TanhCell(Cell):
    """The traditional unit: h_t = tanh(W x_t + U h_{t-1})."""

    gate_names = ("",)

    def gates(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        return {"h": torch.tanh(self._linear("", x, h))}


class GRUCell(Cell):
    """The gated recurrent unit, section 3.2: the update gate z multiplies the NEW state.

    reset="before" is the paper's: the reset gate acts on h before the matrix product, U (r * h).
    reset="after" is cuDNN's and PyTorch's: r * (U h + b_U), always with a bias of its own inside the product.
    """

    gate_names = ("z", "r", "")

    def __init__(self, input_size: int, hidden_size: int, *, reset: str = "before", bias: bool = True, **kwargs):
        if reset not in ("before", "after"):
            raise ValueError(f"reset must be 'before' or 'after', not {reset!r}")
        super().__init__(input_size, hidden_size, bias=bias, **kwargs)
        self.reset = reset
        b_U = nn.Parameter(torch.zeros_like(self.U[0])) if reset == "after" else None
        self.register_parameter("b_U", b_U)

    def gates(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        z = torch.sigmoid(self._linear("z", x, h))
        r = torch.sigmoid(self._linear("r", x, h))
        if self.reset == "before":
            h_tilde = torch.tanh(self._linear("", x, r * h))
        else:
            h_tilde = torch.tanh(self._linear("", x, torch.zeros_like(h)) + r * (h @ self.U + self.b_U))
        return {"z": z, "r": r, "h_tilde": h_tilde, "h": (1 - z) * h + z * h_tilde}

    def stacked(self) -> dict[str, Tensor]:
        return super().stacked() | ({} if self.b_U is None else {"b_U": self.b_U})


class LSTMCell(Cell):
    """The long short-term memory unit, section 3.1, with the paper's diagonal peepholes V.

    The input and the forget gate look at c_{t-1}, the output gate at the new c_t. ``peepholes=False`` gives the unit of
    most libraries. The state is the pair (h, c).
    """

    gate_names = ("o", "i", "f", "c")

    def __init__(self, input_size: int, hidden_size: int, *, peepholes: bool = True, **kwargs):
        super().__init__(input_size, hidden_size, **kwargs)
        self.peepholes = peepholes
        for gate in "oif":
            V = nn.Parameter(torch.zeros_like(self.U_c[0])) if peepholes else None
            self.register_parameter(f"V_{gate}", V)

    def gates(self, x: Tensor, state: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        h, c_prev = state

        def gate(name: str, c: Tensor) -> Tensor:
            a = self._linear(name, x, h)
            return torch.sigmoid(a + getattr(self, f"V_{name}") * c if self.peepholes else a)

        i, f = gate("i", c_prev), gate("f", c_prev)
        c_tilde = torch.tanh(self._linear("c", x, h))
        c = f * c_prev + i * c_tilde
        o = gate("o", c)
        return {"i": i, "f": f, "c_tilde": c_tilde, "c": c, "o": o, "h": o * torch.tanh(c)}

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One step: x (B, D), (h, c) each (B, H) -> the next (h, c)."""
        step = self.gates(x, state)
        return step["h"], step["c"]

    def stacked(self) -> dict[str, Tensor]:
        V = {"V": torch.cat([self.V_o, self.V_i, self.V_f])} if self.peepholes else {}
        return super().stacked() | V


CELLS = {"tanh": TanhCell, "gru": GRUCell, "lstm": LSTMCell}

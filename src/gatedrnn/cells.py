"""The three recurrent units, one readable step each.

These cells are the specification: they say in a few lines what Chung et al. (2014), sections 2 and 3, say in
equations. They are written to be read, not to be fast; `gatedrnn.recurrence` computes the same thing for whole
sequences and is held against them.

Vectors are rows, so the paper's ``W x + U h`` is ``x @ W + h @ U`` here. Shapes: x (B, D), h and c (B, H), or one
vector each, (D,) and (H,); W (D, H), U (H, H), b (H), peepholes V (H), because a diagonal matrix is a vector.
What one step hands to the next is always a tuple, (h,) or for an LSTM (h, c).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from .checks import check_shapes, check_sizes
from .units import UNITS, suffix

State = tuple[Tensor, ...]


class Cell(nn.Module):
    """What the three units share: sizes, parameters, and the ways of looking at a step.

    input_size, hidden_size : D and H, both at least 1.
    bias : the paper's equations have none; its speech models do (see the chapter on Table 1).
    dtype, generator : of the parameters; U starts orthogonal, W uniform in (-0.1, 0.1), b and V at zero.

    A subclass names its `unit` and writes the unit's `equations`. Raises ValueError for a size below 1.
    """

    unit: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        for gate in UNITS[self.unit].gates:
            W = torch.empty(input_size, hidden_size, dtype=dtype).uniform_(-0.1, 0.1, generator=generator)
            U = nn.init.orthogonal_(torch.empty(hidden_size, hidden_size, dtype=dtype), generator=generator)
            self.register_parameter("W" + suffix(gate), nn.Parameter(W))
            self.register_parameter("U" + suffix(gate), nn.Parameter(U))
            self.register_parameter("b" + suffix(gate), nn.Parameter(torch.zeros_like(U[0])) if bias else None)

    equations: Callable[..., dict[str, Tensor]]
    """The unit's own: x and the parts of the state -> every part of a step by its name, in the order of computing."""

    def gates(self, x: Tensor, state: State | None = None) -> dict[str, Tensor]:
        """Every quantity that one step computes, by its name in the paper; each (B, H).

        x (B, D); state (h,) or (h, c), each (B, H), zeros unless given. Raises ValueError for any other shape, and for
        a state that is not a tuple: a tensor could be taken for several.
        """
        return self.equations(x, *self.checked(x, state))

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """One step: x (B, D) and the state so far -> the next state, (h,) or (h, c), each (B, H).

        >>> cell = LSTMCell(3, 4)
        >>> state = cell(torch.ones(2, 3))
        >>> h, c = cell(torch.zeros(2, 3), state)
        >>> h.shape
        torch.Size([2, 4])
        """
        step = self.gates(x, state)
        return tuple(step[name] for name in UNITS[self.unit].state)

    def start(self, *batch: int) -> State:
        """The state before the first step: zeros, each (*batch, H), so that `start()` is for one vector at a time."""
        U = next(self.parameters())
        return tuple(U.new_zeros(*batch, self.hidden_size) for _ in UNITS[self.unit].state)

    def checked(self, x: Tensor, state: State | None) -> State:
        """The state to begin a step with, zeros unless given. Raises ValueError when it or x does not fit the unit."""
        batch, names = tuple(x.shape[:-1]), UNITS[self.unit].state
        check_shapes({"x": (*batch, self.input_size) if x.ndim else "D"}, x=x)
        if state is None:
            return self.start(*batch)
        if not isinstance(state, tuple) or len(state) != len(names):
            came = f"a tuple of {len(state)}" if isinstance(state, tuple) else f"a {type(state).__name__}"
            meant = f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"
            raise ValueError(f"the state of a {type(self).__name__} must be the tuple {meant}, not {came}")
        check_shapes(dict.fromkeys(names, (*batch, self.hidden_size)), **dict(zip(names, state, strict=True)))
        return state

    def run(self, x: Tensor, state: State | None = None) -> dict[str, Tensor]:
        """All steps of x (T, B, D), each from the state that the one before has left: name -> (T, B, H).

        >>> sorted(GRUCell(3, 4).run(torch.zeros(7, 2, 3)))
        ['h', 'h_tilde', 'r', 'z']

        Raises ValueError when there is no step, and as `gates`.
        """
        if x.ndim < 2 or not len(x):
            raise ValueError(f"x must have shape (T, B, {self.input_size}) with T of at least 1, not {tuple(x.shape)}")
        steps = []
        for x_t in x:
            steps.append(self.gates(x_t, state))
            state = tuple(steps[-1][name] for name in UNITS[self.unit].state)
        return {name: torch.stack([step[name] for step in steps]) for name in steps[0]}

    def stacked(self) -> dict[str, Tensor]:
        """The parameters with the gates side by side, as `recurrence` takes them: W (D, gH), U (H, gH), b (gH), ..."""
        return {name: torch.cat(parts, dim=-1) for name, parts in self._blocks().items()}

    @torch.no_grad()
    def load_stacked(self, weights: Mapping[str, Tensor]) -> "Cell":
        """Take over parameters as `stacked` gives them. Raises ValueError for a name or a shape that does not fit."""
        blocks = self._blocks()
        if weights.keys() != blocks.keys():
            raise ValueError(f"a {self} has the parameters {', '.join(blocks)}, not {', '.join(weights) or 'none'}")
        shapes = {name: torch.cat(parts, dim=-1).shape for name, parts in blocks.items()}
        check_shapes(shapes, **weights)
        for name, parts in blocks.items():
            for part, value in zip(parts, weights[name].split(self.hidden_size, dim=-1), strict=True):
                part.copy_(value)
        return self

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")

    def _blocks(self) -> dict[str, list[Tensor]]:
        """The parameters that `stacked` puts side by side, in the order of the gates."""
        suffixes = [suffix(gate) for gate in UNITS[self.unit].gates]
        names = {letter: [letter + s for s in suffixes] for letter in "WUbV"} | {"b_U": ["b_U"]}
        there = {name for name, _ in self.named_parameters()}
        found = {block: [getattr(self, name) for name in of if name in there] for block, of in names.items()}
        return {block: parts for block, parts in found.items() if parts}

    def _linear(self, gate: str, x: Tensor, h: Tensor) -> Tensor:
        """``W x + U h + b`` of one gate."""
        b = getattr(self, "b" + suffix(gate))
        a = x @ getattr(self, "W" + suffix(gate)) + h @ getattr(self, "U" + suffix(gate))
        return a if b is None else a + b


class TanhCell(Cell):
    """The traditional unit: h_t = tanh(W x_t + U h_{t-1}).

    >>> TanhCell(3, 4)
    TanhCell(3, 4)
    """

    unit = "tanh"

    def equations(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        return {"h": torch.tanh(self._linear("h", x, h))}


class GRUCell(Cell):
    """The gated recurrent unit, section 3.2: the update gate z multiplies the NEW state.

    reset="before" is the paper's: the reset gate acts on h before the matrix product, U (r * h).
    reset="after" is cuDNN's and PyTorch's: r * (U h + b_U), always with a bias of its own inside the product.

    >>> GRUCell(3, 4, reset="after")
    GRUCell(3, 4, reset='after')
    """

    unit = "gru"
    U: Tensor  # of the candidate
    b_U: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, reset: str = "before", **kwargs):
        if reset not in ("before", "after"):
            raise ValueError(f"reset must be 'before' or 'after', not {reset!r}")
        super().__init__(input_size, hidden_size, **kwargs)
        self.reset = reset
        b_U = nn.Parameter(torch.zeros_like(self.U[0])) if reset == "after" else None
        self.register_parameter("b_U", b_U)

    def equations(self, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        z = torch.sigmoid(self._linear("z", x, h))
        r = torch.sigmoid(self._linear("r", x, h))
        if self.reset == "before":
            h_tilde = torch.tanh(self._linear("h_tilde", x, r * h))
        else:
            h_tilde = torch.tanh(self._linear("h_tilde", x, torch.zeros_like(h)) + r * (h @ self.U + self.b_U))
        return {"z": z, "r": r, "h_tilde": h_tilde, "h": (1 - z) * h + z * h_tilde}

    def extra_repr(self) -> str:
        return super().extra_repr() + f", reset={self.reset!r}"


class LSTMCell(Cell):
    """The long short-term memory unit, section 3.1, with the paper's diagonal peepholes V.

    The input and the forget gate look at c_{t-1}, the output gate at the new c_t. ``peepholes=False`` gives the unit of
    most libraries. The state is the pair (h, c).

    >>> LSTMCell(3, 4, peepholes=False)
    LSTMCell(3, 4, peepholes=False)
    """

    unit = "lstm"
    U_c: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, peepholes: bool = True, **kwargs):
        super().__init__(input_size, hidden_size, **kwargs)
        self.peepholes = peepholes
        for gate in UNITS[self.unit].peepholes:
            V = nn.Parameter(torch.zeros_like(self.U_c[0])) if peepholes else None
            self.register_parameter(f"V_{gate}", V)

    def equations(self, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor]:
        i = torch.sigmoid(self._linear("i", x, h) + self._peek("i", c))
        f = torch.sigmoid(self._linear("f", x, h) + self._peek("f", c))
        c_tilde = torch.tanh(self._linear("c_tilde", x, h))
        c = f * c + i * c_tilde
        o = torch.sigmoid(self._linear("o", x, h) + self._peek("o", c))
        return {"i": i, "f": f, "c_tilde": c_tilde, "c": c, "o": o, "h": o * torch.tanh(c)}

    def extra_repr(self) -> str:
        return super().extra_repr() + f", peepholes={self.peepholes}"

    def _peek(self, gate: str, c: Tensor) -> Tensor | float:
        """What a gate sees of the memory."""
        return getattr(self, f"V_{gate}") * c if self.peepholes else 0.0


CELLS = {"tanh": TanhCell, "gru": GRUCell, "lstm": LSTMCell}

"""Recurrent layers to put into a model of your own: the three units in the place of `torch.nn.RNN`, `GRU` and `LSTM`.

They are called as PyTorch's are and return what PyTorch's return, with one layer and one direction, and compute
through `gatedrnn.recurrence`. What PyTorch lacks is here: the paper's reset gate before the matrix product, and
peepholes. Where both have the same unit, `from_torch` and `to_torch` carry the parameters over.
T = steps, B = sequences, D = input size, H = hidden size, g = gates.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from .cells import CELLS, Cell
from .checks import check_shapes
from .recurrence import gru_recurrence, lstm_recurrence, tanh_recurrence
from .units import UNITS

RECURRENCES: dict[str, Callable[..., Any]] = {"tanh": tanh_recurrence, "gru": gru_recurrence, "lstm": lstm_recurrence}


class Layer(nn.Module):
    """What the three layers share. options : of the unit's cell: bias, dtype, generator, reset or peepholes.

    The parameters are those of `Cell.stacked`: W (D, gH), U (H, gH), b (gH), the gates side by side in the order of
    `UNITS`. They start as the cells' do: U orthogonal, W uniform in (-0.1, 0.1), the rest 0.
    """

    unit: str
    library: type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]  # PyTorch's layer of this unit ...
    order: tuple[str, ...]  # ... the order of the gates in it ...
    common: dict[str, Any]  # ... and the options with which it is the same unit
    W: Tensor
    U: Tensor
    b: Tensor
    b_U: Tensor

    def __init__(self, input_size: int, hidden_size: int, *, batch_first: bool = False, device=None, **options):
        super().__init__()
        cell = CELLS[self.unit](input_size, hidden_size, **options)
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        self.bias, self._summary = cell.bias, cell.extra_repr()
        for name, part in cell.stacked().items():
            self.register_parameter(name, nn.Parameter(part.detach().to(device)))

    def forward(self, x: Tensor, state: Tensor | tuple[Tensor, Tensor] | None = None):
        """h at every step, and the last state: x (T, B, D) -> h (T, B, H), h_T (1, B, H), for an LSTM (h_T, c_T).

        With batch_first, x and h are (B, T, .); a single sequence is x (T, D) and gives h (T, H) and h_T (1, H). The
        state before the first step has the shape of the last, and is zero unless given.

        Raises ValueError for other shapes and dtypes, for no step at all, and for packed sequences, which are unknown.
        """
        if not isinstance(x, Tensor):
            raise ValueError(f"x must be a tensor, not a {type(x).__name__}: pad the sequences")
        alone, turned = x.ndim == 2, self.batch_first and x.ndim == 3
        x = x[:, None] if alone else x.transpose(0, 1) if turned else x
        B = check_shapes({"x": ("T", "B", self.input_size)}, x=x)["B"]
        if not len(x):
            raise ValueError("x must have at least one step: there is no last state without one")
        start = {name: part[:, None] if alone else part for name, part in self._start(state).items()}
        check_shapes(dict.fromkeys(start, (1, B, self.hidden_size)), **start)
        weights = {name: part[None] for name, part in self.named_parameters()}
        states = RECURRENCES[self.unit](x[None], **weights, **start)
        h, *last = states if self.unit == "lstm" else (states,)
        last = [part[:, -1, 0] if alone else part[:, -1] for part in (h, *last)]
        h = h[0, :, 0] if alone else h[0].transpose(0, 1) if turned else h[0]
        return h, tuple(last) if self.unit == "lstm" else last[0]

    def _start(self, state) -> dict[str, Tensor]:
        """The initial states by the names that `recurrence` has for them."""
        names = [f"{name}0" for name in UNITS[self.unit].state]
        if state is None:
            return {}
        parts = (state,) if isinstance(state, Tensor) else tuple(state)
        if len(parts) != len(names):
            meant = "one tensor, h_0" if len(names) == 1 else "the pair (h_0, c_0)"
            raise ValueError(f"the state of {type(self).__name__} is {meant}, not {len(parts)} tensor(s)")
        return dict(zip(names, parts, strict=True))

    @classmethod
    def from_torch(cls, layer: nn.RNNBase) -> Self:
        """A layer with the parameters of PyTorch's, which computes the same.

        PyTorch adds two biases where one does the same: here they are one. Its GRU's z keeps the old state and ours
        takes the new one, so that the parameters of z change their sign.

        Raises ValueError for a layer of another kind, or with what is missing here: several layers, two directions, a
        projection, a ReLU.
        """
        if not isinstance(layer, cls.library):
            raise ValueError(f"{cls.__name__} takes over a torch.nn.{cls.library.__name__}, not {layer}")
        relu = getattr(layer, "nonlinearity", "tanh") != "tanh"
        if layer.num_layers != 1 or layer.bidirectional or layer.proj_size or relu:
            raise ValueError(f"only one layer in one direction, without projection or ReLU, is known here, not {layer}")
        given = dict(layer.named_parameters())
        D, H = layer.input_size, layer.hidden_size
        device, dtype = given["weight_ih_l0"].device, given["weight_ih_l0"].dtype
        own = cls(D, H, bias=layer.bias, batch_first=layer.batch_first, device=device, dtype=dtype, **cls.common)
        weights = {"W": given["weight_ih_l0"].T, "U": given["weight_hh_l0"].T}
        if layer.bias:
            inside = given["bias_hh_l0"].clone()
            if cls.unit == "gru":  # the candidate's second bias is multiplied by r, and stays apart
                inside[-H:] = 0
                own.b_U.data.copy_(given["bias_hh_l0"][-H:])
            weights["b"] = given["bias_ih_l0"] + inside
        with torch.no_grad():
            for name, theirs in weights.items():
                getattr(own, name).copy_(_reordered(theirs, cls.order, UNITS[cls.unit].gates))
        return own

    def to_torch(self) -> nn.RNNBase:
        """PyTorch's layer with these parameters. Raises ValueError where PyTorch lacks the unit."""
        cell = self.cell()
        if any(getattr(cell, option) != value for option, value in self.common.items()):
            needed = ", ".join(f"{option}={value!r}" for option, value in self.common.items())
            raise ValueError(f"torch.nn.{self.library.__name__} has no such unit as {self}: it needs {needed}")
        b_U = getattr(self, "b_U", None)
        bias = self.bias or b_U is not None
        layer = self.library(self.input_size, self.hidden_size, bias=bias, batch_first=self.batch_first)
        layer.to(self.W.device, self.W.dtype)
        taken = dict(layer.named_parameters())
        with torch.no_grad():
            for name, part in {"weight_ih_l0": self.W, "weight_hh_l0": self.U}.items():
                taken[name].copy_(_reordered(part, UNITS[self.unit].gates, self.order).T)
            if bias:
                taken["bias_ih_l0"].zero_(), taken["bias_hh_l0"].zero_()
            if self.bias:
                taken["bias_ih_l0"].copy_(_reordered(self.b, UNITS[self.unit].gates, self.order))
            if b_U is not None:
                taken["bias_hh_l0"][-self.hidden_size :] = b_U
        return layer

    def cell(self) -> Cell:
        """The readable cell (`gatedrnn.cells`) with a copy of the parameters."""
        weights = {name: part.detach() for name, part in self.named_parameters()}
        options: dict[str, Any] = {}
        if self.unit == "gru":
            options["reset"] = "after" if "b_U" in weights else "before"
        if self.unit == "lstm":
            options["peepholes"] = "V" in weights
        cell = CELLS[self.unit](self.input_size, self.hidden_size, bias=self.bias, dtype=self.W.dtype, **options)
        return cell.to(self.W.device).load_stacked(weights)

    def extra_repr(self) -> str:
        return self._summary + (", batch_first=True" if self.batch_first else "")


class TanhRNN(Layer):
    """The tanh unit over sequences, in the place of `torch.nn.RNN`.

    >>> h, last = TanhRNN(3, 4)(torch.zeros(7, 2, 3))
    >>> h.shape, last.shape
    (torch.Size([7, 2, 4]), torch.Size([1, 2, 4]))
    """

    unit, library, order, common = "tanh", nn.RNN, ("h",), {}


class GRU(Layer):
    """The gated recurrent unit over sequences, in the place of `torch.nn.GRU`.

    reset="before" (the paper's) or "after" the matrix product (PyTorch's).

    >>> GRU(3, 4, batch_first=True)
    GRU(3, 4, reset='before', batch_first=True)
    >>> theirs = nn.GRU(3, 4)
    >>> x = torch.randn(7, 2, 3)
    >>> torch.allclose(GRU.from_torch(theirs)(x)[0], theirs(x)[0], atol=1e-6)
    True
    """

    unit, library, order, common = "gru", nn.GRU, ("r", "z", "h_tilde"), {"reset": "after"}


class LSTM(Layer):
    """The LSTM over sequences, in the place of `torch.nn.LSTM`; with the paper's peepholes unless peepholes=False.

    >>> h, (h_last, c_last) = LSTM(3, 4)(torch.zeros(7, 2, 3))
    >>> c_last.shape
    torch.Size([1, 2, 4])
    """

    unit, library, order, common = "lstm", nn.LSTM, ("i", "f", "c_tilde", "o"), {"peepholes": False}


def _reordered(array: Tensor, given: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Blocks of gates along the last axis in another order; z changes its sign between PyTorch's meaning and ours."""
    blocks = dict(zip(given, array.chunk(len(given), dim=-1), strict=True))
    return torch.cat([-blocks[gate] if gate == "z" else blocks[gate] for gate in wanted], dim=-1)

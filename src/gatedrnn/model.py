"""The sequence model, p(x) = prod_t p(x_t | x_<t): a recurrence that summarises the past and an output on top.

A `SequenceModel` is a description and holds no numbers. Its parameters live in one tensor theta (P, N), a row for each
member of a population, so that an optimiser, weight noise or a checkpoint is one operation on one array.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from . import loops, variants
from .cells import CELLS, Cell, GRUCell
from .checks import check_shapes, check_sizes
from .outputs import BernoulliOutput, GaussianMixtureOutput, RecallOutput
from .protocol import CHOICES
from .recurrence import blind_recurrence, engine_for, gru_recurrence, lstm_recurrence, tanh_recurrence
from .units import UNITS, check_unit


@dataclass(frozen=True)
class SequenceModel:
    """A recurrent layer of one kind of unit, and an output layer.

    unit : "tanh", "gru" or "lstm". output : a `BernoulliOutput` or `GaussianMixtureOutput`. peepholes : for the LSTM;
    the paper's has them. reset : "before" (the paper's) or "after" the matrix product, for the GRU.

    Raises ValueError for an unknown unit (it lists the known ones), a size below 1, an unknown reset, and for what the
    unit does not have.
    """

    unit: str
    input_size: int
    hidden_size: int
    output: BernoulliOutput | GaussianMixtureOutput
    peepholes: bool = True
    reset: str = "before"
    independent: bool = False  # a GRU whose forget gate f is its own, in place of 1 - z
    squash: bool = True  # an LSTM's h = o tanh(c); False: h = o c
    held: tuple[tuple[str, str], ...] = ()  # gates that training does not move, see `gatedrnn.variants`

    def __post_init__(self):
        check_unit(self.unit)
        check_sizes(input_size=self.input_size, hidden_size=self.hidden_size)
        if self.reset not in ("before", "after"):
            raise ValueError(f"reset must be 'before' or 'after', not {self.reset!r}")
        if not self.peepholes and self.unit != "lstm":
            raise ValueError(f"only the LSTM has peepholes to leave out: do not pass peepholes for {self.unit!r}")
        if self.reset != "before" and self.unit != "gru":
            raise ValueError(f"only the GRU has a reset gate: do not pass reset for {self.unit!r}")
        if self.independent and self.unit != "gru":
            raise ValueError(f"only a GRU's gates can be made independent: do not pass independent for {self.unit!r}")
        if not self.squash and self.unit != "lstm":
            raise ValueError(f"only the LSTM has a tanh on its memory: do not pass squash for {self.unit!r}")
        for gate, how in self.held:
            if gate not in self.gates or how not in variants.BLOCKS or (how == "complement" and "f" not in self.gates):
                raise ValueError(
                    f"held must be pairs of a gate ({', '.join(self.gates)}) and how ({', '.join(variants.BLOCKS)}; "
                    f"complement where there is a gate f), not {(gate, how)!r}"
                )

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates in the order in which their columns lie side by side in W, U and b."""
        gates = UNITS[self.unit].gates
        return (*gates[:-1], "f", gates[-1]) if self.independent else gates

    def block(self, gate: str) -> slice:
        """The columns of W, U, V and b that belong to a gate or to the candidate."""
        place = self.gates.index(gate)
        return slice(place * self.hidden_size, (place + 1) * self.hidden_size)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of one member, in the order in which theta holds them."""
        D, H, g, K = self.input_size, self.hidden_size, len(self.gates), self.output.width
        shapes = {"W": (D, g * H), "U": (H, g * H), "b": (g * H,)}
        if self.unit == "lstm" and self.peepholes:
            shapes["V"] = (3 * H,)
        if self.unit == "gru" and self.reset == "after":
            shapes["b_U"] = (H,)
        return shapes | {"W_out": (H, K), "b_out": (K,)}

    @property
    def kind(self) -> str:
        """The kind of data it is for: "music" (binary vectors), "recall" (the last of them) or "speech"."""
        return self.output.kind

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def num_recurrent_parameters(self) -> int:
        """Without the output layer, which is what Table 1 of the paper counts, and without what is held."""
        parts = (math.prod(shape) for name, shape in self.shapes.items() if not name.endswith("_out"))
        return sum(parts) - variants.num_held(self)

    def init(self, seeds: Sequence[int], dtype: torch.dtype = torch.float32, start: str = "authors") -> Tensor:
        """theta (P, N), a row a seed.

        start "authors": U orthogonal gate by gate, W and W_out uniform in (-0.1, 0.1), the rest 0, as in the authors'
        later code. "glorot", "modern": see `variants.begin`. Raises ValueError for seeds that are no list of
        whole numbers or an empty one, and for another start.
        """
        if start not in CHOICES["start"]:
            raise ValueError(f"start must be one of {', '.join(CHOICES['start'])}, not {start!r}")
        listed = isinstance(seeds, Sequence | np.ndarray) and len(seeds)
        if not listed or not all(isinstance(seed, Integral) for seed in seeds):
            raise ValueError(f"seeds must be a list with one seed a member, such as [0], not {seeds!r}")
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        return torch.stack([self._init(generator, start) for generator in generators]).to(dtype)

    @torch.no_grad()
    def _init(self, generator: torch.Generator, start: str) -> Tensor:
        # drawn in float64 whatever the precision asked for, so that float32 and float64 runs start at the same point
        cell = self._drawn(dtype=torch.float64, generator=generator)
        parameters = cell.stacked()
        if self.independent:  # the forget gate's blocks, before the candidate's
            H = self.hidden_size
            extra = GRUCell(self.input_size, H, dtype=torch.float64, generator=generator).stacked()
            for name in ("W", "U", "b"):
                parts = [parameters[name][..., : 2 * H], extra[name][..., :H], parameters[name][..., 2 * H :]]
                parameters[name] = torch.cat(parts, dim=-1)
        W_out = torch.empty(self.shapes["W_out"], dtype=torch.float64).uniform_(-0.1, 0.1, generator=generator)
        parameters |= {"W_out": W_out, "b_out": W_out.new_zeros(self.output.width)}
        if start != "authors":
            parameters = variants.begin(self, parameters, start, generator)
        return torch.cat([parameters[name].flatten() for name in self.shapes])

    def new_cell(self, **kwargs) -> Cell:
        """A readable cell (`gatedrnn.cells`) of this model's unit and sizes; kwargs: its dtype and generator.

        Raises ValueError for a variant whose gates are held or have another form: the cells are the full units.
        """
        if self.held or self.independent or not self.squash:
            raise ValueError(
                f"there is no readable cell of this variant of {self.unit!r}: use the model, or the full unit"
            )
        return self._drawn(**kwargs)

    def _drawn(self, **kwargs) -> Cell:
        """The cell whose start the model's is taken from."""
        if self.unit == "gru":
            kwargs["reset"] = self.reset
        if self.unit == "lstm":
            kwargs["peepholes"] = self.peepholes
        return CELLS[self.unit](self.input_size, self.hidden_size, **kwargs)

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """The named parameters that theta (P, N) stands for, each with the leading axis P."""
        return self.parts(variants.constrained(self, theta))

    def parts(self, theta: Tensor) -> dict[str, Tensor]:
        """The named parts of theta (P, N), views with the leading axis P; held entries as they are."""
        parts = theta.split([math.prod(shape) for shape in self.shapes.values()], dim=1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def states(self, theta: Tensor, x: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, ...]:
        """h, and c for an LSTM, at every step: x (P or 1, T, B, D), state (P, B, H) -> (P, T, B, H).

        Raises ValueError for other shapes, and for a state of another length than the unit's.
        """
        names = UNITS[self.unit].state
        if state is not None and len(state) != len(names):
            raise ValueError(
                f"the state of {self.unit!r} has the parts {', '.join(names)}: got {len(state)} of {len(names)}"
            )
        check_shapes({"theta": ("P", self.num_parameters), "x": ("P|1", "T", "B", self.input_size)}, theta=theta, x=x)
        p = self.unflatten(theta)
        recurrent = {name: part for name, part in p.items() if not name.endswith("_out")}
        start = {f"{name}0": part for name, part in zip(names, state or (), strict=False)}
        if self.unit == "lstm":
            return lstm_recurrence(x, **recurrent, **start, squash=self.squash)
        if variants.blind(self):
            return (blind_recurrence(x, **recurrent, **start),)
        recur = tanh_recurrence if self.unit == "tanh" else gru_recurrence
        return (recur(x, **recurrent, **start),)

    def hidden(self, theta: Tensor, x: Tensor) -> Tensor:
        """The hidden state at every step: x (P or 1, T, B, D) -> h (P, T, B, H)."""
        return self.states(theta, x)[0]

    def _readout(self, theta: Tensor, h: Tensor) -> Tensor:
        p = self.unflatten(theta)
        return torch.baddbmm(p["b_out"][:, None], h.flatten(1, 2), p["W_out"]).unflatten(1, h.shape[1:3])

    def predict(self, theta: Tensor, x: Tensor) -> Tensor:
        """What the output needs to know of each next observation: x (P or 1, T, B, D) -> a (P, T, B, width)."""
        return self._readout(theta, self.hidden(theta, x))

    def step(
        self, theta: Tensor, x: Tensor, state: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step, for sampling: x (P, B, D) and the state so far -> a (P, B, width) and the next state."""
        states = self.states(theta, x[:, None], state)
        return self._readout(theta, states[0])[:, 0], tuple(s[:, 0] for s in states)

    def nll(self, theta: Tensor, batch, keep: Tensor | None = None) -> Tensor:
        """Negative log-likelihood in nats of every step of a batch, 0 beyond a sequence's end -> (P, T, B).

        keep (P, T, B, H), where given, multiplies the hidden state on its way to the output layer (dropout).
        """
        shared = ("P|1", "T", "B")
        expected = {"x": (*shared, self.input_size), "target": (*shared, self.output.size), "mask": shared}
        expected = {"theta": ("P", self.num_parameters)} | expected
        check_shapes(expected, theta=theta, x=batch.x, target=batch.target, mask=batch.mask)
        engine = engine_for(theta)
        if keep is None and engine is not loops and self._in_one_piece(theta, batch):
            theta = variants.constrained(self, theta)
            return engine.nll(theta, batch.x, batch.target, batch.mask, self.shapes, self.squash)
        h = self.hidden(theta, batch.x)
        a = self._readout(theta, h if keep is None else h * keep)
        return self.output.nll(a, batch.target) * batch.mask

    def _in_one_piece(self, theta: Tensor, batch) -> bool:
        """Whether the compiled engine has a way of its own from theta to the likelihood of such a batch, and back."""
        covered = isinstance(self.output, BernoulliOutput) and self.reset == "before" and not self.independent
        alike = batch.x.dtype == batch.target.dtype == theta.dtype and batch.mask.dtype == torch.bool
        return covered and alike and not batch.x.requires_grad and not batch.target.requires_grad


def music_model(unit: str, hidden_size: int | None = None, **options) -> SequenceModel:
    """The paper's model of music: 88 pitches in and out, the size of Table 1 unless another is given.

    >>> model = music_model("gru")
    >>> model.hidden_size, model.num_recurrent_parameters
    (46, 18630)
    >>> model.init(seeds=[0, 1]).shape  # theta (P, N)
    torch.Size([2, 22766])

    Raises ValueError for an unknown unit, and for an option that the unit does not have.
    """
    size = UNITS[check_unit(unit)].music_size if hidden_size is None else hidden_size
    return SequenceModel(unit, 88, size, BernoulliOutput(88), **options)


def recall_model(unit: str, hidden_size: int | None = None, **options) -> SequenceModel:
    """The model of music for the recall task, where only the last step counts. Raises ValueError as `music_model`."""
    return replace(music_model(unit, hidden_size, **options), output=RecallOutput(88))


def speech_model(unit: str, hidden_size: int | None = None, **options) -> SequenceModel:
    """The paper's model of speech: 20 samples in, a mixture of 20 Gaussians over the next 10 out.

    >>> speech_model("lstm").num_recurrent_parameters  # Table 1 has 169.1 thousand
    169065

    Raises ValueError for an unknown unit, and for an option that the unit does not have.
    """
    size = UNITS[check_unit(unit)].speech_size if hidden_size is None else hidden_size
    return SequenceModel(unit, 20, size, GaussianMixtureOutput(), **options)


MODELS = {"music": music_model, "recall": recall_model, "speech": speech_model}  # by the kind of data

"""One trained model: a `SequenceModel` with its numbers, and no population axis.

Training works on populations, theta (P, N); whoever looks at, scores, samples or keeps a model has one of them, and
takes it out as a `Network`. Shapes: x (T, B, D) time first, parameters by the name that they have in the paper.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .batching import Batch
from .cells import Cell, State
from .checks import check_shapes
from .evaluation import Evaluation, evaluate
from .files import DataError, atomic, read_npz
from .model import SequenceModel
from .outputs import BernoulliOutput, GaussianMixtureOutput, RecallOutput

OUTPUTS = {output.__name__: output for output in (BernoulliOutput, RecallOutput, GaussianMixtureOutput)}
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class Network:
    """A model and the parameters of one member of a population.

    theta : (N,), a row of a population's. data : the name of the data set that it was trained on, if that is known.

    >>> from gatedrnn import music_model
    >>> model = music_model("gru", 4)
    >>> network = Network(model, model.init([0])[0])
    >>> network.predict(torch.zeros(7, 2, 88)).shape
    torch.Size([7, 2, 88])

    Raises ValueError when theta is not a tensor (N,) of float32 or float64.
    """

    model: SequenceModel
    theta: Tensor
    data: str | None = None

    def __post_init__(self):
        check_shapes({"theta": (self.model.num_parameters,)}, theta=self.theta)
        if self.theta.dtype not in DTYPES:
            raise ValueError(f"theta must hold float32 or float64, not {str(self.theta.dtype).removeprefix('torch.')}")
        if not isinstance(self.data, str | None):
            raise ValueError(f"data must be the name of a data set, not {self.data!r}")

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name: W (D, gH), U (H, gH), b (gH), ..., W_out (H, K), b_out (K); views of theta."""
        return {name: part[0] for name, part in self.model.unflatten(self.theta[None]).items()}

    @property
    def W_out(self) -> Tensor:
        """The weights of the output layer, (H, K)."""
        return self.parameters["W_out"]

    @property
    def b_out(self) -> Tensor:
        """The biases of the output layer, (K,)."""
        return self.parameters["b_out"]

    @property
    def cell(self) -> Cell:
        """The readable cell (`gatedrnn.cells`) with a copy of the recurrent parameters."""
        weights = {name: part for name, part in self.parameters.items() if not name.endswith("_out")}
        return self.model.new_cell(dtype=self.theta.dtype).to(self.theta.device).load_stacked(weights)

    def to(self, *target: torch.dtype | torch.device | str) -> "Network":
        """The same network on another device, in another precision, or both, as `torch.Tensor.to`."""
        return replace(self, theta=self.theta.to(*target))  # type: ignore[call-overload]  # torch says how

    def hidden(self, x: Tensor) -> Tensor:
        """The hidden state at every step, started at zero: x (T, B, D) -> h (T, B, H)."""
        return self.model.hidden(self.theta[None], self._input(x))[0]

    def predict(self, x: Tensor) -> Tensor:
        """What the output needs to know of each next observation: x (T, B, D) -> a (T, B, K).

        Raises ValueError when x has another shape.
        """
        return self.model.predict(self.theta[None], self._input(x))[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One step, for sampling: x (B, D) and the state so far -> a (B, K) and the next state, each (B, H)."""
        before = None if state is None else tuple(part[None] for part in state)
        a, after = self.model.step(self.theta[None], self._input(x[None])[:, 0], before)
        return a[0], tuple(part[0] for part in after)

    def nll(self, x: Batch | Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Negative log-likelihood of every step, in nats -> (T, B), 0 where a sequence has ended.

        Either a `Batch` that is not one of a population's, or x (T, B, D), target (T, B, size) and, unless every step
        is real, mask (T, B). Raises ValueError for other shapes.
        """
        if isinstance(x, Batch):
            batch = x
            check_shapes({"batch.x": (1, "T", "B", self.model.input_size)}, **{"batch.x": batch.x})
        elif target is None:
            raise ValueError("nll needs a target (T, B, size) beside x, or a Batch, which has both")
        else:
            mask = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
            batch = Batch(self._input(x), target[None], mask[None])
        return self.model.nll(self.theta[None], batch.to(self.theta.device, self.theta.dtype))[0]

    def evaluate(self, sequences: Sequence[np.ndarray], batch_size: int = 16) -> Evaluation:
        """The average NLL of some sequences, as `gatedrnn.evaluate` gives it for a population."""
        return evaluate(self.model, self.theta[None], sequences, batch_size)[0]

    @torch.no_grad()
    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Every quantity that the unit computes over x (T, B, D), by its name in the paper; each (T, B, H).

        Names: tanh "h"; GRU "z", "r", "h_tilde", "h"; LSTM "i", "f", "c_tilde", "c", "o", "h". Padded steps are
        computed too: mask them before averaging (see `diagnostics.saturation`). Raises ValueError for another shape.
        """
        return self.cell.run(self._input(x)[0])

    def save(self, path: str | Path) -> Path:
        """Write the network to a file (.npz): theta, and one line of JSON that says what it is; whole or not at all.

        Raises ValueError when the folder is missing or when theta is not finite.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise ValueError(f"the folder {path.parent} does not exist: make it first")
        if not self.theta.isfinite().all():
            raise ValueError(f"theta holds NaN or infinity, so {path} was not written: train with a smaller rate")
        output = {"name": type(self.model.output).__name__} | asdict(self.model.output)
        about = {"model": asdict(self.model) | {"output": output}, "data": self.data}
        with atomic(path) as file:
            np.savez(file, network=json.dumps(about), theta=self.theta.detach().cpu().numpy())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Network":
        """Read a network that `save` wrote. No pickle is ever opened.

        Raises ValueError, in one sentence, when there is no such file, or when it holds anything but a network.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"there is no file {path}: train a model with `gatedrnn train --output {path}`")
        try:
            stored = read_npz(path)
            about = json.loads(str(stored["network"]))
            if stored.keys() != {"network", "theta"} or about.keys() != {"model", "data"}:
                raise ValueError("it has other entries than a network")
            network = cls(_model(about["model"]), torch.from_numpy(stored["theta"]), about["data"])
        except (DataError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} is not a network that `gatedrnn train` or `Network.save` wrote") from error
        if not network.theta.isfinite().all():
            raise ValueError(f"{path} holds NaN or infinity among its parameters: train that model again")
        return network

    def _input(self, x: Tensor) -> Tensor:
        """x (T, B, D) with the leading axis of a population of one, in the network's precision and on its device."""
        check_shapes({"x": ("T", "B", self.model.input_size)}, x=x)
        return x.to(self.theta.device, self.theta.dtype)[None]


def _model(about: dict) -> SequenceModel:
    """The description that `Network.save` wrote as JSON."""
    output = dict(about["output"])
    held = tuple((gate, how) for gate, how in about["held"])
    return SequenceModel(**about | {"output": OUTPUTS[output.pop("name")](**output), "held": held})

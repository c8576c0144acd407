"""Looking inside a model: what its gates do, and how far back a gradient reaches.

Everything here runs the readable cells (`gatedrnn.cells`), which are the specification, under PyTorch's own automatic
differentiation and in float64, so that a gradient that has shrunk by sixty orders of magnitude is still a number.
T = steps, B = sequences of a batch, D = input size, H = hidden size. Time runs from t = 1 to T.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .batching import Batch
from .cells import Cell, State
from .checks import check_shapes
from .network import Network
from .units import UNITS


def _steps(cell: Cell, x: Tensor) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Run a cell over x (T, B, D) from a zero state; yield each step's gates and the memory handed to the next step.

    The memory is h, or for an LSTM a copy of c: the step itself reads c (through h = o tanh(c)), the copy is read by
    the next step only, so that a gradient with respect to the copy holds the direct path and nothing else.
    """
    state = tuple(part.requires_grad_() for part in cell.start(x.shape[1]))
    for x_t in x:
        gates = cell.gates(x_t, state)
        state = (gates["h"], gates["c"].clone()) if "c" in gates else (gates["h"],)
        yield gates, state[-1]


def saturation(
    gate: ArrayLike, low: float = 0.1, high: float = 0.9, mask: ArrayLike | None = None
) -> tuple[float, float]:
    """Return which fraction of a gate's values lies below `low` and which above `high`.

    gate is (T, B, H) or any shape; mask (T, B), if given, says which steps are real and leaves the padding out.
    For values in (-1, 1), such as a tanh unit's h, use low=-0.9.

    >>> saturation([0.05, 0.5, 0.95, 0.97])
    (0.25, 0.5)

    Raises ValueError when there is no value to count.
    """
    values = np.asarray(gate)
    if mask is not None:
        values = values[np.asarray(mask, dtype=bool)]
    if values.size == 0:
        raise ValueError("There is no gate value to count.")
    return float((values < low).mean()), float((values > high).mean())


def gradient_flow(network: Network, batch: Batch) -> dict[str, np.ndarray]:
    """How strongly the loss of the last step, L_T, depends on the state k steps earlier: norms by lag k = T - t.

    The batch is one that a population shares, with leading axis 1. Each value is an array (T,), index k = 0 ... T - 1,
    of the Euclidean norm of a gradient, averaged over the sequences of the batch that are long enough; T is each
    sequence's own last real step.

    - "h": dL_T/dh_t, through everything that reads h_t.
    - "c" (LSTM only): dL_T/dc_t, through everything that reads c_t: the next step, and h_t = o_t tanh(c_t).
    - "state": the gradient with respect to what step t hands to step t + 1. For the tanh unit and the GRU that is h_t,
      so "state" equals "h". For the LSTM it is the pair (h_t, c_t), its two entries moved independently: the norm of
      (dL_T/dh_t, dL_T/dc_t with h_t held fixed). At lag 0 the output reads h_T alone, so "state" equals "h".

    Compare the three units by "state". An LSTM's "h" alone misses the path that it is built around, and its "c"
    alone has no counterpart in the other two. The state is the whole of what the future can know about the past, in
    every unit. Two cautions: c_t is not confined to (-1, 1) as h_t is, so a nudge of a given size can mean less to it,
    and the LSTM's state has twice as many numbers a unit. Curves divided by their value at lag 0 compare the decay.

    Raises ValueError for a sequence without a real step.
    """
    network = network.to("cpu", torch.float64)
    cell = network.cell.requires_grad_(False)
    check_shapes({"batch.x": (1, "T", "B", cell.input_size)}, **{"batch.x": batch.x})
    (x,), (target,), (mask,) = batch.x.double(), batch.target.double(), batch.mask
    last = (mask * torch.arange(1, len(mask) + 1)[:, None]).amax(0) - 1  # a mask may begin late, as in the recall task
    if (last < 0).any():
        raise ValueError("A sequence of the batch has no real step.")
    each = torch.arange(len(last))
    with torch.enable_grad():
        steps = list(_steps(cell, x))
        h_last = torch.stack([gates["h"] for gates, _ in steps])[last, each]
        a = h_last @ network.W_out.detach() + network.b_out.detach()
        # each sequence's gradient is its own, so that a sum keeps them apart
        loss = network.model.output.nll(a, target[last, each]).sum()
        paths = {"h": [gates["h"] for gates, _ in steps]}
        if "c" in steps[0][0]:
            paths |= {"c": [gates["c"] for gates, _ in steps], "direct": [memory for _, memory in steps]}
        nodes = [node for path in paths.values() for node in path]
        gradients = torch.autograd.grad(loss, nodes, allow_unused=True, materialize_grads=True)
    norms = {name: torch.stack(gradients[i * len(x) : (i + 1) * len(x)]).norm(dim=-1) for i, name in enumerate(paths)}
    norms["state"] = torch.hypot(norms["h"], norms.pop("direct")) if "c" in norms else norms["h"]

    lag = torch.arange(int(last.max()) + 1)[:, None]
    long_enough = lag <= last
    t = (last - lag).clamp(min=0)
    return {name: ((norm[t, each] * long_enough).sum(1) / long_enough.sum(1)).numpy() for name, norm in norms.items()}


def step_jacobian(cell: Cell, x: Tensor, state: State, of: str = "h") -> Tensor:
    """The Jacobian of one step, J[j, k] = d h_t[j] / d h_{t-1}[k], at input x (D,) and previous state, (h,) or (h, c).

    of="h" gives dh_t/dh_{t-1} (H, H), for an LSTM with c_{t-1} held fixed; of="c" (LSTM only) dc_t/dc_{t-1} (H, H) with
    h_{t-1} held fixed, which is diag(f_t) when there are no peepholes; of="state" the whole state's: (H, H), or
    (2H, 2H) over (h, c) for an LSTM. A gradient, written as a row, goes one step back by g @ J.

    >>> from gatedrnn import LSTMCell
    >>> cell = LSTMCell(3, 4)
    >>> step_jacobian(cell, torch.ones(3), cell.start(), of="state").shape
    torch.Size([8, 8])

    Raises ValueError for a part that the unit does not have.
    """
    names = UNITS[cell.unit].state
    if of not in (*names, "state"):
        raise ValueError(f"of must be one of {', '.join((*names, 'state'))}, not {of!r}")
    state = cell.checked(x, state)
    blocks = torch.autograd.functional.jacobian(lambda *previous: cell(x, previous), state)
    if of == "state":
        return torch.cat([torch.cat(row, dim=1) for row in blocks])
    return blocks[names.index(of)][names.index(of)]

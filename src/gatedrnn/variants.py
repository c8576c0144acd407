"""Units with a part taken away: the paper's open question, "the contribution of each component".

A variant is the full unit with some of its parameters held: at a value, or at the mirror image of another gate's. So it
runs through the same recurrence, and its gradient is the full unit's with the held entries left out. Four variants need
more than that and are forms of the unit itself: the reset gate after the product, independent gates, no peepholes, no
tanh on the memory.

How a gate is held:

- "one": always open, sigmoid(40) = 1 in single precision;
- "constant": a learnt number a unit, that looks at nothing;
- "input": it sees x only, as in units that run as a parallel scan;
- "complement": one minus the forget gate (of an LSTM's input gate).
"""

import functools
import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .units import UNITS

OPEN = 40.0
BLOCKS = {"one": "WUVb", "constant": "WUV", "input": "UV", "complement": "WUVb"}  # what is held of a gate's parameters


@dataclass(frozen=True)
class Variant:
    """One variant of a unit: what is said of it, how its gates are held, and the form and start of its model."""

    title: str  # in a table
    held: tuple[tuple[str, str], ...] = ()  # (gate, how)
    form: dict[str, object] = field(default_factory=dict)  # fields of SequenceModel
    start: str = "modern"  # as in Protocol.start


VARIANTS = {
    "tanh": {"full": Variant("full")},
    "gru": {
        "full": Variant("full"),
        "no_reset": Variant("r = 1", (("r", "one"),)),
        "constant_update": Variant("z constant", (("z", "constant"),)),
        "no_update": Variant("z = 1", (("z", "one"),)),
        "no_reset_constant_update": Variant("r = 1, z constant", (("r", "one"), ("z", "constant"))),
        "reset_after": Variant("reset after the product", form={"reset": "after"}),
        "independent": Variant("independent input and forget", form={"independent": True}),
        "input_gates": Variant("gates see only x", (("z", "input"), ("r", "input"))),
        "minimal": Variant("minimal: nothing sees h", (("z", "input"), ("r", "one"), ("h_tilde", "input"))),
    },
    "lstm": {
        "full": Variant("full"),
        "zero_bias": Variant("forget bias 0", start="glorot"),
        "no_peepholes": Variant("no peepholes", form={"peepholes": False}),
        "no_input_gate": Variant("i = 1", (("i", "one"),)),
        "no_forget_gate": Variant("f = 1", (("f", "one"),)),
        "no_output_gate": Variant("o = 1", (("o", "one"),)),
        "no_tanh": Variant("no tanh on c", form={"squash": False}),
        "coupled": Variant("i = 1 - f", (("i", "complement"),)),
        "forget_only": Variant("forget gate only", (("i", "complement"), ("o", "one")), {"squash": False}),
    },
}


def variant_of(unit: str, name: str) -> Variant:
    """A variant by name. Raises ValueError, listing the unit's variants, for an unknown one."""
    if name not in VARIANTS[unit]:
        raise ValueError(f"the {unit} unit has no variant {name!r}: it has {', '.join(VARIANTS[unit])}")
    return VARIANTS[unit][name]


def apply_variant(model, name: str):
    """The model with a part taken away, at the same number of hidden units."""
    variant = variant_of(model.unit, name)
    return replace(model, held=variant.held, **variant.form)


def same_parameters(model, name: str):
    """The variant with as many hidden units as bring it nearest to the full model's number of recurrent parameters."""
    budget, made = model.num_recurrent_parameters, apply_variant(model, name)
    sizes = (replace(made, hidden_size=size) for size in range(1, 4 * model.hidden_size))
    return min(sizes, key=lambda one: abs(one.num_recurrent_parameters - budget))


@functools.cache
def constraint(model, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """scale (N,), shift (N,) and source (N,) or None: the parameters used are theta[source] * scale + shift.

    A free entry has scale 1, a held one 0 and its value as the shift; an entry that mirrors another's has scale -1 and
    that other's place as its source.
    """
    size = model.num_parameters
    scale, shift, source = torch.ones(1, size), torch.zeros(1, size), torch.arange(size)[None]
    views = [model.parts(vector) for vector in (scale, shift, source)]  # what is written to them lands in the vectors
    for gate, how in model.held:
        block = model.block(gate)
        for letter in BLOCKS[how]:
            if letter not in views[0] or (letter == "V" and gate not in UNITS[model.unit].peepholes):
                continue
            views[0][letter][..., block] = -1.0 if how == "complement" else 0.0
            if how == "complement":
                views[2][letter][..., block] = views[2][letter][..., model.block("f")]
            elif letter == "b" and how == "one":
                views[1][letter][..., block] = OPEN
    tied = bool((scale < 0).any())
    return scale[0].to(device, dtype), shift[0].to(device, dtype), source[0].to(device) if tied else None


def constrained(model, theta: Tensor) -> Tensor:
    """The parameters that a model with held gates uses, from those that training moves: theta (P, N) -> (P, N)."""
    if not model.held:
        return theta
    scale, shift, source = constraint(model, theta.dtype, theta.device)
    return (theta if source is None else theta[:, source]) * scale + shift


def without_held(model, theta: Tensor) -> Tensor:
    """theta (P, N) with 0 wherever an entry is held: what is there is never used."""
    return theta.masked_fill(constraint(model, theta.dtype, theta.device)[0] != 1, 0)


def num_held(model) -> int:
    """How many entries of theta training does not move."""
    D, H, peepholes = model.input_size, model.hidden_size, UNITS[model.unit].peepholes if model.peepholes else ()
    sizes = {"W": D * H, "U": H * H, "b": H}
    return sum(
        sizes[letter] if letter in sizes else H * (gate in peepholes)
        for gate, how in model.held
        for letter in BLOCKS[how]
    )


def blind(model) -> bool:
    """Whether nothing in a GRU looks at h: of both gates and of the candidate U is held at 0."""
    unseeing = {gate for gate, how in model.held if "U" in BLOCKS[how]}
    return model.reset == "before" and unseeing == set(model.gates) == set(UNITS["gru"].gates)


def begin(model, weights: dict[str, Tensor], start: str, generator: torch.Generator) -> dict[str, Tensor]:
    """Another start for drawn parameters W (D, gH), U (H, gH), b (gH), ...: "glorot" or "modern".

    Both: W and W_out uniform in +-sqrt(6 / (rows + columns)) of each gate's block (Glorot and Bengio, 2010), U
    orthogonal for each gate as it is. "modern" besides: the forget gate's bias at 1 (Jozefowicz et al., 2015) and the
    update gate's at -1, so that both units begin by keeping what they have.
    """
    H, K = weights["W_out"].shape
    D = len(weights["W"])
    for name, bound in (("W", math.sqrt(6 / (D + H))), ("W_out", math.sqrt(6 / (H + K)))):
        weights[name] = torch.empty_like(weights[name]).uniform_(-bound, bound, generator=generator)
    if start == "modern":
        for gate, bias in (("f", 1.0), ("z", -1.0)):
            if gate in model.gates:
                weights["b"][model.block(gate)] = bias
    return weights


def minimal_scan(z: Tensor, h_tilde: Tensor, h0: Tensor) -> Tensor:
    """h_t = (1 - z_t) h_{t-1} + z_t h~_t for all t in about log2(T) steps: z, h~ (P, T, B, H), h0 (P, B, H) -> as z.

    Only for gates and candidates that do not look at h, as in the variant "minimal" of the GRU. A stretch of steps maps
    h to k h + m, and two stretches in a row are one: (k, m) then (k', m') is (k k', k' m + m'). So stretches of 1, 2, 4
    ... steps are joined side by side (Hillis and Steele, 1986), until each reaches back to the start.

    >>> z = torch.full((1, 3, 1, 1), 0.5)
    >>> minimal_scan(z, torch.ones_like(z), torch.zeros(1, 1, 1)).flatten().tolist()
    [0.5, 0.75, 0.875]
    """
    k, m, reach = 1 - z, z * h_tilde, 1
    while reach < z.shape[1]:
        before, now = slice(None, -reach), slice(reach, None)
        m = torch.cat([m[:, :reach], k[:, now] * m[:, before] + m[:, now]], dim=1)
        k = torch.cat([k[:, :reach], k[:, now] * k[:, before]], dim=1)
        reach *= 2
    return k * h0[:, None] + m

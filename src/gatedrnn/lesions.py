"""Lesions: a part of a trained network is held still, disturbed or taken away, and nothing is trained again.

A gate that looks at nothing is a gate whose weights are 0; a gate that listens to noise is one with further inputs. So
a lesioned network is a `Network` with other parameters, and is scored as any other. What a lesion costs is what this
network has come to rely on; what a part is worth to a unit that may learn to do without it is asked by training the
unit without the part (`gatedrnn.variants`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import study
from .batching import evaluation_batches
from .datasets import load
from .evaluation import Scorer
from .files import DataError, atomic, digest, locked
from .network import Network
from .statistics import Estimate, over_pieces
from .units import UNITS
from .variants import VARIANTS, apply_variant, variant_of

FILE, WHOLE = "lesions.json", "whole"
TOGETHER = 4  # networks that are scored side by side: the longest pieces have thousands of steps
NEVER = 1e-12  # a gate at 0 or 1 is held this far inside, where its logit is a number


@torch.no_grad()
def averages(network: Network, sequences: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """The mean of every part of the unit over all real steps of some sequences: name -> (H,), as `Network.gates`.

    >>> from gatedrnn import music_model
    >>> model = music_model("gru", 4)
    >>> sorted(averages(Network(model, model.init([0])[0]), [np.zeros((7, 88), np.uint8)]))
    ['h', 'h_tilde', 'r', 'z']
    """
    total: dict[str, Tensor] = {}
    steps, kind = 0, "music" if network.model.kind == "recall" else network.model.kind  # all steps, not the scored one
    for _, batch in evaluation_batches(sequences, kind, dtype=network.theta.dtype):
        (mask,) = batch.mask
        steps += int(mask.sum())
        for name, part in network.gates(batch.x[0]).items():
            total[name] = total.get(name, torch.zeros(())) + part[mask].sum(0)
    return {name: part / steps for name, part in total.items()}


def held(network: Network, **values: Tensor | float) -> Network:
    """The network with gates that stand still, each at a number from 0 to 1 or at one a unit (H,): held(network, z=1).

    Raises ValueError for what is not a gate of the unit, and for a number that no gate can have.
    """
    copy, H = replace(network, theta=network.theta.clone()), network.model.hidden_size
    for gate, value in values.items():
        if gate not in (known := UNITS[network.model.unit].sigmoid_gates):
            raise ValueError(
                f"{gate!r} is no gate of the {network.model.unit} unit: it has {', '.join(known) or 'none'}"
            )
        value = torch.as_tensor(value, dtype=torch.float64).expand(H)
        if not ((value >= 0) & (value <= 1)).all():
            raise ValueError(f"a gate lies between 0 and 1: {gate} cannot be held at {value.tolist()}")
        block, parameters = network.model.block(gate), copy.parameters
        for letter in "WUV":
            if letter in parameters:
                parameters[letter][..., block] = 0
        parameters["b"][block] = torch.logit(value, eps=NEVER)
    return copy


def without(network: Network, variant: str, means: Mapping[str, Tensor]) -> Network:
    """The whole unit's parameters in the form of one of its variants: the part is gone, the rest is as it was.

    means : as `averages` gives them. A gate that becomes a constant stands at its mean; one that no longer sees h is
    told the mean of it. Raises ValueError for a variant that adds a part, since the network has no parameters for it.
    """
    model, at_rest = apply_variant(network.model, variant), {}
    if model.independent:
        raise ValueError(f"{variant!r} adds a gate to the unit: there is nothing to take away from a trained network")
    for gate, how in variant_of(model.unit, variant).held:
        if how == "constant":
            at_rest[gate] = means[gate]
    start = held(network, **at_rest)
    parameters = start.parameters
    for gate, how in model.held:
        if how == "input":
            block = network.model.block(gate)
            parameters["b"][block] += means["h"] @ parameters["U"][:, block]
    there = {name: parameters.get(name, torch.zeros(shape)) for name, shape in model.shapes.items()}
    return Network(model, torch.cat([part.flatten().to(network.theta.dtype) for part in there.values()]), network.data)


def noisy(network: Network, gate: str, size: float) -> Network:
    """The network with normal noise of a standard deviation `size` added to what a gate passes through its sigmoid.

    Anew at every step and for every unit: it comes in by H further inputs, which `costs` draws.
    """
    model, H = network.model, network.model.hidden_size
    wider = replace(model, input_size=model.input_size + H)
    rows = torch.zeros(H, network.parameters["W"].shape[1], dtype=network.theta.dtype)
    rows[:, model.block(gate)] = size * torch.eye(H, dtype=rows.dtype)
    parts = network.parameters | {"W": torch.cat([network.parameters["W"], rows])}
    return Network(wider, torch.cat([parts[name].flatten() for name in wider.shapes]), network.data)


def costs(
    network: Network, lesions: Mapping[str, Network], sequences: Sequence[np.ndarray], seed: int = 0
) -> dict[str, Estimate]:
    """Nats a step that each lesion adds to the network's NLL, pooled, with an interval over the sequences.

    seed : of the noise, the same for all that are `noisy`.

    >>> from gatedrnn import music_model
    >>> model = music_model("gru", 4)
    >>> network = Network(model, model.init([0])[0])
    >>> pieces = [np.ones((7, 88), np.uint8), np.zeros((9, 88), np.uint8)]
    >>> costs(network, {"none": network}, pieces)["none"].mean
    0.0
    """
    nats, steps = _nats({**lesions, None: network}, sequences, seed)
    return {name: over_pieces(nats[name] - nats[None], steps) for name in lesions}


def catalogue(network: Network, sequences: Sequence[np.ndarray]) -> dict[str, Network]:
    """The lesions of a whole unit that are recorded: name -> network.

    "z mean", "z 0", "z 1", "z noise" for each gate, the noise of size 1; "all mean", every gate at its mean; and, by
    its name, each variant that takes a part away. The means are those over some sequences.
    """
    means = averages(network, sequences)
    found: dict[str, Network] = {}
    gates = UNITS[network.model.unit].sigmoid_gates
    for gate in gates:
        values: dict[str, Tensor | float] = {"mean": means[gate], "0": 0.0, "1": 1.0}
        found |= {f"{gate} {name}": held(network, **{gate: value}) for name, value in values.items()}
        found[f"{gate} noise"] = noisy(network, gate, 1.0)
    found["all mean"] = held(network, **{gate: means[gate] for gate in gates})
    for variant in VARIANTS[network.model.unit]:
        model = apply_variant(network.model, variant)
        if model != network.model and not model.independent:
            found[variant] = without(network, variant, means)
    return found


def record(trial: study.Trial, folder: Path) -> Path:
    """Lesion a whole unit's kept network, and write its nats on each test piece to `folder`/lesions.json.

    Gates are held at their means on the validation pieces. Several commands may write at once: what another has added
    stays. Raises DataError where the parameters or the data are missing, or where the file is damaged.
    """
    path = Path(folder) / FILE
    _entries(path)  # minutes before it is written to
    theta, data = study.kept(trial, folder)[0], load(trial.data, progress=False)
    network = Network(trial.model, theta.double(), trial.data)
    nats, steps = _nats({**catalogue(network, data.valid), WHOLE: network}, data.test, seed=0)
    entry = {
        "theta": digest({"theta": theta.numpy()}),
        "steps": steps.astype(int).tolist(),
        "nats": {name: own.round(4).tolist() for name, own in nats.items()},
    }
    with locked(path.with_suffix(".lock"), wait=True):
        entries = _entries(path) | {str(trial): entry}
        with atomic(path) as stream:
            stream.write(json.dumps(entries, separators=(",", ":")).encode() + b"\n")
    return path


def _entries(path: Path) -> dict:
    """What the file holds, by trial; nothing where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DataError(f"{path} is damaged: delete it and run `gatedrnn lesions` again.") from error


def read(folder: Path) -> dict[tuple[str, ...], dict[str, Estimate]]:
    """What each recorded lesion costs, in nats a step: (column, data, unit) -> lesion -> estimate over test pieces.

    Empty where nothing is recorded. Raises ValueError for parameters that are not the ones that were lesioned, and
    DataError where the file is damaged.
    """
    path = Path(folder) / FILE
    found: dict[tuple[str, ...], dict[str, Estimate]] = {}
    for name, entry in _entries(path).items():
        trial = study.Trial(*name.split("/"))
        if digest({"theta": study.kept(trial, folder)[0].numpy()}) != entry["theta"]:
            raise ValueError(f"{path} is about other parameters of {trial} than those that are kept: lesion them anew")
        nats = {lesion: np.array(own) for lesion, own in entry["nats"].items()}
        whole = nats.pop(WHOLE)
        found[trial.column, trial.data, trial.unit] = {
            lesion: over_pieces(own - whole, entry["steps"]) for lesion, own in nats.items()
        }
    return found


def _nats(networks: Mapping, sequences: Sequence[np.ndarray], seed: int) -> tuple[dict, np.ndarray]:
    """Name -> total NLL (sequences,), and steps (sequences,); inputs beyond those of the data are noise.

    Networks of one form are scored side by side, a few at a time.
    """
    found: dict = {}
    steps = np.empty(0)
    for model in dict.fromkeys(network.model for network in networks.values()):
        alike = {name: network.theta for name, network in networks.items() if network.model == model}
        theta = torch.stack(list(alike.values()))
        scorer, random = Scorer(model, sequences, theta.dtype, theta.device), torch.Generator().manual_seed(seed)
        for k, (indices, batch) in enumerate(scorer.batches):
            if beyond := model.input_size - batch.x.shape[-1]:
                noise = torch.randn(*batch.x.shape[:-1], beyond, generator=random, dtype=batch.x.dtype)
                scorer.batches[k] = indices, replace(batch, x=torch.cat([batch.x, noise], dim=-1))
        nats = np.concatenate([scorer.totals(some)[0] for some in theta.split(TOGETHER)])
        found |= dict(zip(alike, nats, strict=True))
        steps = scorer.steps
    return {name: found[name] for name in networks}, steps

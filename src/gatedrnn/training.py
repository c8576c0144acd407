"""Training (section 4.2 of the paper), run for every member of a population at once.

A population of P members gives what P single runs with the same seeds give: learning rate, weight noise, dropout,
seed, clipping and stopping are each member's own, and members that have stopped leave the computation. The choices that
the paper leaves open are fields of `gatedrnn.protocol.Protocol`, with the reason beside them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .datasets import Dataset
from .history import History, TrainingDiverged
from .model import SequenceModel
from .network import Network
from .population import Population
from .process import check_device, prepare_process
from .protocol import Protocol


@dataclass(frozen=True)
class Result:
    """A trained population: theta (P, N) holds each member's best parameters by validation."""

    model: SequenceModel
    theta: Tensor
    histories: list[History]

    def network(self, member: int = 0) -> Network:
        """One member as a `Network`: a trained model without the population axis."""
        return Network(self.model, self.theta[member])

    def best(self) -> int:
        """The member with the lowest validation NLL."""
        return int(np.argmin([h.best_valid for h in self.histories]))


def train(
    model: SequenceModel,
    dataset: Dataset,
    *,
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    weight_noise: Sequence[float] | None = None,
    dropout: Sequence[float] | None = None,
    protocol: Protocol | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    checkpoint: str | Path | None = None,
    progress: bool = True,
    on_nan: str = "raise",
    rungs: Sequence[tuple[int, int]] = (),
) -> Result:
    """Train a population, one member for each pair of a learning rate and a seed.

    weight_noise, dropout : a value a member, where they are not all the protocol's.
    checkpoint : a file (.npz) that holds the state after each epoch; if it exists, training goes on from it, to the
    same end as without the interruption.
    progress : a bar, when a terminal is there to show it.
    on_nan : what to do about a gradient that is not finite. "raise"; "drop" to stop that member only; "shrink" to put a
    tenth of the member's parameters in the gradient's place, as the authors' later code does, so that they become
    smaller and the next gradient may be finite.
    rungs : successive halving (Jamieson and Talwalkar, 2016): pairs (epoch, k); after that epoch only the k members
    with the lowest validation NLL so far go on. When one is left it has been chosen, and training ends.

    Raises ValueError for lists of different lengths, a rate that is not a positive number, a device that is not here, a
    data set of another kind than the model's, a rung at which nothing is validated, or a checkpoint of another run;
    TrainingDiverged, naming the member and its learning rate, when a loss or gradient is not finite.
    """
    protocol = protocol or Protocol()
    for name, values in (("learning_rates", learning_rates), ("seeds", seeds)):
        if np.ndim(values) != 1:
            raise ValueError(f"{name} is a list, a value a member: got {values!r}")
    if len(learning_rates) != len(seeds) or not len(seeds):
        raise ValueError(f"one seed a learning rate: got {len(learning_rates)} rates and {len(seeds)} seeds")
    if not all(0 < rate < math.inf for rate in learning_rates):
        raise ValueError(f"a learning rate is a positive number: got {list(learning_rates)}")
    if not all(isinstance(seed, int | np.integer) and seed >= 0 for seed in seeds):
        raise ValueError(f"a seed is an integer of at least 0: got {list(seeds)}")
    noise = [protocol.weight_noise] * len(seeds) if weight_noise is None else list(weight_noise)
    dropped = [protocol.dropout] * len(seeds) if dropout is None else list(dropout)
    if not len(noise) == len(dropped) == len(seeds):
        raise ValueError("weight_noise and dropout have a value a member")
    for std, share in zip(noise, dropped, strict=True):
        replace(protocol, weight_noise=std, dropout=share)  # which checks them
    if dataset.kind != model.kind:
        raise ValueError(f"{dataset.name} is {dataset.kind}, but the model's output is for {model.kind}")
    for part in ("train", "valid"):
        if not len(getattr(dataset, part)):
            raise ValueError(f"{dataset.name} has no {part} sequences: training needs some")
    if protocol.informed_start and model.kind != "music":
        raise ValueError("informed_start sets the log-odds of pitches: it is for models of music only")
    if on_nan not in ("raise", "drop", "shrink"):
        raise ValueError(f"on_nan must be 'raise', 'drop' or 'shrink', not {on_nan!r}")
    if unseen := [epoch for epoch, _ in rungs if epoch % protocol.validate_every and epoch < protocol.max_epochs]:
        raise ValueError(f"halving needs a validation at each rung: epoch {unseen[0]} of rungs has none")
    device = check_device(device)
    prepare_process()
    histories = [
        History(float(lr), int(seed), float(std), float(share))
        for lr, seed, std, share in zip(learning_rates, seeds, noise, dropped, strict=True)
    ]
    path = None if checkpoint is None else Path(checkpoint)
    if protocol.order == "own" and len(set(seeds)) > 1:
        if rungs:
            raise ValueError("halving compares members side by side: it needs equal seeds or batches in a shared order")
        options = {"protocol": protocol, "dtype": dtype, "device": device, "progress": progress, "on_nan": on_nan}
        return _one_by_one(model, dataset, histories, path, **options)
    run = Population(model, dataset, histories, protocol, dtype, device, on_nan, dict(rungs))
    if path is not None and path.exists():
        run.load(path)
    else:
        run.validate()
    bar = tqdm(
        desc=f"{model.unit} on {dataset.name}",
        total=protocol.max_epochs,
        initial=run.epoch,
        unit="epoch",
        disable=None if progress else True,
    )
    with bar:
        while run.alive:
            run.train_epoch()
            if run.epoch % protocol.validate_every == 0 or run.epoch >= protocol.max_epochs:
                run.validate()
                if path is not None:
                    run.save(path)
            bar.update()
            bar.set_postfix(valid=f"{min(h.best_valid for h in run.histories):.3f}", running=len(run.alive))
    return Result(model, run.best.to("cpu"), run.histories)


def _one_by_one(
    model: SequenceModel, dataset: Dataset, histories: list[History], checkpoint: Path | None, **options
) -> Result:
    """Members whose batches come in an order of their own have no padding in common: each is trained by itself."""
    results = []
    for number, h in enumerate(histories):
        own = None if checkpoint is None else checkpoint.with_suffix(f".{number}.npz")
        one: dict[str, Any] = {"learning_rates": [h.learning_rate], "seeds": [h.seed]}
        one |= {"weight_noise": [h.weight_noise], "dropout": [h.dropout]}
        try:
            results.append(train(model, dataset, checkpoint=own, **one, **options))
        except TrainingDiverged as error:
            raise TrainingDiverged(str(error).replace("member 0", f"member {number}", 1)) from error
    return Result(model, torch.cat([r.theta for r in results]), [r.histories[0] for r in results])

"""Members of a population in training: their state, their curves, who still runs, and what becomes of a step.

`gatedrnn.training` checks what it is asked for and drives this; `gatedrnn.optim` holds the update. P = members that
still run.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import files, optim
from .batching import Batch, epoch_batches
from .datasets import Dataset
from .evaluation import Scorer
from .history import History, TrainingDiverged
from .model import SequenceModel
from .outputs import BernoulliOutput
from .protocol import Protocol


class Population:
    """A training in progress: the state and the curves of the members, and the list of those still running."""

    def __init__(
        self,
        model: SequenceModel,
        dataset: Dataset,
        histories: list[History],
        protocol: Protocol,
        dtype: torch.dtype,
        device: torch.device,
        on_nan: str,
        rungs: dict[int, int],
    ):
        self.model, self.dataset, self.protocol, self.histories = model, dataset, protocol, histories
        self.dtype, self.device, self.on_nan, self.rungs = dtype, device, on_nan, rungs
        self.epoch = self.updates = 0
        self.alive = list(range(len(histories)))
        theta = model.init([h.seed for h in histories], dtype, start=protocol.start)
        if protocol.informed_start:
            assert isinstance(model.output, BernoulliOutput)  # `train` refuses others
            model.parts(theta)["b_out"][:] = model.output.informed_bias(dataset.train).to(theta)
        self.state = optim.State.start(
            theta.to(device),
            [h.learning_rate for h in histories],
            [h.weight_noise for h in histories],
            [h.dropout for h in histories],
            averaged=protocol.averaging > 0,
        )
        self.best = self.state.final.clone()  # a row for every member
        self.noisy = sum(int(np.prod(model.shapes[name])) for name in ("W", "U"))  # leading columns that get noise
        self.scorer = Scorer(model, dataset.valid, dtype, device)
        self.clear()
        per_epoch = -(-len(dataset.train) // protocol.batch_size)
        self.horizon = per_epoch * protocol.max_epochs

    def clear(self) -> None:
        """Start a new stretch of the training curve: nats and steps of each member, and the time."""
        self.nats, self.steps = (torch.zeros(len(self.alive), dtype=torch.float64, device=self.device) for _ in "ns")
        self.since = time.perf_counter()

    def train_epoch(self) -> None:
        """One update a batch. Raises TrainingDiverged where a gradient is not finite and nothing else was asked for."""
        self.epoch += 1
        seeds = [self.histories[m].seed for m in self.alive]
        # streams of each member and epoch, so that a run resumed at an epoch's end goes on unchanged
        streams = [torch.Generator().manual_seed(mix(seed, self.epoch)) for seed in seeds]
        drops = [torch.Generator().manual_seed(mix(seed, self.epoch, 2)) for seed in seeds]
        rule = self.protocol
        for batch in epoch_batches(
            self.dataset.train, self.dataset.kind, rule.batch_size, seeds, self.epoch, self.dtype, rule.order
        ):
            self.updates += 1
            noise = dropped = None
            if self.state.noise.any():
                noise = self.draw(torch.Tensor.normal_, streams, self.noisy)
            if self.state.dropout.any():
                dropped = self.draw(torch.Tensor.uniform_, drops, *batch.mask.shape[1:], self.model.hidden_size)
            factor = rule.factor(self.updates, self.horizon, self.epoch)
            self.update(batch.to(self.device, self.dtype), noise, dropped, factor, self.updates)
            if self.on_nan == "raise" and self.state.bad.any():
                member = self.alive[int(self.state.bad.argmax())]
                history = self.histories[member]
                raise TrainingDiverged(
                    f"the gradient of member {member} (learning rate {history.learning_rate:.3g}, seed {history.seed}) "
                    f"is not finite at update {self.updates}: try a smaller learning rate, or check the data"
                )

    def draw(self, fill: Callable[..., Tensor], streams: list[torch.Generator], *shape: int) -> Tensor:
        """Random numbers on the device, (members, *shape): each member's from its own stream, by `fill`."""
        numbers = torch.empty(len(streams), *shape, dtype=self.dtype)
        for row, stream in zip(numbers, streams, strict=True):
            fill(row, generator=stream)
        return numbers.to(self.device)

    def update(self, batch: Batch, noise: Tensor | None, dropped: Tensor | None, factor: float, count: int) -> None:
        """One step of the optimiser on a batch; noise (P, n) is standard normal, dropped (P, T, B, H) uniform."""
        state = self.state
        theta = state.theta.detach()
        if noise is not None:
            theta = theta.clone()
            theta[:, : self.noisy] += state.noise * noise
        theta.requires_grad_()
        keep = None
        if dropped is not None:  # inverted dropout: what is left is scaled up, so that evaluation needs no care
            share = state.dropout[:, :, None, None]
            keep = (dropped >= share) / (1 - share)
        nats = self.model.nll(theta, batch, keep).sum(1)  # (P, B)
        steps = batch.mask.sum((1, 2))
        # the paper's objective is the sum over time and the mean over sequences
        cost = nats.mean(1) if self.protocol.objective == "sum" else nats.sum(1) / steps
        (gradient,) = torch.autograd.grad(cost.sum(), theta)  # members do not see each other
        optim.apply(self.protocol, state, gradient, factor, count, self.on_nan == "shrink")
        self.nats += nats.detach().sum(1)
        self.steps += steps

    def validate(self) -> None:
        """Score the validation set, note each member's curve, keep the best parameters, and let go who has stopped."""
        theta = self.state.final
        if self.protocol.noisy_validation:
            draws = [torch.Generator().manual_seed(mix(self.histories[m].seed, self.epoch, 1)) for m in self.alive]
            theta = theta.clone()
            theta[:, : self.noisy] += self.state.noise * self.draw(torch.Tensor.normal_, draws, self.noisy)
        scores = self.scorer.scores(theta)
        trained, bad = (self.nats / self.steps).tolist(), self.state.bad.tolist()
        seconds = (time.perf_counter() - self.since) / len(self.alive) if self.epoch else 0.0
        for row, (member, score) in enumerate(zip(self.alive, scores, strict=True)):
            history = self.histories[member]
            history.epoch.append(self.epoch)
            history.update.append(self.updates)
            history.seconds.append(seconds + (history.seconds[-1] if history.seconds else 0.0))
            history.valid.append(score.pooled)
            history.valid_per_sequence.append(score.per_sequence)
            history.train.append(trained[row] if self.epoch else float("nan"))
            if self.on_nan == "shrink":
                history.shrunk = bad[row]
            elif bad[row]:
                history.stop_reason = "diverged"
            if self.epoch and score.pooled < history.best_valid:
                history.best_epoch = self.epoch
                self.best[member] = self.state.final[row]
            if history.stop_reason is None and self.epoch - history.best_epoch >= self.protocol.patience:
                history.stop_reason = "patience"
            if history.stop_reason is None and self.epoch >= self.protocol.max_epochs:
                history.stop_reason = "max_epochs"
        self.halve()
        keep = [row for row, member in enumerate(self.alive) if self.histories[member].stop_reason is None]
        if len(keep) < len(self.alive):
            self.alive = [self.alive[row] for row in keep]
            self.state.keep(keep)
        self.clear()

    def halve(self) -> None:
        """At a rung, let go of all but the best members; members that have stopped by themselves compete too."""
        if self.epoch not in self.rungs:
            return
        ranked = sorted(self.histories, key=lambda history: history.best_valid)
        for place, history in enumerate(ranked):
            if history.stop_reason is None and place >= self.rungs[self.epoch]:
                history.stop_reason = "halved"
        if self.rungs[self.epoch] == 1 and ranked[0].stop_reason is None:
            ranked[0].stop_reason = "chosen"

    def fingerprint(self) -> dict:
        """What must agree for a checkpoint to belong to this run."""
        return {
            "model": repr(self.model),
            "data": self.dataset.name,
            "protocol": asdict(self.protocol),
            "members": [[h.learning_rate, h.seed, h.weight_noise, h.dropout] for h in self.histories],
            "dtype": str(self.dtype),
            "rungs": [list(rung) for rung in self.rungs.items()],
            "on_nan": self.on_nan,
        }

    def arrays(self) -> dict[str, Tensor]:
        """What a checkpoint keeps as numbers."""
        names = ("theta", "square", "velocity", "bad") + (("average",) if self.state.average is not None else ())
        return {name: getattr(self.state, name) for name in names} | {"best": self.best}

    def save(self, path: Path) -> None:
        """Keep the state in a file, from which a run that was killed goes on to the same end; whole or not at all."""
        state = {"run": self.fingerprint(), "epoch": self.epoch, "updates": self.updates, "alive": self.alive}
        state["histories"] = [asdict(h) for h in self.histories]
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic(path) as file:
            arrays: dict[str, Any] = {name: array.cpu().numpy() for name, array in self.arrays().items()}
            np.savez(file, state=json.dumps(state), **arrays)

    def load(self, path: Path) -> None:
        """Take up the state that `save` wrote; ValueError for a file that is not one, or that is another run's."""
        try:
            stored = files.read_npz(path)
            state = json.loads(str(stored.pop("state")))
            differs = [name for name, value in self.fingerprint().items() if state["run"].get(name) != value]
            if not differs:
                self.restore(state, stored)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ValueError(f"{path} is not a checkpoint of this program: delete it or name another") from error
        if differs:
            raise ValueError(f"{path} belongs to another run ({', '.join(differs)} differ): name another checkpoint")

    def restore(self, state: dict, stored: dict[str, np.ndarray]) -> None:
        """Take up a state of this run, of which all parts must fit."""
        self.histories, members = [History.of(entry) for entry in state["histories"]], len(self.histories)
        self.alive, self.epoch, self.updates = list(state["alive"]), int(state["epoch"]), int(state["updates"])
        if len(self.histories) != members or self.alive != sorted(set(self.alive) & set(range(members))):
            raise ValueError("members that do not fit")
        self.state.keep(self.alive)
        for name, array in self.arrays().items():
            if stored[name].shape != tuple(array.shape):
                raise ValueError("arrays that do not fit")
            array.copy_(torch.from_numpy(stored[name]))
        self.clear()


def mix(*numbers: int) -> int:
    """One well-spread seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))

"""The paper's training protocol (section 4.2), run for every member of a population at once.

RMSProp on the negative log-likelihood, Gaussian weight noise drawn anew for each update, the gradient rescaled when its
norm exceeds 1, early stopping on the validation set. Learning rate, seed, noise, clipping and stopping are each
member's own: a population of P gives what P single runs with the same seeds give. Members that have stopped leave the
computation. The choices that the paper leaves open are fields of `Protocol`, with the reason beside them.
"""

import ctypes
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .batching import epoch_batches
from .datasets import Dataset
from .evaluation import Evaluation, evaluate
from .files import DataError, atomic, read_npz
from .model import SequenceModel
from .network import Network

__all__ = ["Evaluation", "History", "Protocol", "Result", "TrainingDiverged", "evaluate", "prepare_process", "train"]


class TrainingDiverged(RuntimeError):
    """A loss or a gradient stopped being a finite number."""


@dataclass(frozen=True)
class Protocol:
    """Everything about training but the model, the data, the learning rate and the seed.

    From the paper: RMSProp, weight_noise, clip_norm, early stopping. Left open by it and chosen here: the rest.
    """

    optimizer: str = "rmsprop"  # or "adam", today's default
    decay: float = 0.95  # of RMSProp's mean square, and momentum: the authors' later code
    momentum: float = 0.9
    epsilon: float = 1e-8
    weight_noise: float = 0.075  # standard deviation, on the recurrent layer's W and U; off in evaluation
    clip_norm: float = 1.0
    batch_size: int = 8  # the authors' code has 1; 8 costs about a fifth of the time
    max_epochs: int = 100
    patience: int = 10  # epochs without a new best on validation
    informed_start: bool = False  # True: output biases start at the log-odds of the training set's pitches, not at 0

    def __post_init__(self):
        if self.optimizer not in ("rmsprop", "adam"):
            raise ValueError(f"optimizer must be 'rmsprop' or 'adam', not {self.optimizer!r}")
        for name in ("batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass
class History:
    """One member's learning curve, an entry an epoch (entry 0 is before the first update), in nats a step.

    train : pooled over the epoch's steps, with the noise on, as it went by (nan for entry 0).
    valid, valid_per_sequence : noise off.
    seconds : this member's share of the population's computing time, so far.
    """

    learning_rate: float
    seed: int
    epoch: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    valid_per_sequence: list[float] = field(default_factory=list)
    best_epoch: int = 0
    shrunk: int = 0  # updates that shrank the parameters because the gradient was not finite
    stop_reason: str | None = None  # "patience", "max_epochs", "diverged", "halved" or "chosen"; None while running

    @property
    def best_valid(self) -> float:
        return self.valid[self.best_epoch]


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


def prepare_process() -> None:
    """Settings that make small models fast on a CPU; they concern the whole process and change no result that is shown.

    One thread, because the products are too small to share; denormal numbers flushed to zero, because a hidden state
    that decays under silence becomes denormal and slows arithmetic twentyfold; and, with glibc, freed memory kept for
    the next batch instead of being returned to the system and faulted in again.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large array
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: do not shrink the heap
    except (OSError, AttributeError):  # not glibc: nothing to tune
        pass


def train(
    model: SequenceModel,
    dataset: Dataset,
    *,
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    protocol: Protocol | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    checkpoint: str | Path | None = None,
    progress: bool = True,
    on_nan: str = "raise",
    rungs: Sequence[tuple[int, int]] = (),
) -> Result:
    """Train a population, one member for each pair of a learning rate and a seed.

    checkpoint : a file (.npz) that holds the state after each epoch; if it exists, training goes on from it, to the
    same end as without the interruption.
    progress : a bar, when a terminal is there to show it.
    on_nan : what to do about a gradient that is not finite. "raise"; "drop" to stop that member only; "shrink" to put a
    tenth of the member's parameters in the gradient's place, as the authors' later code does, so that they become
    smaller and the next gradient may be finite.
    rungs : successive halving (Jamieson and Talwalkar, 2016): pairs (epoch, k); after that epoch only the k members
    with the lowest validation NLL so far go on. When one is left it has been chosen, and training ends.

    Raises ValueError for lists of different lengths, a data set of another kind than the model's, or a checkpoint of
    another run; TrainingDiverged, naming the member and its learning rate, when a loss or gradient is not finite.
    """
    protocol = protocol or Protocol()
    if len(learning_rates) != len(seeds) or not len(seeds):
        raise ValueError(f"one seed a learning rate: got {len(learning_rates)} rates and {len(seeds)} seeds")
    if dataset.kind != model.kind:
        raise ValueError(f"{dataset.name} is {dataset.kind}, but the model's output is for {model.kind}")
    if protocol.informed_start and model.kind != "music":
        raise ValueError("informed_start sets the log-odds of pitches: it is for models of music only")
    if on_nan not in ("raise", "drop", "shrink"):
        raise ValueError(f"on_nan must be 'raise', 'drop' or 'shrink', not {on_nan!r}")
    prepare_process()
    run = _Population(model, dataset, learning_rates, seeds, protocol, dtype, device, on_nan, rungs)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    else:
        run.validate(seconds=0.0)
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
            if checkpoint is not None:
                run.save(checkpoint)
            bar.update()
            bar.set_postfix(valid=f"{min(h.best_valid for h in run.histories):.3f}", running=len(run.alive))
    return Result(model, run.best.to("cpu"), run.histories)


class _Population:
    """The state of training: parameters, optimiser and curves of the members, and the list of those still running."""

    def __init__(self, model, dataset, learning_rates, seeds, protocol, dtype, device, on_nan, rungs):
        self.model, self.dataset, self.protocol, self.on_nan = model, dataset, protocol, on_nan
        self.dtype, self.rungs, self.epoch, self.updates = dtype, dict(rungs), 0, 0
        self.histories = [History(float(lr), int(s)) for lr, s in zip(learning_rates, seeds, strict=True)]
        self.alive = list(range(len(seeds)))
        self.theta = model.init(seeds, dtype).to(device)  # a row for each running member, as are the next two
        if protocol.informed_start:
            model.unflatten(self.theta)["b_out"][:] = model.output.informed_bias(dataset.train).to(self.theta)
        self.square, self.velocity = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.best = self.theta.clone()  # a row for every member
        self.noisy = sum(int(np.prod(model.shapes[name])) for name in ("W", "U"))  # leading columns that get noise

    def train_epoch(self) -> None:
        start = time.perf_counter()
        self.epoch += 1
        seeds = [self.histories[m].seed for m in self.alive]
        # one stream of noise for each member and epoch, so that a run resumed at an epoch's end goes on unchanged
        noise = [torch.Generator().manual_seed(_mix(seed, self.epoch)) for seed in seeds]
        cost = torch.zeros(len(seeds), dtype=torch.float64)
        steps = torch.zeros(len(seeds), dtype=torch.float64)
        for batch in epoch_batches(
            self.dataset.train, self.dataset.kind, self.protocol.batch_size, seeds, self.epoch, self.dtype
        ):
            cost += self.update(batch.to(self.theta.device, self.dtype), noise)
            steps += batch.mask.sum((1, 2)).cpu()
        for member, nll in zip(self.alive, (cost / steps).tolist(), strict=True):
            self.histories[member].train.append(nll)
        self.validate(seconds=(time.perf_counter() - start) / len(self.alive))

    def update(self, batch, noise: list[torch.Generator]) -> Tensor:
        """One step of the optimiser; returns each member's nats in this batch, (P,)."""
        rule = self.protocol
        theta = self.theta.clone()
        if rule.weight_noise:
            for row, generator in zip(theta, noise, strict=True):
                draw = torch.randn(self.noisy, generator=generator, dtype=self.dtype).to(theta.device)
                row[: self.noisy].add_(draw, alpha=rule.weight_noise)
        theta.requires_grad_()
        nats = self.model.nll(theta, batch).sum(1)  # (P, B): the sum over time of the paper's objective ...
        nats.mean(1).sum().backward()  # ... and the mean over sequences; members do not see each other
        gradient = theta.grad
        norm = gradient.norm(dim=1, keepdim=True)
        gradient.mul_((rule.clip_norm / norm).clamp(max=1))
        if not (finite := norm[:, 0].isfinite()).all():
            self.note_divergence(finite)
            instead = 0.1 * self.theta if self.on_nan == "shrink" else torch.zeros_like(gradient)
            gradient[~finite] = instead[~finite]
        self.updates += 1
        rate = torch.tensor([self.histories[m].learning_rate for m in self.alive]).to(self.theta)[:, None]
        if rule.optimizer == "rmsprop":  # Tieleman and Hinton (2012), with momentum
            self.square.mul_(rule.decay).addcmul_(gradient, gradient, value=1 - rule.decay)
            step = self.velocity.mul_(rule.momentum).addcdiv_(gradient, self.square.sqrt().add_(rule.epsilon))
        else:  # Kingma and Ba (2015), with their defaults
            self.velocity.mul_(0.9).add_(gradient, alpha=0.1)
            self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            mean, square = self.velocity / (1 - 0.9**self.updates), self.square / (1 - 0.999**self.updates)
            step = mean.div_(square.sqrt_().add_(rule.epsilon))
        self.theta.addcmul_(step, rate, value=-1)
        return nats.detach().sum(1).double().cpu()

    def note_divergence(self, finite: Tensor) -> None:
        for member, fine in zip(self.alive, finite.tolist(), strict=True):
            history = self.histories[member]
            if fine:
                continue
            if self.on_nan == "raise":
                raise TrainingDiverged(
                    f"the gradient of member {member} (learning rate {history.learning_rate:.3g}, seed {history.seed}) "
                    f"is not finite at update {self.updates + 1}: try a smaller learning rate, or check the data"
                )
            if self.on_nan == "drop":
                history.stop_reason = history.stop_reason or "diverged"
            else:
                history.shrunk += 1

    def validate(self, seconds: float) -> None:
        """Score the validation set, note each member's curve, keep the best parameters, and let go who has stopped."""
        start = time.perf_counter()
        scores = evaluate(self.model, self.theta, self.dataset.valid)
        seconds += (time.perf_counter() - start) / len(self.alive)
        for row, (member, score) in enumerate(zip(self.alive, scores, strict=True)):
            history = self.histories[member]
            history.epoch.append(self.epoch)
            history.update.append(self.updates)
            history.seconds.append(seconds + (history.seconds[-1] if history.seconds else 0.0))
            history.valid.append(score.pooled)
            history.valid_per_sequence.append(score.per_sequence)
            if self.epoch == 0:
                history.train.append(float("nan"))
            elif score.pooled < history.best_valid:
                history.best_epoch = self.epoch
                self.best[member] = self.theta[row]
            if history.stop_reason is None and self.epoch - history.best_epoch >= self.protocol.patience:
                history.stop_reason = "patience"
            if history.stop_reason is None and self.epoch >= self.protocol.max_epochs:
                history.stop_reason = "max_epochs"
        self.halve()
        keep = [row for row, member in enumerate(self.alive) if self.histories[member].stop_reason is None]
        if len(keep) < len(self.alive):
            self.alive = [self.alive[row] for row in keep]
            self.theta, self.square, self.velocity = (a[keep] for a in (self.theta, self.square, self.velocity))

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
            "learning_rates": [h.learning_rate for h in self.histories],
            "seeds": [h.seed for h in self.histories],
            "dtype": str(self.dtype),
            "rungs": [list(rung) for rung in self.rungs.items()],
            "on_nan": self.on_nan,
        }

    def save(self, path: Path) -> None:
        """Write the state beside `path` and move it there, so that a kill at any moment leaves a whole file."""
        state = {"run": self.fingerprint(), "epoch": self.epoch, "updates": self.updates, "alive": self.alive}
        state["histories"] = [asdict(h) for h in self.histories]
        arrays = {name: getattr(self, name).cpu().numpy() for name in ("theta", "square", "velocity", "best")}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as file:
            np.savez(file, state=json.dumps(state), **arrays)

    def load(self, path: Path) -> None:
        try:
            stored = read_npz(path)
            state = json.loads(str(stored.pop("state")))
        except (DataError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a checkpoint of this program: delete it or name another") from error
        mine = self.fingerprint()
        differs = [name for name in mine if mine[name] != state["run"].get(name)]
        if differs:
            raise ValueError(f"{path} belongs to another run ({', '.join(differs)} differ): name another checkpoint")
        self.epoch, self.updates, self.alive = state["epoch"], state["updates"], state["alive"]
        self.histories = [History(**h) for h in state["histories"]]
        for name, array in stored.items():
            setattr(self, name, torch.from_numpy(array).to(self.best.device))


def _mix(*numbers: int) -> int:
    """One well-spread seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))

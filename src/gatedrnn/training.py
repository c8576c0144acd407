"""Training (section 4.2 of the paper), run for every member of a population at once.

A population of P members gives what P single runs with the same seeds give: learning rate, weight noise, dropout,
seed, clipping and stopping are each member's own, and members that have stopped leave the computation. The choices that
the paper leaves open are fields of `Protocol`, with the reason beside them; `gatedrnn.optim` holds the update.
"""

import ctypes
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from . import optim, recurrence
from .batching import epoch_batches
from .checks import check_sizes
from .datasets import Dataset
from .evaluation import Evaluation, Scorer, evaluate
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
    Raises ValueError, naming the field, for a value that makes no sense.
    """

    optimizer: str = "rmsprop"  # "adam", "adamw"; or "authors": RMSProp as in the authors' later code
    decay: float = 0.95  # of RMSProp's mean square, and momentum: the authors' later code
    momentum: float = 0.9
    epsilon: float = 1e-8
    weight_noise: float = 0.075  # standard deviation, on the recurrent layer's W and U; off in evaluation
    clip_norm: float = 1.0
    batch_size: int = 8  # the authors' code has 1; 8 costs about a fifth of the time
    max_epochs: int = 100
    patience: int = 10  # epochs without a new best on validation
    informed_start: bool = False  # True: output biases start at the log-odds of the training set's pitches, not at 0
    start: str = "authors"  # of the recurrent layer; or "glorot", "modern": see `SequenceModel.init`
    schedule: str = "constant"  # of the rate; "cosine": warm-up, then down to 0; "linear": down to 1 % by epoch
    warmup: float = 0.05  # share of the updates over which "cosine" rises
    square_decay: float = 0.999  # of Adam's mean square
    weight_decay: float = 0.01  # of "adamw"
    averaging: float = 0.0  # decay of an exponential average of the parameters, which is then scored and kept; 0: none
    dropout: float = 0.0  # share of hidden units that the output layer does not see
    objective: str = "sum"  # the paper's: sum over time, mean over sequences; or "mean": per step
    order: str = "shared"  # of the batches, common to all members; or each member's "own"
    validate_every: int = 1  # epochs
    noisy_validation: bool = False  # True: scores on validation with weight noise, as the authors' later code has them

    def __post_init__(self):
        choices = {"optimizer": optim.OPTIMIZERS, "start": ("authors", "glorot", "modern")}
        choices |= {"objective": ("sum", "mean"), "order": ("shared", "own")}
        choices |= {"schedule": ("constant", "cosine", "linear")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        check_sizes(
            **{name: getattr(self, name) for name in ("batch_size", "max_epochs", "patience", "validate_every")}
        )
        below = dict.fromkeys(("decay", "momentum", "square_decay", "averaging", "dropout", "warmup"), 1.0)
        for name, limit in (below | dict.fromkeys(("weight_noise", "weight_decay"), math.inf)).items():
            value = getattr(self, name)
            if not isinstance(value, float | int) or not 0 <= value < limit:
                raise ValueError(f"{name} must be a number from 0 to below {limit:g}, not {value!r}")
        for name in ("epsilon", "clip_norm"):
            value = getattr(self, name)
            if not isinstance(value, float | int) or not value > 0:
                raise ValueError(f"{name} must be a positive number, not {value!r}")

    def factor(self, update: int, updates: int, epoch: int) -> float:
        """What the schedule multiplies a learning rate by at an update (from 1) of `updates`, in an epoch (from 1)."""
        if self.schedule == "linear":
            return 1 - 0.99 * (epoch - 1) / max(self.max_epochs - 1, 1)
        if self.schedule == "cosine":
            rising = self.warmup * updates
            if update < rising:
                return update / rising
            return 0.5 + 0.5 * math.cos(math.pi * (update - rising) / (updates - rising))
        return 1.0


@dataclass
class History:
    """One member's learning curve, an entry a validation (entry 0 is before the first update), in nats a step.

    train : pooled over the steps since the last entry, with the noise on, as it went by (nan for entry 0).
    valid, valid_per_sequence : noise off. best : the entry with the lowest `valid`; best_epoch : its epoch.
    seconds : this member's share of the population's computing time, so far.
    """

    learning_rate: float
    seed: int
    weight_noise: float = 0.0
    dropout: float = 0.0
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
        return self.valid[self.epoch.index(self.best_epoch)]


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
    recurrence.prepare()
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large array
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: do not shrink the heap
    except (OSError, AttributeError):  # not glibc: nothing to tune
        pass


def check_device(name: str | torch.device) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:1", .... Raises ValueError for one that is not here.

    >>> check_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"there is no device {str(name)!r}: use cpu, cuda, cuda:1, ...")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no {device} on this machine: it has {torch.cuda.device_count()}, use cpu")
    return device


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
    data set of another kind than the model's, or a checkpoint of another run; TrainingDiverged, naming the member and
    its learning rate, when a loss or gradient is not finite.
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
    device = check_device(device)
    prepare_process()
    histories = [
        History(float(lr), int(seed), float(std), float(share))
        for lr, seed, std, share in zip(learning_rates, seeds, noise, dropped, strict=True)
    ]
    if protocol.order == "own" and len(set(seeds)) > 1:
        return _one_by_one(model, dataset, histories, protocol, dtype, device, checkpoint, progress, on_nan, rungs)
    run = _Run(model, dataset, histories, protocol, dtype, device, on_nan, dict(rungs))
    path = None if checkpoint is None else Path(checkpoint)
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


def _one_by_one(model, dataset, histories, protocol, dtype, device, checkpoint, progress, on_nan, rungs) -> Result:
    """Members whose batches come in an order of their own have no padding in common: each is trained by itself."""
    if rungs:
        raise ValueError("halving compares members side by side: it needs equal seeds, or batches in a shared order")
    results = []
    for number, h in enumerate(histories):
        own = None if checkpoint is None else Path(checkpoint).with_suffix(f".{number}.npz")
        one = {"learning_rates": [h.learning_rate], "seeds": [h.seed]}
        one |= {"weight_noise": [h.weight_noise], "dropout": [h.dropout]}
        options = {"dtype": dtype, "device": device, "checkpoint": own, "progress": progress, "on_nan": on_nan}
        results.append(train(model, dataset, protocol=protocol, **one, **options))
    return Result(model, torch.cat([r.theta for r in results]), [r.histories[0] for r in results])


class _Run:
    """A training in progress: the state and curves of the members, and the list of those still running."""

    def __init__(self, model, dataset, histories, protocol, dtype, device, on_nan, rungs):
        self.model, self.dataset, self.protocol, self.histories = model, dataset, protocol, histories
        self.dtype, self.device, self.on_nan, self.rungs = dtype, device, on_nan, rungs
        self.epoch = self.updates = 0
        self.alive = list(range(len(histories)))
        theta = model.init([h.seed for h in histories], dtype, start=protocol.start)
        if protocol.informed_start:
            model.parts(theta)["b_out"][:] = model.output.informed_bias(dataset.train).to(theta)
        own = ([getattr(h, name) for h in histories] for name in ("learning_rate", "weight_noise", "dropout"))
        self.state = optim.State.start(theta.to(device), *own, averaged=protocol.averaging > 0)
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

    def draw(self, fill, streams: list[torch.Generator], *shape: int) -> Tensor:
        """Random numbers on the device, (members, *shape): each member's from its own stream, by `fill`."""
        numbers = torch.empty(len(streams), *shape, dtype=self.dtype)
        for row, stream in zip(numbers, streams, strict=True):
            fill(row, generator=stream)
        return numbers.to(self.device)

    def update(self, batch, noise: Tensor | None, dropped: Tensor | None, factor, count) -> None:
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
        nats = self.model.nll(theta, batch, keep).sum(1)  # (P, B): the sum over time of the paper's objective ...
        steps = batch.mask.sum((1, 2))
        cost = (
            nats.mean(1) if self.protocol.objective == "sum" else nats.sum(1) / steps
        )  # ... and the mean over sequences
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
        names = ("theta", "square", "velocity", "bad") + (("average",) if self.state.average is not None else ())
        return {name: getattr(self.state, name) for name in names} | {"best": self.best}

    def save(self, path: Path) -> None:
        """Write the state beside `path` and move it there, so that a kill at any moment leaves a whole file."""
        state = {"run": self.fingerprint(), "epoch": self.epoch, "updates": self.updates, "alive": self.alive}
        state["histories"] = [asdict(h) for h in self.histories]
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as file:
            np.savez(file, state=json.dumps(state), **{n: a.cpu().numpy() for n, a in self.arrays().items()})

    def load(self, path: Path) -> None:
        """Take up the state that `save` wrote; ValueError for a file that is not one, or that is another run's."""
        no_checkpoint = ValueError(f"{path} is not a checkpoint of this program: delete it or name another")
        try:
            stored = read_npz(path)
            state = json.loads(str(stored.pop("state")))
            theirs, mine = state["run"], self.fingerprint()
            differs = [name for name in mine if mine[name] != theirs.get(name)]
        except (DataError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise no_checkpoint from error
        if differs:
            raise ValueError(f"{path} belongs to another run ({', '.join(differs)} differ): name another checkpoint")
        try:
            histories = [_history(entry) for entry in state["histories"]]
            alive, epoch, updates = list(state["alive"]), int(state["epoch"]), int(state["updates"])
            self.state.keep(alive)
            expected = self.arrays()
            whole = len(histories) == len(self.histories) and alive == sorted(set(alive)) and min(alive, default=0) >= 0
            if not whole or any(stored[name].shape != tuple(array.shape) for name, array in expected.items()):
                raise ValueError("parts that do not fit")
            for name, array in expected.items():
                array.copy_(torch.from_numpy(stored[name]))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise no_checkpoint from error
        self.histories, self.alive, self.epoch, self.updates = histories, alive, epoch, updates
        self.clear()


def _history(entry: dict) -> History:
    """A member's history from a checkpoint. Raises ValueError or TypeError where it is none."""
    history = History(**entry)
    curves = [getattr(history, f.name) for f in fields(History) if f.default_factory is list]
    if not all(isinstance(curve, list) and len(curve) == len(history.epoch) for curve in curves):
        raise ValueError("curves of different lengths")
    if history.best_epoch not in history.epoch or not all(
        isinstance(y, int | float) for curve in curves for y in curve
    ):
        raise ValueError("curves that are not numbers, or that have no best entry")
    return history


def mix(*numbers: int) -> int:
    """One well-spread seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))

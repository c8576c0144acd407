"""The ways of training that the study compares, a column of its table each: a protocol, and a search for its numbers.

`gatedrnn.study` makes trials of them. No torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .protocol import Protocol

SEARCH_SEED, SEEDS = 0, (1, 2, 3, 4, 5)
Heat = tuple[float, int, tuple[int, ...]]


@dataclass(frozen=True)
class Column:
    """A way of training: the optimiser's rule and the search for its numbers.

    low, high : the range of the learning rate, log-uniform in exp(low) .. exp(high); draws : how many. rates : the
    candidates themselves, instead. noises, dropouts : what a candidate's weight noise and dropout are drawn from.
    rungs : of successive halving, as `training.train` takes them; without, every candidate is trained to its end.
    heats : halving by whole schedules, because scores in the middle of an annealed run favour low rates: (share of the
    budget, how many go on, seeds); in each heat those that are left are trained from the start, and the mean best
    validation NLL of the seeds ranks them. stretch : multiplies the caps and the patience. budget : a share of
    `study.BUDGET`, or epochs : a number, that replaces both. widen : multiplies the hidden size; hidden : replaces it.
    chosen : by data set and unit, the number of the one candidate that an earlier search has left.
    about : what it is, for a list.
    """

    protocol: Protocol
    low: float = -12
    high: float = -6
    draws: int = 10
    rates: tuple[float, ...] = ()
    noises: tuple[float, ...] = ()
    dropouts: tuple[float, ...] = ()
    rungs: tuple[tuple[int, int], ...] = ()
    heats: tuple[Heat, ...] = ()
    seeds: tuple[int, ...] = SEEDS
    stretch: int = 1
    budget: float = 0.0
    epochs: int = 0
    chosen: Mapping[tuple[str, str], int] = field(default_factory=dict)
    widen: int = 1
    hidden: int = 0
    about: str = ""

    @property
    def learning_rates(self) -> list[float]:
        """One fixed set of draws, the same for every trial."""
        if self.rates:
            return list(self.rates)
        return np.exp(np.random.default_rng(2014).uniform(self.low, self.high, self.draws)).tolist()

    @property
    def rounds(self) -> tuple[Heat, ...]:
        """The heats, of which a column without halving has one: every candidate to its end, and the best is chosen."""
        return self.heats or ((1.0, 1, (SEARCH_SEED,)),)

    def candidates(self, data: str, unit: str) -> list[dict[str, float]]:
        """The hyperparameters of the search: the same for every trial, or the one that was chosen before."""
        rng, drawn = np.random.default_rng(1412), {"learning_rate": self.learning_rates}
        for name, among in (("weight_noise", self.noises), ("dropout", self.dropouts)):
            if among:
                drawn[name] = rng.choice(among, len(self.learning_rates)).tolist()
        known = [dict(zip(drawn, values, strict=True)) for values in zip(*drawn.values(), strict=True)]
        return [known[self.chosen[data, unit]]] if self.chosen else known


# Speech is too heavy for ten full-length candidates on a CPU; (epoch, rates kept), until one is left.
SPEECH_RUNGS = ((2, 5), (5, 2), (8, 1))
TRIAL_RUNGS = ((5, 4), (15, 1))
LONGER_RUNGS = ((30, 6), (90, 3), (150, 1))  # late, because with more epochs a lower rate may end best

PAPER = Protocol(batch_size=4)
TODAY = Protocol(
    optimizer="adamw",
    square_decay=0.99,
    objective="mean",
    informed_start=True,
    start="modern",
    schedule="cosine",
    averaging=0.999,
    order="own",
)
AUTHORS = Protocol(optimizer="authors", batch_size=1, schedule="linear", order="own", noisy_validation=True)
# "longer" to "wide" each change one thing in the paper's column. "informed" is run everywhere, the others only where
# the paper's result is missed (TRIALS).
# "wide" asks what the same training reaches with a larger network: it checks data and program, and reproduces nothing.
COLUMNS = {
    "paper": Column(PAPER, -12, -6, about="the paper's protocol, with the authors' later code where it is silent"),
    "adam": Column(replace(PAPER, optimizer="adam"), -10, -4, about="the paper's, with Adam and higher rates"),
    "longer": Column(PAPER, -12, -6, rungs=LONGER_RUNGS, stretch=3, about="the paper's, with three times the epochs"),
    "single": Column(replace(PAPER, batch_size=1), -12, -6, rungs=TRIAL_RUNGS, about="the paper's, batches of one"),
    "no_noise": Column(replace(PAPER, weight_noise=0.0), -12, -6, rungs=TRIAL_RUNGS, about="... without weight noise"),
    "informed": Column(replace(PAPER, informed_start=True), -12, -6, about="... log-odds as biases"),
    "wide": Column(PAPER, -12, -6, rungs=TRIAL_RUNGS, widen=4, about="... with four times the hidden units"),
    "authors": Column(
        AUTHORS, rates=(1e-3,), seeds=(1, 2, 3), epochs=500, hidden=48, about="the settings of the authors' later code"
    ),
    "best": Column(
        TODAY,
        -7.5,
        -3.0,
        draws=24,
        noises=(0.0, 0.03, 0.075, 0.15),
        dropouts=(0.0, 0.2, 0.4),
        heats=((1 / 6, 6, (SEARCH_SEED,)), (1 / 3, 3, (SEARCH_SEED,)), (1 / 2, 1, (11, 12))),
        seeds=tuple(range(21, 31)),
        budget=1.0,
        about="what a careful practitioner would do today",
    ),
    "components": Column(
        TODAY,
        rates=(1e-3, 2e-3, 5e-3, 1e-2, 2e-2),
        seeds=(31, 32, 33, 34, 35),
        heats=((1 / 2, 1, (SEARCH_SEED,)),),
        budget=0.5,
        about="parts taken away: with --variant and --size",
    ),
    "gentle": Column(
        replace(PAPER, weight_noise=0.0, order="own"),
        -15,
        -6,
        draws=16,
        rungs=((5, 4), (10, 1)),
        about="the paper's on speech, without weight noise and with lower rates as well",
    ),
}
COLUMNS["fourfold"] = replace(
    COLUMNS["best"],
    chosen={("speech_a", "tanh"): 13, ("speech_a", "gru"): 15, ("speech_a", "lstm"): 11},
    heats=((1 / 80, 1, (SEARCH_SEED,)),),  # one epoch in the place of a search
    seeds=(41, 42, 43),
    budget=4.0,
    about="best's on speech_a, with what it chose there, for four times the epochs",
)
# The contrasts of the column components (whole unit minus variant, at the same number of hidden units) over which
# p-values are adjusted: one part of a unit each, on the three sets that are run first.
PARTS = {
    "gru": ("no_reset", "constant_update"),
    "lstm": ("no_input_gate", "no_forget_gate", "no_output_gate", "no_peepholes", "no_tanh", "coupled"),
}
PRIMARY = [
    ("components", data, unit, variant)
    for data in ("jsb_chorales", "nottingham", "piano_midi")
    for unit, parts in PARTS.items()
    for variant in parts
]

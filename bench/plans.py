"""What `bench/speed.py` measures: the plans, and the configurations of which their tables consist."""

from dataclasses import dataclass, field

from gatedrnn.model import MODELS, SequenceModel
from gatedrnn.units import UNITS


@dataclass(frozen=True)
class Plan:
    """What is measured. seconds : for each configuration, unless three rounds take longer. base : of the growth."""

    kinds: tuple[str, ...] = ("music",)
    units: tuple[str, ...] = tuple(UNITS)
    T: tuple[int, ...] = (128, 1000)
    P: tuple[int, ...] = (1, 10)
    B: tuple[int, ...] = (1, 8, 32)
    seconds: float = 3.0
    base: dict = field(default_factory=lambda: {"P": 10, "T": 128, "B": 8, "H": 46})
    growth: dict = field(
        default_factory=lambda: {
            "P": (1, 2, 5, 10, 20),
            "T": (32, 64, 128, 256, 512, 1024),
            "H": (23, 46, 92, 184),
        }
    )
    parts: tuple = (("music", 1, 8), ("music", 10, 8), ("music", 10, 32), ("speech", 10, 8))
    training: tuple[int, ...] = (1, 10)
    operations: bool = True
    memory: bool = True


ROWS_ONLY = {"growth": {}, "parts": (), "training": (), "operations": False, "memory": False}
TINY = {"units": ("gru",), "T": (4,), "P": (2,), "B": (2,), "seconds": 0.1, "memory": False}
TINY |= {"base": {"P": 2, "T": 4, "B": 2, "H": 46}, "training": (2,), "parts": (("music", 2, 2),)}
PLANS = {
    "full": Plan(),
    "quick": Plan(T=(128,), B=(8, 32), seconds=4.0, **ROWS_ONLY),
    "speech": Plan(kinds=("speech",), T=(128,), B=(8, 32), **ROWS_ONLY),
    "tiny": Plan(**TINY, growth={"P": (1, 2), "T": (4, 8), "H": (23,)}),
}


@dataclass(frozen=True)
class Configuration:
    kind: str
    unit: str
    T: int
    P: int
    B: int

    @property
    def model(self) -> SequenceModel:
        return MODELS[self.kind](self.unit)

    @property
    def work(self) -> float:
        """Multiplications in the products of an update of all members, roughly."""
        return 3.0 * self.T * self.P * self.B * self.model.num_parameters

    @property
    def room(self) -> float:
        """Bytes that one way needs at the most, roughly: what autograd keeps of a time step, times the time steps."""
        shapes = self.model.shapes
        return 4.0 * self.T * self.P * self.B * (4 * shapes["b"][0] + 12 * shapes["b_out"][0])

    def __str__(self) -> str:
        return f"{self.kind} {self.unit} T={self.T} P={self.P} B={self.B}"


def configurations(plan: Plan) -> list[Configuration]:
    """The plan's grid, the short ones of each kind first."""
    return [
        Configuration(kind, unit, T, P, B)
        for kind in plan.kinds
        for T in plan.T
        for P in plan.P
        for B in plan.B
        for unit in plan.units
    ]

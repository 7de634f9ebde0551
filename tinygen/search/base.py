# SPDX-License-Identifier: Apache-2.0
"""What a search is asked, what it tells meanwhile, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tinygen.compress import Bought, Evidence
from tinygen.compress.runner import Quality
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.passes import LOSSLESS, Pass
from tinygen.selection import Optimize
from tinygen.target import Target

#: Where a candidate comes from: the model as it is; the same setting for all layers; a knapsack over measured curves;
#: a neighbour of a good one, sampled; and training.
Origin = Literal["start", "uniform", "knapsack", "study", "recovery"]
#: What a search is busy with.
Phase = Literal["start", "curves", "uniform", "knapsack", "study", "recovery", "check"]


@dataclass(frozen=True)
class Goal:
    """What the program must fit; None where there is no limit.

    `flash` and `ram` in bytes, as `measure` has them; `weights`: bytes of weights and biases among the flash, which
    benchmarks limit; `instructions` for one run; `max_drop`: points (percent) of accuracy, or without labels of
    agreement, that it may be below the plain model on samples held back.
    """

    flash: int | None = None
    ram: int | None = None
    instructions: int | None = None
    max_drop: float | None = None
    weights: int | None = None

    def __post_init__(self) -> None:
        for name in ("flash", "ram", "instructions", "weights"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"expected {name} to be a positive number, got {value!r}")
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise UsageError(f"expected max_drop to be 0 to 100 points, got {self.max_drop!r}")

    def excess(self, cost: Cost) -> float:
        """By which share of a limit `cost` is above it, the largest one; 0 if it fits."""
        limits = (*self._sizes(cost), (self.ram, cost.ram), (self.instructions, cost.instructions))
        return max((now / most - 1 for most, now in limits if most is not None and now > most), default=0.0)

    def over(self, cost: Cost) -> int | None:
        """Bytes of flash or weights that `cost` has too many (negative: has left); None where neither is limited."""
        return max((now - most for most, now in self._sizes(cost) if most is not None), default=None)

    def _sizes(self, cost: Cost) -> tuple[tuple[int | None, int], ...]:
        return ((self.flash, cost.flash), (self.weights, cost.weights))

    def wider(self, share: float) -> Goal:
        """The same, but for limits on flash and weights that are larger by `share`."""
        flash, weights = (None if most is None else round(most * (1 + share)) for most in (self.flash, self.weights))
        return replace(self, flash=flash, weights=weights)

    @property
    def shaped(self) -> Goal:
        """What smaller weights do not help with: the limits on RAM and instructions."""
        return replace(self, flash=None, weights=None)

    def met(self, candidate: Candidate) -> bool:
        """Whether `candidate` fits and has lost no more than it may."""
        return self.excess(candidate.cost) == 0 and (self.max_drop is None or candidate.drop <= self.max_drop + 1e-9)


@dataclass(frozen=True)
class Effort:
    """How much is tried: counted, so that a search gives the same on every machine.

    `sizes`: bytes of weights that the knapsack is solved for; `ratios`: shares of weights that pruning tries to do
    without, `ranks` those that low rank does, and `branches` how many of residual sums may go; `tries`: bases that the
    goal is tried to be met with; `probes`: ways to store each layer of which is measured what they add to the noise,
    and `samples` those on which is measured how much of it other layers make good. `alike`: settings of each kind that
    are tried for all layers alike. `trials`: samples of the study after that (which need Optuna); `finalists`:
    candidates that are tuned (which needs TensorFlow), and the `steps` of that. `fine`: whether layers have all ways to
    be stored, or every other one.
    """

    name: str
    sizes: int
    ratios: tuple[float, ...]
    ranks: tuple[float, ...]
    tries: int
    probes: int
    samples: int
    branches: tuple[int, ...] = ()
    alike: int = 0
    trials: int = 0
    finalists: int = 0
    steps: int = 0
    fine: bool = True


EFFORTS: Mapping[str, Effort] = {
    "quick": Effort("quick", 5, (0.25, 0.5), (), tries=1, probes=3, samples=62, alike=2, fine=False),
    "normal": Effort(
        "normal",
        6,
        (0.15, 0.25, 0.35, 0.5),
        (0.4,),
        tries=2,
        probes=5,
        samples=124,
        branches=(1,),
        alike=2,
        trials=40,
        finalists=2,
        steps=300,
    ),
    "thorough": Effort(
        "thorough",
        32,
        tuple(n / 20 for n in range(2, 19)),
        (0.2, 0.4, 0.6, 0.8),
        tries=4,
        probes=9,
        samples=248,
        branches=(1, 2, 3),
        alike=6,
        trials=1000,
        finalists=6,
        steps=2000,
    ),
}


def effort_of(name: str) -> Effort:
    """The effort of this name; raises `UsageError`."""
    if name not in EFFORTS:
        raise UsageError(f"effort '{name}' is unknown: expected {', '.join(EFFORTS)}")
    return EFFORTS[name]


@dataclass(frozen=True)
class Cost:
    """What a candidate takes: bytes of `flash` and `ram`, of all `constants` and of `weights` (with biases) among them.

    `instructions` of one run: counted under the emulator if `counted`, else what kernels are said to take.
    """

    flash: int
    ram: int
    instructions: int
    constants: int
    weights: int
    counted: bool = False


@dataclass(frozen=True)
class Candidate:
    """A way to compress the model, and what it gives.

    `recipe`: what a recipe's TOML file would hold, ``{"technique": [{"name": …}, …]}``. `drop`: points of accuracy
    (without labels, of agreement) below the plain model. `loss`: the noise in what the model decides by, as a share of
    its power, by which candidates of like accuracy are told apart. `number`: which one it was, the first being 0.
    """

    recipe: Mapping[str, Any]
    cost: Cost
    quality: Quality
    drop: float
    loss: float
    number: int
    origin: Origin

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {**vars(self), "recipe": dict(self.recipe), "cost": vars(self.cost), "quality": vars(self.quality)}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Candidate:
        """What `as_dict` gave."""
        return cls(**{**values, "cost": Cost(**values["cost"]), "quality": Quality(**values["quality"])})


@dataclass(frozen=True)
class Progress:
    """What a search is at: step `number` (from 1) of `total` in its `phase`; what it has `judged` just now.

    `best` is the candidate that it would choose now: of those that meet the goal the one that loses least, or else the
    one that comes closest.
    """

    phase: Phase
    number: int
    total: int
    best: Candidate | None = None
    judged: Candidate | None = None


Heard = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Problem:
    """An int8 graph, samples to fit it to and to judge it by, and what it is to be compiled for.

    `float_io`: with inputs and outputs in float32. `spare`: what is held back may be fitted to once all is chosen.
    """

    graph: Graph
    evidence: Evidence
    target: Target
    optimize: Optimize = "balanced"
    passes: Sequence[Pass] = LOSSLESS
    float_io: bool = False
    spare: bool = False


@dataclass(frozen=True)
class Study:
    """Where trials are kept, so that a search can go on later, or several processes can work on one.

    `path`: a file, made if need be (Optuna's journal). `workers`: processes on this machine, this one among them.
    """

    path: Path
    workers: int = 1


@dataclass(frozen=True)
class Found:
    """The outcome of a search: the compressed int8 `graph`, as which `candidate`, and what each technique bought.

    `start` is the plain model; `frontier` are the candidates of which no other is better in flash, RAM, instructions
    and drop alike, by rising flash; `judged` are all that were looked at. Where nothing `fits`, `candidate` is what
    came closest.
    """

    graph: Graph
    candidate: Candidate
    start: Candidate
    bought: tuple[Bought, ...]
    frontier: tuple[Candidate, ...]
    judged: tuple[Candidate, ...]
    fits: bool
    goal: Goal
    effort: str

    def as_dict(self) -> dict[str, Any]:
        """Everything but the graph, as JSON values."""
        return {
            "fits": self.fits,
            "goal": {name: value for name, value in vars(self.goal).items() if name != "weights"},
            "effort": self.effort,
            "start": self.start.as_dict(),
            "candidate": self.candidate.as_dict(),
            "bought": [line.as_dict() for line in self.bought],
            "frontier": [candidate.as_dict() for candidate in self.frontier],
            "judged": [candidate.as_dict() for candidate in self.judged],
        }

    def missed(self) -> str:
        """How close it came, in a sentence for the user."""
        cost, parts = self.candidate.cost, list[str]()
        for what, most, now in (
            ("bytes of flash", self.goal.flash, cost.flash),
            ("bytes of weights", self.goal.weights, cost.weights),
            ("bytes of RAM", self.goal.ram, cost.ram),
            ("instructions", self.goal.instructions, cost.instructions),
        ):
            if most is not None and now > most:
                parts.append(f"{now:,} {what} for {most:,}")
        if self.goal.max_drop is not None and self.candidate.drop > self.goal.max_drop + 1e-9:
            parts.append(f"{self.candidate.drop:.1f} points lost for {self.goal.max_drop:g}")
        return f"out of reach: the closest of {len(self.judged)} candidates has {' and '.join(parts)}"

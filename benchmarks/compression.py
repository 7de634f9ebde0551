# SPDX-License-Identifier: Apache-2.0
"""What compression gives on the zoo: goals with their recipes, and for each technique a curve of bytes against quality.

    python -m benchmarks.compression [--only WORD] [--seeds N] [--no-curves] [--verify] [--write docs/compression.md]

Every figure is the mean over seeded splits into samples to fit and samples to test. `--verify` runs what each goal's
recipe makes on the host and under QEMU (Cortex-M0, M4, M55). The exit code is 1 if a goal is missed or a program's bits
differ, 2 if the zoo is not there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import compression_page as page
from benchmarks.command import on_the_zoo
from benchmarks.compression_data import TASKS
from tests import zoo
from tinygen import api, running
from tinygen.batch import run_samples
from tinygen.compress import Bought, Evidence, compress
from tinygen.compress.recipe import Recipe, read, techniques
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.lower import lower
from tinygen.measure import weight_bytes
from tinygen.passes import lossless as passes
from tinygen.passes import run_passes
from tinygen.passes.base import constant_bytes, random_inputs
from tinygen.shrink import started
from tinygen.target import load_target

HERE = Path(__file__).parent
TARGET = "cortex-m4"
#: Where the programs of goals are run.
CORES = ("cortex-m0", "cortex-m4", "cortex-m55")
#: What the curves try of each technique.
CURVES: dict[str, tuple[Any, ...]] = {
    "prune": (0.25, 0.5, 0.75),
    "low-rank": (0.25, 0.5, 0.75),
    "sparsity": (0.5, 0.75, 0.9, "2:4"),
    "share": (64, 32, 16, 8, 4),
    "bits": (6, 5, 4, 3, 2),
}
LOSSLESS_MODEL, LOSSLESS_BYTES, LOSSLESS_MACS, LOSSLESS_INPUTS = "mlperf_tiny/vww01_int8", 36_000, 3_810_000, 200
CURVE_TASKS = ("kws", "mnist", "lenet", "hands")


@dataclass(frozen=True)
class Goal:
    """At most `bytes` of weights and biases (or the share `ratio` of int8's), losing at most `points` of accuracy."""

    task: str
    recipe: str
    bytes: int | None = None
    ratio: float | None = None
    points: float | None = None


GOALS = (
    Goal("kws", "kws", bytes=13_500, points=1.0),
    Goal("mnist", "mnist", ratio=0.25, points=1.0),
    Goal("mnist-resnet", "mnist-resnet", ratio=0.25, points=1.0),
    Goal("lenet", "lenet", bytes=50_000, points=1.0),
    Goal("ad", "ad", bytes=110_000),
    Goal("ad-golden", "ad", bytes=110_000),
)


@dataclass(frozen=True)
class Point:
    """A compressed model, as the mean over splits: bytes before and after, quality before and after.

    `start` and `bytes` are weights and biases, `constants` everything that is constant.
    `accuracy` in percent (None without labels), `sqnr` in dB and `agreement` in percent against the original.
    """

    task: str
    recipe: str
    start: int
    bytes: int
    constants: int
    flash: int
    ram: int
    macs: int
    before: float | None
    accuracy: float | None
    worst: float | None
    sqnr: float
    agreement: float

    @property
    def lost(self) -> float | None:
        return None if self.before is None or self.accuracy is None else self.before - self.accuracy


@cache
def start(name: str, seed: int) -> tuple[Graph, Evidence]:
    """The int8 model of one split, and the evidence that techniques get."""
    task = TASKS[name]
    fit, test = task.split(seed)
    made, evidence = started(api.load(zoo.FOLDER / "models" / task.model), fit, test)
    return made.graph, evidence


def measure(task: str, recipe: Recipe, label: str, seeds: int) -> tuple[Point, Graph]:
    """`recipe` on `task`: the mean over `seeds` splits, and the graph of the first of them."""
    target, runs, graphs = load_target(TARGET), list[tuple[Bought, Bought]](), list[Graph]()
    for seed in range(seeds):
        graph, evidence = start(task, seed)
        small, bought = compress(graph, read(recipe), evidence, target)
        runs.append((bought[0], bought[-1]))
        graphs.append(small)
    return _mean(task, label, runs), graphs[0]


def _mean(task: str, label: str, runs: Sequence[tuple[Bought, Bought]]) -> Point:
    before, after = zip(*runs, strict=True)
    accuracies = [(b.quality.accuracy, a.quality.accuracy) for b, a in runs]
    known = [(100 * b, 100 * a) for b, a in accuracies if b is not None and a is not None]
    sizes = (
        round(float(np.mean([getattr(a, what) for a in after])))
        for what in ("weights", "constants", "flash", "ram", "macs")
    )
    return Point(
        task,
        label,
        round(float(np.mean([b.weights for b in before]))),
        *sizes,
        float(np.mean([b for b, _ in known])) if known else None,
        float(np.mean([a for _, a in known])) if known else None,
        max(b - a for b, a in known) if known else None,
        float(np.mean([a.quality.sqnr for a in after])),
        100 * float(np.mean([a.quality.agreement for a in after])),
    )


def reached(goal: Goal, point: Point) -> bool:
    """Whether `point` is small and good enough."""
    limit = goal.bytes if goal.bytes is not None else round(point.start * (goal.ratio or 1.0))
    return point.bytes <= limit and (goal.points is None or (point.lost or 0.0) <= goal.points + 1e-9)


@dataclass(frozen=True)
class Lossless:
    """The network half of whose channels are dead, with them and without; at most `LOSSLESS_BYTES` and `LOSSLESS_MACS`.

    `start` and `bytes` are weights and biases; `macs` those of convolutions; `same` of `inputs` gave identical outputs.
    """

    model: str
    start: int
    bytes: int
    constants: int
    macs: int
    inputs: int
    same: int

    @property
    def reached(self) -> bool:
        small = self.bytes <= LOSSLESS_BYTES and self.macs <= LOSSLESS_MACS
        return small and self.same == self.inputs


def lossless() -> Lossless:
    """What the passes that every build runs make of VWW; its outputs on the golden inputs and on random ones."""
    graph = api.load(zoo.FOLDER / "models" / f"{LOSSLESS_MODEL}.tflite")
    (full, _), (small, _) = run_passes(graph, passes(("dead-channels",))), run_passes(graph, passes())
    inputs: list[Sequence[Array]] = [golden.inputs for golden in zoo.golden(LOSSLESS_MODEL)]
    inputs += [random_inputs(graph, seed) for seed in range(LOSSLESS_INPUTS)]
    pairs = zip(run_samples(full, inputs), run_samples(small, inputs), strict=True)
    same = sum(all(np.array_equal(one[n], other[n]) for n in full.outputs) for one, other in pairs)
    program = lower(small, load_target(TARGET))
    macs = sum(step.macs for step in program.steps if step.op in ("CONV_2D", "DEPTHWISE_CONV_2D"))
    sizes = constant_bytes(full), weight_bytes(program), program.constant_bytes
    return Lossless(LOSSLESS_MODEL, *sizes, macs, len(inputs), same)


def goals(only: str, seeds: int, verify: bool) -> Iterator[tuple[Goal, Point, tuple[str, ...]]]:
    """Each goal, what its recipe reaches, and where its program was run."""
    for goal in GOALS:
        if only in goal.task:
            point, graph = measure(goal.task, HERE / "recipes" / f"{goal.recipe}.toml", f"{goal.recipe}.toml", seeds)
            yield goal, point, tuple(proven(graph)) if verify else ()


def proven(graph: Graph) -> Iterator[str]:
    """Where the program of `graph` gives the bits of the reference; raises where it does not."""
    for core in CORES:
        with tempfile.TemporaryDirectory() as folder:
            made = api.build(graph, core).write(Path(folder) / "build")
            result = running.verify(made, vectors=4)
            result.raise_if_wrong()
            yield core


def curves(only: str) -> Iterator[Point]:
    """A point for each technique and setting on the labelled tasks: one split."""
    for task in CURVE_TASKS:
        for name, values in CURVES.items() if only in task else ():
            for value in values if name in techniques() else ():
                yield measure(task, {name: value}, f"{name} {value}", 1)[0]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="tasks with this in their names")
    parser.add_argument("--seeds", type=int, default=3, help="splits for each goal")
    parser.add_argument("--no-curves", action="store_true", help="goals only")
    parser.add_argument("--verify", action="store_true", help="run what the goals' recipes make under QEMU")
    parser.add_argument("--write", type=Path, help="the page to write, its data and its picture beside it")
    return on_the_zoo(parser, argv, measured)


def measured(options: argparse.Namespace) -> bool:
    """Measure, print, and write the page if asked; whether every goal is met."""
    met, found = True, []
    vww = lossless() if options.only in LOSSLESS_MODEL else None
    if vww is not None:
        met &= vww.reached
        print(page.lossless_line(vww), flush=True)
    for goal, point, where in goals(options.only, options.seeds, options.verify):
        met &= reached(goal, point)
        found.append({"goal": asdict(goal), "reached": reached(goal, point), "point": asdict(point), "proven": where})
        print(page.goal_line(goal, point, reached(goal, point)), flush=True)
    drawn = []
    for point in () if options.no_curves else curves(options.only):
        drawn.append(asdict(point))
        print(page.point_line(point), flush=True)
    if options.write:
        data = {"target": TARGET, "seeds": options.seeds, "goals": found, "curves": drawn}
        data["lossless"] = None if vww is None else {**asdict(vww), "reached": vww.reached}
        page.write(options.write, data)
    return met


if __name__ == "__main__":
    sys.exit(main())

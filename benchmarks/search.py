# SPDX-License-Identifier: Apache-2.0
"""How small models of the zoo become at what loss, and what each technique contributes.

    python -m benchmarks.search [--rows WORD] [--seeds N] [--parts rows,ablation,searches,frontiers] [--effort quick]
                                [--verify] [--write docs/search-results.md]

Every row is measured on seeded splits into samples to fit and train with, and samples to test, which nothing else has
seen. Recipes were written by splits 0 and 1, and rows are of later ones. `--verify` runs a program of each row on the
host and under QEMU. The exit code is 1 if a goal is missed or if bits of a program differ, 2 if the zoo is not there, 3
if TensorFlow is not.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from benchmarks import search_page as page
from benchmarks.compression import TARGET, start
from benchmarks.compression_data import TASKS
from benchmarks.search_frontier import compared
from benchmarks.search_rows import ALIKE, COMPARED, FRESH, RECIPES, ROWS, TAKEN_APART, Row, variants
from tests import zoo
from tinygen import api, running, train
from tinygen.batch import run_samples
from tinygen.cli import main as command
from tinygen.compress import Bought, compress
from tinygen.compress.base import Sample
from tinygen.compress.recipe import of_content
from tinygen.errors import ToolError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Real
from tinygen.search import Found, Goal, Problem
from tinygen.search.base import EFFORTS
from tinygen.search.request import NOTHING, SearchOptions, find
from tinygen.target import load_target


@dataclass(frozen=True)
class Run:
    """A recipe on one split: bytes of weights and biases before and after, of all constants, of flash and RAM after.

    `before` and `after` are percent of accuracy where there are labels, else of agreement with the original;
    `sqnr_before` and `sqnr` in dB against the original; `seconds` for compression alone.
    """

    seed: int
    start: int
    bytes: int
    constants: int
    flash: int
    ram: int
    before: float
    after: float
    sqnr_before: float
    sqnr: float
    seconds: float

    @property
    def lost(self) -> float:
        """Points."""
        return self.before - self.after


def measure(row: Row, entries: Sequence[dict[str, Any]], seed: int) -> tuple[Run, Graph]:
    """What the techniques `entries` make of the model of `row`."""
    graph, evidence = start(row.task, seed)
    began = time.monotonic()
    techniques = of_content({"technique": [dict(entry) for entry in entries]}, row.recipe)
    small, bought = compress(graph, techniques, evidence, load_target(TARGET))
    first, last = bought[0], bought[-1]
    sizes = first.weights, last.weights, last.constants, last.flash, last.ram
    rates = _percent(first), _percent(last), first.quality.sqnr, last.quality.sqnr
    return Run(seed, *sizes, *rates, round(time.monotonic() - began, 1)), small


def _percent(line: Bought) -> float:
    rate = line.quality.accuracy
    return 100 * (line.quality.agreement if rate is None else rate)


def searched(row: Row, effort: str, seed: int) -> tuple[Run, Found]:
    """What the budget search makes of the model of `row` with the samples to fit only, told the bytes of the goal."""
    (plain, _), task = measure(row, (), seed), TASKS[row.task]
    before, options = spent(), SearchOptions(effort=effort)
    _, found = find(problem(row.task), task.split(seed)[0], None, None, Goal(weights=row.bytes), options)
    taken = round(spent() - before, 1)
    graph, evidence = start(row.task, seed)
    truth = evidence.truth if evidence.truth is not None else outputs(graph, evidence.held_back)
    _, (line,) = compress(found.graph, (), replace(evidence, truth=truth), load_target(TARGET))
    sizes = plain.start, line.weights, line.constants, line.flash, line.ram
    return Run(seed, *sizes, plain.before, _percent(line), plain.sqnr, line.quality.sqnr, taken), found


def problem(task: str) -> Problem:
    """The model of a task as its file has it; a search puts samples in."""
    return Problem(api.load(zoo.FOLDER / "models" / TASKS[task].model), NOTHING, load_target(TARGET))


def spent() -> float:
    """Seconds that this process and those which it has waited for have computed."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def outputs(graph: Graph, samples: Sequence[Sample]) -> list[Real]:
    """The first output in real numbers for each of `samples`."""
    tensor, name = graph.types[graph.outputs[0]], graph.outputs[0]
    return [tensor.dequantize(values[name]) for values in run_samples(graph, samples)]


def reached(row: Row, runs: Sequence[Run]) -> bool:
    """Whether all `runs` are small enough, and good enough in the mean."""
    lost = float(np.mean([run.lost for run in runs]))
    return max(run.bytes for run in runs) <= row.bytes and (row.points is None or lost <= row.points + 1e-9)


def proven(graph: Graph) -> str:
    """The core under QEMU that gave the bits of the reference, as the host did; raises where they do not."""
    with tempfile.TemporaryDirectory() as folder:
        made = api.build(graph, TARGET).write(Path(folder) / "build")
        running.verify(made, vectors=4).raise_if_wrong()
    return TARGET


def by_hand(row: Row) -> str:
    """The same on the command line, with samples in a file as a user has them: what it is, or what it said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "mine.npz", **TASKS[row.task].split(0)[0])  # type: ignore[arg-type]  # of numpy's stubs
        model = str(zoo.FOLDER / "models" / TASKS[row.task].model)
        words = ["build", model, "--target", TARGET, "--calibration", str(folder / "mine.npz")]
        words += ["--recipe", str(RECIPES / f"{row.recipe}.toml"), "--out", str(folder / "out")]
        result = CliRunner().invoke(command, words)
        if result.exit_code:
            raise ToolError(f"{row.name}: {result.output}")
        running.verify(folder / "out", vectors=4).raise_if_wrong()
    return f"`tinygen build {Path(model).name} --target {TARGET} --calibration mine.npz --recipe {row.recipe}.toml`"


def rows(options: argparse.Namespace, said: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every goal with what is reached on each split."""
    found = []
    for row in (row for row in ROWS if options.rows in row.name):
        runs, graphs = list[Run](), list[Graph]()
        for seed in range(FRESH, FRESH + options.seeds):
            run, graph = measure(row, row.entries, seed)
            runs.append(run)
            graphs.append(graph)
            said(page.run_line(row, run))
        where = proven(graphs[0]) if options.verify else None
        alone = by_hand(row) if options.verify and row.points is None else None
        met = reached(row, runs)
        found.append(
            {
                "row": row.name,
                **asdict(row),
                "reached": met,
                "runs": [asdict(r) for r in runs],
                "proven": where,
                "cli": alone,
            }
        )
        said(f"{row.name:<10} {'reached' if met else 'MISSED'}")
    return found


def searches(options: argparse.Namespace, said: Callable[[str], None]) -> list[dict[str, Any]]:
    """What the budget search finds for every goal, nobody telling it how, on fresh splits."""
    found = []
    for row in (row for row in ROWS if options.rows in row.name):
        runs, recipes, where = list[Run](), list[Any](), None
        for seed in range(FRESH, FRESH + options.seeds):
            run, best = searched(row, options.effort, seed)
            runs.append(run)
            recipes.append(best.candidate.recipe["technique"])
            where = proven(best.graph) if options.verify and not where else where
            said(f"by search: {page.run_line(row, run)}: {page.words(recipes[-1])}")
        met = reached(row, runs)
        said(f"by search: {row.name:<10} {'reached' if met else 'MISSED'}")
        found.append(
            {
                "row": row.name,
                "effort": options.effort,
                "reached": met,
                "proven": where,
                "recipes": recipes,
                "runs": [asdict(run) for run in runs],
            }
        )
    return found


def frontiers(options: argparse.Namespace, said: Callable[[str], None]) -> list[dict[str, Any]]:
    """Settings for each layer against those that are the same for all, of KWS, by samples that no search has seen."""
    found = []
    for task in (task for task in COMPARED if options.rows in task):
        for seed in range(FRESH, FRESH + options.seeds):
            before = spent()
            points = compared(problem(task), replace(EFFORTS[options.effort], alike=ALIKE), *TASKS[task].split(seed))
            line = {"row": task, "effort": options.effort, "seed": seed, "seconds": round(spent() - before, 1)}
            found.append({**line, "points": points})
            said(f"frontier of {task}, split {seed}: {page.beaten(points)}")
    return found


def ablation(options: argparse.Namespace, said: Callable[[str], None]) -> list[dict[str, Any]]:
    """What recipes give without one part of them each, and each technique alone, on fresh splits.

    Left out is what declines to change anything.
    """
    found = []
    for row in (row for row in ROWS if row.name in TAKEN_APART and options.rows in row.name):
        for what, entries in variants(row).items():
            runs = [measure(row, entries, seed)[0] for seed in range(FRESH, FRESH + options.seeds)]
            if any((run.bytes, run.sqnr) != (run.start, run.sqnr_before) for run in runs):
                found.append({"row": row.name, "what": what, "runs": [asdict(run) for run in runs]})
                said(f"{what:<28} {page.run_line(row, runs[0])}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="rows with this in their names")
    parser.add_argument("--seeds", type=int, default=3, help="fresh splits for each row")
    parser.add_argument("--parts", default="rows,ablation,searches,frontiers", help="what to measure")
    parser.add_argument("--effort", default="quick", help="of the budget search")
    parser.add_argument("--verify", action="store_true", help="run the programs on the host and under QEMU")
    parser.add_argument("--write", type=Path, help="the page to write; what is not measured now stays")
    options = parser.parse_args(argv)
    if not zoo.PRESENT:
        print(zoo.ABSENT, file=sys.stderr)
        return 2
    try:
        train.require("the benchmark")
    except ToolError as error:
        print(error, file=sys.stderr)
        return 3

    def said(line: str) -> None:
        print(line, flush=True)

    kept = page.Kept(options.write, TARGET)
    parts = (("rows", rows), ("ablation", ablation), ("searches", searches), ("frontiers", frontiers))
    for part, measured in parts:
        if part in options.parts.split(","):
            kept.take(part, measured(options, said))
    return 0 if all(row["reached"] for row in kept.data["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())

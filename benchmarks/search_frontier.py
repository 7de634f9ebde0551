# SPDX-License-Identifier: Apache-2.0
"""Settings for each layer against those that are the same for all, on samples that no search has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygen.ir.types import Array
from tinygen.search import Candidate, Effort, Goal, Problem
from tinygen.search.aiming import LOST
from tinygen.search.base import silent
from tinygen.search.engine import Search
from tinygen.search.judge import Judge
from tinygen.search.ranking import rank
from tinygen.search.run import looked
from tinygen.search.study import kept
from tinygen.shrink import started


def compared(
    problem: Problem, effort: Effort, fit: Mapping[str, Array], test: Mapping[str, Array]
) -> list[dict[str, Any]]:
    """For each uniform setting of any use that no smaller one beats: it, and what the search takes for as much flash.

    The search chooses by samples that it holds back of those to `fit`; what both lose is measured on those to `test`:
    points, and the noise as a share of the decision's power. Rising in flash.
    """
    graph = problem.graph
    begun, evidence = started(graph, dict(fit))
    ready = replace(problem, graph=begun.graph, evidence=evidence)
    made = Search(ready, Goal(), effort, silent, kept(None, {}) if effort.trials else None)
    looked(made, made.start())
    _, fresh = started(graph, dict(fit), dict(test))
    judge = Judge(replace(ready, evidence=fresh), made.plain)
    return [
        {"alike": _measured(made, judge, one), "chosen": _measured(made, judge, other)}
        for one, other in pairs(list(made.candidates.values()))
    ]


def pairs(candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, Candidate]]:
    """Each uniform setting of any use that no smaller one beats, and what a search takes for its flash; rising."""
    alike = sorted((c for c in candidates if c.origin == "uniform"), key=lambda c: c.cost.flash)
    for i, one in enumerate(alike):
        if one.loss <= LOST and all(other.loss > one.loss for other in alike[:i]):
            goal = Goal(flash=one.cost.flash)
            fitting = [c for c in candidates if goal.met(c)]
            yield one, min(fitting, key=lambda c: (c.loss, rank(goal, c)))


def _measured(made: Search, judge: Judge, candidate: Candidate) -> dict[str, Any]:
    _, lost, loss = judge.judged(made.graph_of(candidate)[0])
    recipe = candidate.recipe["technique"]
    return {"flash": candidate.cost.flash, "lost": lost, "loss": loss, "origin": candidate.origin, "recipe": recipe}


def draw(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A picture: points lost, and noise, over flash, on fresh samples."""
    import matplotlib as mpl  # an extra of the benchmarks

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tinygen-frontier"  # the same bytes each time
    import matplotlib.pyplot as plt

    figure, fields = plt.subplots(1, 2, figsize=(11, 4.2))
    for field, key, label in zip(fields, ("lost", "loss"), ("points of accuracy lost", "noise / signal"), strict=True):
        for line in found:
            for kind, color in (("alike", "tab:orange"), ("chosen", "tab:blue")):
                points = [pair[kind] for pair in line["points"]]
                words = "the same for every layer" if kind == "alike" else "what the search takes for as much flash"
                name = f"{words} ({line['effort']}, split {line['seed']})"
                flash, values = ([p[what] / unit for p in points] for what, unit in (("flash", 1024), (key, 1)))
                style = ("-o", "--s", ":^")[found.index(line) % 3]
                field.plot(flash, values, style, color=color, label=name, markersize=4)
        field.set(xlabel="flash, KiB", ylabel=label)
        field.invert_yaxis()
    fields[1].set_yscale("log")
    fields[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)

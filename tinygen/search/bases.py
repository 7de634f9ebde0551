# SPDX-License-Identifier: Apache-2.0
"""Bases: the model with fewer channels, ranks or layers, and no layer's weights stored otherwise yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygen.compress.base import Evidence
from tinygen.compress.branches import branches
from tinygen.compress.recipe import of_content
from tinygen.ir.graph import Graph
from tinygen.passes import Pass, run_passes
from tinygen.search.base import Effort
from tinygen.search.ways import Entry


@dataclass(frozen=True)
class Step:
    """A technique that has run, what it said, and the graph after it."""

    name: str
    done: tuple[str, ...]
    declined: tuple[str, ...]
    graph: Graph


@dataclass(frozen=True)
class Base:
    """A graph, the part of a recipe that makes it of the plain one, in steps, and its `loss` (see `judge`)."""

    recipe: tuple[Entry, ...]
    steps: tuple[Step, ...]
    graph: Graph
    loss: float


def applied(
    graph: Graph, entries: Sequence[Entry], evidence: Evidence, passes: Sequence[Pass]
) -> tuple[Graph, tuple[Step, ...]]:
    """`graph` after the techniques that `entries` of a recipe ask for, in steps."""
    steps = list[Step]()
    for technique in of_content({"technique": [dict(e) for e in entries]}, "search"):
        result = technique.run(graph, evidence)
        graph, _ = run_passes(result.graph, passes)
        steps.append(Step(technique.name, result.done, result.declined, graph))
    return graph, tuple(steps)


def structures(graph: Graph, effort: Effort) -> Iterator[tuple[Entry, ...]]:
    """What bases are made by: pruning, low rank, and residual branches that go, as many as `graph` could do without."""
    for name, shares in (("prune", effort.ratios), ("low-rank", effort.ranks)):
        for share in shares:
            yield ({"name": name, "ratio": share},)
    sums = len({branch.add.name for branch in branches(graph)}) if effort.branches else 0
    for count in effort.branches:
        if count <= sums:
            yield ({"name": "branches", "count": count},)

# SPDX-License-Identifier: Apache-2.0
"""The last step: what was chosen is fitted once more, to the samples that it was chosen by, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinygen.compress.recipe import ALL, SAMPLES
from tinygen.ir.graph import Graph
from tinygen.search.base import Candidate
from tinygen.search.bases import Step, applied
from tinygen.search.engine import Search


@dataclass(frozen=True)
class Fitted:
    """A candidate, and the graph and the steps that its recipe makes with all samples.

    Its quality is what was measured before: nothing is left to measure it by.
    """

    candidate: Candidate
    graph: Graph
    steps: Sequence[Step]


def fitted_to_all(made: Search, candidate: Candidate) -> Fitted | None:
    """`candidate`, which meets the goal, with all samples; None if it has seen them, or no longer fits, or is noisier.

    It has then seen what its noise is measured by: what is noisier all the same is not worth having.
    """
    entries, evidence = candidate.recipe["technique"], made.problem.evidence
    if not made.problem.spare or not entries or not made.goal.met(candidate):
        return None
    graph, steps = applied(made.plain, entries, evidence.fitting_all(), made.problem.passes)
    cost = made.costs.exact(graph, count=True)
    if made.goal.excess(cost) > 0 or made.judge.judged(graph)[2] > candidate.loss:
        return None
    return Fitted(replace(candidate, recipe={SAMPLES: ALL, **candidate.recipe}, cost=cost), graph, steps)

# SPDX-License-Identifier: Apache-2.0
"""Which of two candidates is better, and which ones no other beats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinygen.search.base import Candidate, Goal


def rank(goal: Goal, candidate: Candidate) -> tuple[float, ...]:
    """A key: the lower, the better for `goal`.

    First come those that fit, then those that lose no more than they may; of these, with labels those that lose least
    accuracy. Without labels, agreement on few samples says less than the noise in what the model decides by.
    """
    excess = goal.excess(candidate.cost)
    most = goal.max_drop if goal.max_drop is not None else float("inf")
    lost = max(candidate.drop, 0.0) if candidate.quality.accuracy is not None else 0.0
    return (excess, max(candidate.drop - most, 0.0), lost, candidate.loss, candidate.cost.flash, candidate.number)


def best(goal: Goal, candidates: Iterable[Candidate]) -> Candidate:
    """The first by `rank`."""
    return min(candidates, key=lambda candidate: rank(goal, candidate))


def frontier(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those of which no other is at least as good in flash, RAM, instructions, drop and loss, by rising flash."""
    kept = list[Candidate]()
    for candidate in sorted(candidates, key=lambda c: (*_measures(c), c.number)):
        if not any(_dominates(other, candidate) for other in kept):
            kept.append(candidate)
    return tuple(kept)


def _measures(candidate: Candidate) -> tuple[float, ...]:
    cost = candidate.cost
    return (cost.flash, candidate.loss, max(candidate.drop, 0.0), cost.ram, cost.instructions)


def _dominates(one: Candidate, other: Candidate) -> bool:
    """Whether `one` is at least as good in everything. Of equals, the one that comes first stays."""
    return all(a <= b for a, b in zip(_measures(one), _measures(other), strict=True))

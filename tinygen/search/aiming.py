# SPDX-License-Identifier: Apache-2.0
"""Candidates for sizes: the goal's, those of settings that are the same for all layers, and a ladder of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.search.base import Goal
from tinygen.search.curves import Option
from tinygen.search.engine import Search, Start
from tinygen.search.knapsack import Knapsack, total_bytes, total_noise

#: How often a solution of the knapsack is corrected by its size as the techniques would make it, and as they made it.
CORRECTIONS, AGAIN = 5, 3
#: How often, after that, the sizes between what fits and what does not are halved.
HALVES = 3
#: The share of a budget that may be left unused.
UNUSED = 0.005
#: Bases that are tried beside those that candidates are made of.
TRIED = 2
#: Noise, as a share of the decision's variance, with which a model is of no use; and sizes looked at to find where.
LOST, STEPS = 0.4, 64


@dataclass(frozen=True)
class Fit:
    """Options of a base's layers that fit a goal but for `over` bytes, nearly, and the knapsack that they solve."""

    start: Start
    knapsack: Knapsack
    options: Mapping[str, Option]
    over: int = 0

    @property
    def rank(self) -> tuple[int, float]:
        """The lower, the better."""
        return self.over, total_noise(self.options)


def fitting(made: Search, start: Start, goal: Goal) -> Fit:
    """The knapsack's solution whose program just fits `goal`, by the true size of its proxy.

    Every form of weights brings code along, which sparse ones may not be worth: so it is also tried without them.
    """
    if goal == goal.shaped:
        return Fit(start, start.knapsack, {name: options[0] for name, options in start.curves.items()})
    found = _fitting(made, start, start.knapsack, goal)
    if any(option.way.zeros is not None for option in found.options.values()):
        found = min(found, _fitting(made, start, start.dense, goal), key=lambda fit: fit.rank)
    return found


def _fitting(made: Search, start: Start, knapsack: Knapsack, goal: Goal) -> Fit:
    """The largest solution that fits, of some: corrected by the bytes that each is off, then by halves.

    Which kernels a program needs changes with its size, so that larger solutions may even take less flash, and
    corrections may come to a stop before the goal.
    """
    limit: float = knapsack.largest - (goal.over(made.costs.of(start.base.graph)) or 0)
    found, fits, known = list[Fit](), 0.0, {float(knapsack.largest)}
    for turn in range(CORRECTIONS + HALVES):
        tried = knapsack.solve(limit)
        over = goal.over(made.costs.of(made.proxy(start.base, tried))) or 0
        again = any(tried == other.options for other in found)
        found.append(Fit(start, knapsack, tried, max(over, 0)))
        if -unused(goal) <= over <= 0 or limit <= knapsack.smallest:
            break
        fits, known = (max(fits, limit), known) if over <= 0 else (fits, known | {limit})
        limit = total_bytes(tried) - over
        if again or turn + 1 >= CORRECTIONS:
            limit = (fits + min((size for size in known if size > fits), default=fits)) / 2
    return min(found, key=lambda fit: fit.rank)


def unused(goal: Goal) -> float:
    """Bytes that may be left of what `goal` allows."""
    return UNUSED * min(most for most in (goal.flash, goal.weights, 1 << 30) if most is not None)


def by_kind(starts: Sequence[Start]) -> Sequence[Sequence[Start]]:
    """Starts whose noise can be compared: with all ways, and with the usual ones only, if there are others."""
    return list(zip(*(start.kinds for start in starts), strict=False))  # some may have usual ways only


def aimed(made: Search, starts: Sequence[Start]) -> None:
    """Candidates that just fit the goal, from the bases that promise most there: first by curves, then by a try."""
    size = total_bytes(fitting(made, starts[0], made.goal).options)
    likely = [sorted(some, key=lambda s: s.noise(size))[: made.effort.tries + TRIED] for some in by_kind(starts)]
    fits = [fitting(made, start, made.goal) for some in likely for start in some]
    tried = sorted(((made.trial(fit.start.base, fit.options), fit) for fit in fits), key=lambda pair: pair[0])
    made.begin("knapsack", made.effort.tries)
    for _, fit in tried[: made.effort.tries]:
        _corrected(made, fit, made.goal, filled=True)


def _corrected(made: Search, fit: Fit, goal: Goal, filled: bool = False) -> None:
    """The candidate of `fit`, and smaller ones as long as it is too large, or (`filled`) larger ones if it is small."""
    candidate, limit = made.full(fit.start.base, fit.options, "knapsack"), float(total_bytes(fit.options))
    for _ in range(AGAIN):
        over = goal.over(candidate.cost)
        if over is None or (over > 0 and limit <= fit.knapsack.smallest):
            break
        if over <= 0 and (over >= -unused(goal) or not filled):
            break
        limit -= over + unused(goal) / 2
        before, candidate = candidate, made.full(fit.start.base, fit.knapsack.solve(limit), "knapsack")
        if candidate is before:
            break


def matched(made: Search, starts: Sequence[Start]) -> None:
    """For each setting that is the same for all layers, of those no other beats, one of the same size that is not."""
    alike = sorted((c for c in made.candidates.values() if c.origin == "uniform"), key=lambda c: c.cost.flash)
    front = [c for i, c in enumerate(alike) if all(other.loss > c.loss for other in alike[:i]) and c.loss <= LOST]
    made.begin("knapsack", len(front))
    for candidate in front:
        goal, size = Goal(flash=candidate.cost.flash), candidate.cost.constants
        for some in by_kind(starts):
            _corrected(made, fitting(made, min(some, key=lambda s: s.noise(size)), goal), goal)


def spread(made: Search, starts: Sequence[Start]) -> None:
    """Candidates over the whole range of sizes, each of the base that promises most."""
    low, high = max(min(s.knapsack.smallest for s in starts), 1), starts[0].knapsack.largest
    tried = np.geomspace(low, high, STEPS)
    low = next((size for size in tried if min(s.noise(size) for s in starts) <= LOST), low)
    sizes = np.geomspace(low, high, made.effort.sizes + 1)[:-1]
    made.begin("knapsack", len(sizes))
    for size in sizes[::-1].tolist():
        start = min(starts, key=lambda s: s.noise(size))
        made.full(start.base, start.knapsack.solve(size), "knapsack")

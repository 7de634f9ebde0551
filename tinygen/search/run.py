"""The steps of a budget search, one after the other, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.compress import Bought
from tinygen.passes.base import macs
from tinygen.search.base import Candidate, Effort, Found, Goal, Heard, Problem, Study, silent
from tinygen.search.bases import Base, Step, structures
from tinygen.search.curves import Curves, Option
from tinygen.search.engine import PLAIN, Search
from tinygen.search.knapsack import Knapsack, total_bytes, total_noise
from tinygen.search.ranking import frontier, rank

#: A base that promises so many times the noise of another at every size is not looked at.
HOPE = 1.5
#: How often the size asked of a knapsack is corrected by that of what the techniques made.
CORRECTIONS = 3
#: Noise, as a share of the decision's variance, with which a model is of no use; and sizes looked at to find where.
LOST, STEPS = 0.4, 64


@dataclass(frozen=True)
class Start:
    """A base with the curves of its layers, and their solutions for all sizes."""

    base: Base
    curves: Curves
    knapsack: Knapsack

    def noise(self, size: float) -> float:
        """What is expected of `size` bytes of weights."""
        if size < self.knapsack.smallest:
            return float("inf")
        return self.base.loss + total_noise(self.knapsack.solve(size))


def search(problem: Problem, goal: Goal, effort: Effort, study: Study | None = None, heard: Heard = silent) -> Found:
    """The best program for `problem` that meets `goal`, or what comes closest to that.

    The same problem, goal and effort give the same result (with a study, if one worker alone has worked on it). Raises
    `ToolError` if `study` is given and Optuna is missing, `UsageError` for a study of another problem.
    """
    made = Search(problem, goal, effort, heard)
    start = made.start()
    if not goal.met(start):
        starts = started(made)
        aimed(made, starts)
        spread(made, starts)
    return found(made, start)


def started(made: Search) -> list[Start]:
    """The bases that promise something, with their curves; the plain one first."""
    recipes = list(structures(made.effort.ratios, made.effort.ranks))
    made.begin("curves", len(recipes) + 1)
    plain = made.base(())
    curves = made.curves(plain)
    starts = [Start(plain, curves, Knapsack.of(curves))]
    made.step()
    for recipe in recipes:
        base = made.base(recipe)
        if _promises(starts[0], base):
            curves = made.curves(base)
            starts.append(Start(base, curves, Knapsack.of(curves)))
        made.step()
    return starts


def _promises(plain: Start, base: Base) -> bool:
    """Whether a base may be better than the plain one at some size, if its layers lose as theirs do."""
    whole = plain.knapsack.largest
    left = sum(base.graph.constants[n].size for n in base.graph.constants) / max(
        sum(plain.base.graph.constants[n].size for n in plain.base.graph.constants), 1
    )
    sizes = np.geomspace(max(plain.knapsack.smallest, 1), whole, 24)
    return any(base.loss + total_noise(plain.knapsack.solve(size / left)) < HOPE * plain.noise(size) for size in sizes)


def aimed(made: Search, starts: Sequence[Start]) -> None:
    """Candidates that just fit the goal, from the bases that promise most there."""
    offers = [(start, made.fitting(start.base, start.curves)) for start in starts]
    offers.sort(key=lambda offer: offer[0].base.loss + total_noise(offer[1]))
    made.begin("knapsack", made.effort.tries)
    for start, options in offers[: made.effort.tries]:
        _corrected(made, start, options)


def _corrected(made: Search, start: Start, options: Mapping[str, Option]) -> Candidate:
    """The candidate of `options`, or of smaller ones as long as what the techniques made does not fit."""
    candidate, limit = made.full(start.base, options, "knapsack"), float(total_bytes(options))
    for _ in range(CORRECTIONS):
        over = candidate.cost.flash - (made.goal.flash or candidate.cost.flash)
        if over <= 0 or limit <= start.knapsack.smallest:
            break
        limit -= over
        candidate = made.full(start.base, start.knapsack.solve(limit), "knapsack")
    return candidate


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


def found(made: Search, start: Candidate) -> Found:
    """The outcome: the best candidate with its true cost, by the linker, and counted instructions."""
    made.begin("check", 1)
    goal, ranked = made.goal, sorted(made.candidates, key=lambda key: rank(made.goal, made.candidates[key]))
    for key in ranked:
        candidate = made.candidates[key]
        cost = made.costs.exact(made.made[key][0], count=True)
        made.candidates[key] = replace(candidate, cost=cost)
        if goal.excess(cost) <= goal.excess(candidate.cost):
            break
    key = min(ranked, key=lambda k: rank(goal, made.candidates[k]))
    best = made.candidates[key]
    made.step(best)
    judged = tuple(made.candidates.values())
    fits = goal.met(best)
    return Found(
        made.made[key][0], best, start, bought(made, key), frontier(judged), judged, fits, goal, made.effort.name
    )


def bought(made: Search, key: str) -> tuple[Bought, ...]:
    """What each technique of the candidate bought, one after the other."""
    start, last, lines = made.candidates[PLAIN], made.candidates[key], list[Bought]()
    steps = made.made[key][1]
    for step in (Step("start", (), (), made.plain), *steps):
        if step.graph is made.made[key][0]:
            cost, quality = last.cost, last.quality
        elif step.graph is made.plain:
            cost, quality = start.cost, start.quality
        else:
            cost, quality = made.costs.of(step.graph), made.judge.judged(step.graph)[0]
        sizes = cost.weights, cost.constants, cost.flash, cost.ram
        lines.append(Bought(step.name, step.done, step.declined, *sizes, macs(step.graph), quality))
    return tuple(lines)

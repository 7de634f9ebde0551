# SPDX-License-Identifier: Apache-2.0
"""The steps of a budget search, one after the other, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.compress import Bought
from tinygen.compress.base import Sample
from tinygen.ir import store
from tinygen.passes.base import macs
from tinygen.search.aiming import aimed, matched, spread
from tinygen.search.base import Candidate, Cost, Effort, Found, Goal, Heard, Problem, Study, silent
from tinygen.search.bases import Base, Step, structures
from tinygen.search.engine import PLAIN, Search, Start
from tinygen.search.knapsack import Knapsack, total_noise
from tinygen.search.last import Fitted, fitted_to_all
from tinygen.search.ranking import frontier, rank
from tinygen.search.recovery import recovered
from tinygen.search.sampling import sampled
from tinygen.search.seeds import seeded
from tinygen.search.study import kept
from tinygen.search.uniform import uniform

#: A base that promises so many times the noise of another at every size is not looked at.
HOPE = 1.5
#: Shares of multiply-accumulates that pruning tries to do without are multiples of 1 / SHARES.
SHARES = 16


def search(problem: Problem, goal: Goal, effort: Effort, study: Study | None = None, heard: Heard = silent) -> Found:
    """The best program for `problem` that meets `goal`, or what comes closest to that.

    Where the plain model meets it, nothing else is looked at, unless there is a `study`, or no limit at all: then it is
    the frontier that is asked for. The same problem, goal and effort give the same result (with a study, if one worker
    alone has worked on it). Without Optuna there are no trials, without TensorFlow no recovery. Raises `ToolError` if
    `study` is given and Optuna is missing, `UsageError` for a study of another problem.
    """
    trials = kept(study, _identity(problem)) if effort.trials or study is not None else None
    made = Search(problem, goal, effort, heard, trials)
    start = made.start()
    unlimited = goal == Goal(max_drop=goal.max_drop)
    if not goal.met(start) or study is not None or unlimited:
        looked(made, start)
    if unlimited:
        linked(made)
    return found(made, start)


def linked(made: Search) -> None:
    """Ask the linker for what no other candidate beats, until the frontier is of sizes that it has told."""
    asked = set[str]()
    while True:
        front = {candidate.number for candidate in frontier(tuple(made.candidates.values()))}
        keys = [key for key, c in made.candidates.items() if c.number in front and key not in asked]
        if not keys:
            return
        for key in keys:
            exact = made.costs.exact(made.graph_of(made.candidates[key])[0])
            made.candidates[key] = replace(made.candidates[key], cost=exact)
        asked |= {*keys}


def looked(made: Search, start: Candidate) -> None:
    """Every step between the plain model and the choice."""
    uniform(made)
    starts = started(made, start)
    if not made.goal.met(start):
        aimed(made, starts)
    matched(made, starts)
    spread(made, starts)
    if not made.goal.met(start):
        seeded(made)
    if made.kept is not None and made.effort.trials:
        sampled(made, starts, made.kept)
    recovered(made)


def _identity(problem: Problem) -> dict[str, bytes]:
    """What a study is about: trials of something else say nothing."""
    evidence = problem.evidence
    labels = b"" if evidence.labels is None else evidence.labels.tobytes()
    lossless = " ".join(p.name for p in problem.passes)
    return {
        "another model": store.dumps(problem.graph),
        "another target": f"{problem.target.name} {problem.optimize} {problem.float_io} {lossless}".encode(),
        "other calibration samples": _bytes(evidence.samples),
        "other data": _bytes(evidence.held_back) + labels,
    }


def _bytes(samples: Sequence[Sample]) -> bytes:
    return b"".join(array.tobytes() for sample in samples for array in sample)


def started(made: Search, start: Candidate) -> list[Start]:
    """The bases that promise something, with their curves: the plain one first, unless only others can fit."""
    recipes = list(structures(made.plain, made.effort))
    made.begin("curves", len(recipes) + 1)
    plain = made.base(())
    starts = [_start(made, plain)]
    made.step()
    for recipe in recipes:
        base = made.base(recipe)
        if any(step.done for step in base.steps) and _promises(starts[0], base):
            starts.append(_start(made, base))
        made.step()
    limits = made.goal.shaped
    if limits.excess(start.cost) == 0:
        return starts
    fitting = [s for s in starts if limits.excess(made.costs.of(s.base.graph)) == 0]
    return [*fitting, *(_start(made, base) for base in _lean(made, limits))] or starts


def _start(made: Search, base: Base) -> Start:
    curves = made.curves(base)
    return Start(base, curves, Knapsack.of(curves))


def _lean(made: Search, limits: Goal) -> list[Base]:
    """The bases that lose least multiply-accumulates, and next to least, of those that meet `limits` by pruning.

    With more effort, the model on smaller images, too, if it meets them.
    """

    def fits(base: Base) -> bool:
        return limits.excess(made.costs.exact(base.graph, count=limits.instructions is not None)) == 0

    low, high, found = 0, SHARES, dict[int, Base]()
    while high - low > 1:
        middle = (low + high) // 2
        base = made.base(({"name": "prune", "ratio": middle / SHARES, "of": "macs"},))
        if fits(base):
            high, found[middle] = middle, base
        else:
            low = middle
    smaller = [made.base(({"name": "resolution", "factor": 2},))] if made.effort.fine else []
    return [*(found[share] for share in sorted(found)[:2]), *(b for b in smaller if b.steps[0].done and fits(b))]


def _promises(plain: Start, base: Base) -> bool:
    """Whether a base may be better than the plain one at some size, if its layers lose as theirs do."""
    whole = plain.knapsack.largest
    left = sum(base.graph.constants[n].size for n in base.graph.constants) / max(
        sum(plain.base.graph.constants[n].size for n in plain.base.graph.constants), 1
    )
    sizes = np.geomspace(max(plain.knapsack.smallest, 1), whole, 24)
    return any(base.loss + total_noise(plain.knapsack.solve(size / left)) < HOPE * plain.noise(size) for size in sizes)


def found(made: Search, start: Candidate) -> Found:
    """The outcome: the best candidate with its true cost, by the linker, and counted instructions.

    Where samples were held back only to choose it by, it is fitted to these, too.
    """
    made.begin("check", 1)
    goal, ranked = made.goal, sorted(made.candidates, key=lambda key: rank(made.goal, made.candidates[key]))
    looked = list[str]()
    for key in ranked:
        candidate = made.candidates[key]
        looked.append(key)
        cost = made.costs.exact(made.graph_of(candidate)[0], count=True)
        made.candidates[key] = replace(candidate, cost=cost)
        if goal.excess(cost) <= goal.excess(candidate.cost):
            break
    key = min(looked, key=lambda k: rank(goal, made.candidates[k]))
    lines, graph = bought(made, key), made.made[key][0]
    last = fitted_to_all(made, made.candidates[key])
    if last is not None:
        made.candidates[key], graph = last.candidate, last.graph
        lines = with_sizes(made, lines, last)
    best = made.candidates[key]
    made.step(best)
    judged = tuple(made.candidates.values())
    return Found(graph, best, start, lines, frontier(judged), judged, goal.met(best), goal, made.effort.name)


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
        lines.append(Bought(step.name, step.done, step.declined, *_sizes(cost), macs(step.graph), quality))
    return tuple(lines)


def with_sizes(made: Search, lines: Sequence[Bought], last: Fitted) -> tuple[Bought, ...]:
    """`lines` with what the steps to `last` did and take; its quality is what it was before."""
    costs = [*(made.costs.of(step.graph) for step in last.steps[:-1]), last.candidate.cost]
    new = (
        Bought(step.name, step.done, step.declined, *_sizes(cost), macs(step.graph), line.quality)
        for line, step, cost in zip(lines[1:], last.steps, costs, strict=True)
    )
    return lines[0], *new


def _sizes(cost: Cost) -> tuple[int, int, int, int]:
    return cost.weights, cost.constants, cost.flash, cost.ram

# SPDX-License-Identifier: Apache-2.0
"""The budget search: from measured curves to a knapsack, from there to candidates that are compressed and judged.

Settings that are the same for all layers come first. Then, for bases (the model as it is, pruned, of lower rank, or
without some branches) that promise something, curves say what each layer's weights take and cost in each way; a
knapsack solves them for a ladder of sizes and for the goal's.
Its solutions are run through the techniques themselves. A study (`tinygen.search.study`) looks around them, and
recovery trains the best.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tinygen.compress.fitting.layerwise import Declined, Fitted, Layer, rewrite
from tinygen.ir.graph import Graph
from tinygen.passes import run_passes
from tinygen.search.base import Candidate, Cost, Effort, Goal, Heard, Origin, Phase, Problem, Progress
from tinygen.search.bases import Base, Step, applied
from tinygen.search.context import made_good_by_others
from tinygen.search.costs import Costs
from tinygen.search.curves import Curves, Option, Probe, combined, measured
from tinygen.search.judge import Judge
from tinygen.search.knapsack import Knapsack, total_noise
from tinygen.search.ranking import best
from tinygen.search.remembered import remembered
from tinygen.search.study import Kept
from tinygen.search.ways import STORED, Entry, Way, entries, ladder

#: So near to the goal's flash, as a share of it, the linker is asked, and settings are worth correcting.
CLOSE = 0.02
#: The key of the plain model among candidates.
PLAIN = "[]"


@dataclass(frozen=True)
class Start:
    """A base with the curves of its layers, and their solutions for all sizes."""

    base: Base
    curves: Curves
    knapsack: Knapsack

    @cached_property
    def dense(self) -> Knapsack:
        """Solutions without sparse layers, whose code not every size is worth."""
        return Knapsack.of({name: [o for o in some if o.way.zeros is None] for name, some in self.curves.items()})

    @cached_property
    def kinds(self) -> tuple[Start, ...]:
        """This, and where there are others, the same with codebooks of one scale only: their noise is known better."""
        if all(option.way.usual for some in self.curves.values() for option in some):
            return (self,)
        usual = {name: [option for option in some if option.way.usual] for name, some in self.curves.items()}
        return self, Start(self.base, usual, Knapsack.of(usual))

    def noise(self, size: float) -> float:
        """What is expected of `size` bytes of weights."""
        if size < self.knapsack.smallest:
            return float("inf")
        return self.base.loss + total_noise(self.knapsack.solve(size))


class Search:
    """One search: what it has found so far, and the steps that find more."""

    def __init__(self, problem: Problem, goal: Goal, effort: Effort, heard: Heard, kept: Kept | None) -> None:
        self.goal, self.effort, self.heard, self.kept = goal, effort, heard, kept
        self.plain, _ = run_passes(problem.graph, problem.passes)
        evidence = problem.evidence
        self.problem = replace(problem, evidence=replace(evidence, teacher=evidence.teacher or self.plain))
        self.costs, self.judge = Costs(problem), Judge(problem, self.plain)
        self.candidates = dict[str, Candidate]()
        self.made = dict[str, tuple[Graph, tuple[Step, ...]]]()
        self.phase: Phase = "start"
        self.done, self.total = 0, 1

    def begin(self, phase: Phase, total: int) -> None:
        """A new phase of `total` steps."""
        self.phase, self.done, self.total = phase, 0, max(total, 1)

    def step(self, judged: Candidate | None = None) -> None:
        """One step of the phase is done."""
        self.done += 1
        self.heard(Progress(self.phase, self.done, max(self.total, self.done), self.best, judged))

    @property
    def best(self) -> Candidate | None:
        """What would be chosen now."""
        return best(self.goal, self.candidates.values()) if self.candidates else None

    def candidate(self, recipe: Sequence[Entry], origin: Origin, base: Base | None = None) -> Candidate:
        """The candidate that `recipe` makes, behind the part that makes `base`: judged once."""
        whole = (*(base.recipe if base else ()), *recipe)
        key = json.dumps(whole, sort_keys=True)
        known = self.kept.get(key) if self.kept is not None else None
        if key not in self.candidates and known is not None:
            self.candidates[key] = replace(known, number=len(self.candidates))
        elif key not in self.candidates:
            before, problem = base.graph if base else self.plain, self.problem
            graph, steps = applied(before, recipe, problem.evidence, problem.passes)
            self.made[key] = graph, (*(base.steps if base else ()), *steps)
            self.candidates[key] = self._judged(graph, whole, origin)
            if self.kept is not None:
                self.kept.put(key, self.candidates[key])
        self.step(self.candidates[key])
        return self.candidates[key]

    def graph_of(self, candidate: Candidate) -> tuple[Graph, tuple[Step, ...]]:
        """The graph of a candidate, and the steps that made it: made again, if it was judged in another process."""
        whole = tuple(candidate.recipe["technique"])
        key = json.dumps(whole, sort_keys=True)
        if key not in self.made:
            self.made[key] = applied(self.plain, whole, self.problem.evidence, self.problem.passes)
        return self.made[key]

    def _judged(self, graph: Graph, recipe: Sequence[Entry], origin: Origin, cost: Cost | None = None) -> Candidate:
        quality, drop, loss = self.judge.judged(graph)
        content = {"technique": [dict(entry) for entry in recipe]}
        cost = cost or self.costs.of(graph)
        if self.goal.flash is not None and abs(cost.flash / self.goal.flash - 1) < CLOSE:
            cost = self.costs.exact(graph)
        return Candidate(content, cost, quality, drop, loss, len(self.candidates), origin)

    def start(self) -> Candidate:
        """The plain model."""
        self.begin("start", 1)
        cost = self.costs.exact(self.plain, count=True)
        self.made[PLAIN] = self.plain, ()
        self.candidates[PLAIN] = self._judged(self.plain, (), "start", cost)
        self.step(self.candidates[PLAIN])
        return self.candidates[PLAIN]

    def base(self, recipe: tuple[Entry, ...]) -> Base:
        """The base that `recipe` makes of the plain model."""
        graph, steps = applied(self.plain, recipe, self.problem.evidence, self.problem.passes)
        return Base(recipe, steps, graph, self.judge.loss(graph) if recipe else 0.0)

    def curves(self, base: Base) -> Curves:
        """The curves of a base, as its layers are fitted in turn; with a study, they are measured once."""
        study, effort = self.kept.path if self.kept is not None else None, self.effort
        about = f"{ladder(effort.fine, True)} {ladder(effort.fine, False)} {effort.probes} {effort.samples}"
        return remembered(study, base.graph, about, lambda: self._measured(base))

    def _measured(self, base: Base) -> Curves:
        problem, samples = self.problem, self.problem.evidence.samples
        probe = Probe(base.graph, samples, self.effort.probes)
        ways = lambda large: ladder(self.effort.fine, large)  # noqa: E731  # what is asked for, in one line
        found = measured(base.graph, samples, ways, problem.target, problem.optimize, probe)
        return made_good_by_others(base.graph, samples[: self.effort.samples], found, probe)

    def proxy(self, base: Base, options: Mapping[str, Option]) -> Graph:
        """What the techniques would make of `base`, nearly: layers fitted apart from each other."""
        graph = combined(base.graph, tuple(options.values()))
        return applied(graph, STORED, self.problem.evidence, self.problem.passes)[0]

    def walked(self, base: Base, options: Mapping[str, Option]) -> Graph:
        """What the techniques would make of `base`, nearly: layers fitted in turn, to fewer samples, all at once."""

        def fit(layer: Layer) -> Fitted:
            fitted = options[layer.node.name].way.fit(layer)
            if fitted is None:
                raise Declined("saves nothing")
            return fitted

        samples, evidence = self.problem.evidence.samples[: self.effort.samples], self.problem.evidence
        chosen = lambda node: node.name in options and options[node.name].way != Way()  # noqa: E731  # used once
        graph = rewrite(base.graph, samples, chosen, fit).graph
        return applied(graph, STORED, evidence, self.problem.passes)[0]

    def trial(self, base: Base, options: Mapping[str, Option]) -> tuple[float, float]:
        """How far `options` are above the goal's limits, and what they lose, nearly.

        A few bytes of flash too many do not count: they are saved later, at next to no loss.
        """
        graph = self.walked(base, options)
        return self.goal.wider(CLOSE).excess(self.costs.of(graph)), self.judge.loss(graph)

    def full(self, base: Base, options: Mapping[str, Option], origin: Origin) -> Candidate:
        """The candidate that the techniques make of `base` with each layer in the way of its option."""
        ways = {name: option.way for name, option in options.items()}
        plain = self.goal == self.goal.shaped and all(way == Way() for way in ways.values())
        return self.candidate(() if plain else entries(ways), origin, base)

# SPDX-License-Identifier: Apache-2.0
"""Placing blocks of memory: first-fit in several orders, then branch and bound, then local search.

The search that `tinygen.plan.memory` runs, on blocks that are only numbers. All of it is deterministic: effort is
counted in operations, never in seconds, and random numbers come from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from random import Random

#: Branch and bound is tried up to this many blocks.
_EXACT = 64
#: Problems whose solutions are kept.
KNOWN = 256


@dataclass(frozen=True)
class Step:
    """Blocks that are live together: (block, what it takes besides those before, in whole units of alignment).

    The topmost block needs no padding, so the sum of the heights less `slack` (the most padding of one) is needed.
    """

    live: tuple[tuple[int, int], ...]
    slack: int

    @cached_property
    def bytes(self) -> int:
        return sum(height for _, height in self.live) - self.slack


@dataclass(frozen=True)
class Problem:
    """Blocks 0, 1, … to be placed.

    - `bytes`, `align`, `first`, `last`: of each block; `bytes` is its greatest height, never 0.
    - `near[u]`: (v, up, down) for each block v that u meets in time: either v begins at least `up` above u, or u begins
      at least `down` above v; also more than one, where further differences between the two are forbidden. Of blocks
      that may begin together, the one that is then to lie below has the lower number.
    - `steps`: every set of blocks that are live together, or one that needs as much.
    """

    bytes: tuple[int, ...]
    align: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    near: tuple[tuple[tuple[int, int, int], ...], ...]
    steps: tuple[Step, ...]

    @property
    def bound(self) -> int:
        """What the busiest step needs; no placement takes fewer bytes."""
        return max((step.bytes for step in self.steps), default=0)

    def top(self, offsets: Sequence[int]) -> int:
        """The bytes that a placement takes."""
        return max((at + size for at, size in zip(offsets, self.bytes, strict=True)), default=0)


def first_fit(problem: Problem, order: Sequence[int], tight: bool = False) -> list[int]:
    """The offset of each block when they are placed in `order`, each in its lowest hole, or (`tight`) its smallest."""
    offsets = [-1] * len(problem.bytes)
    for u in order:
        taken = [(offsets[v] - own, offsets[v] + other) for v, own, other in problem.near[u] if offsets[v] >= 0]
        offsets[u] = _hole(sorted(taken), problem.align[u], tight)
    return offsets


def _hole(taken: Sequence[tuple[int, int]], align: int, tight: bool) -> int:
    """An aligned offset strictly inside no interval of `taken` (sorted); the space above the last has no end."""
    at, best, spare = 0, None, -1
    for start, end in taken:
        if at <= start:
            if not tight:
                return at
            if best is None or start - at < spare:
                best, spare = at, start - at
        at = max(at, _up(end, align))
    return at if best is None else best


@lru_cache(maxsize=KNOWN)
def solve(problem: Problem, limit: int, effort: int) -> Sequence[int] | None:
    """The best placement found in fewer than `limit` bytes, or None; `effort` limits each of the two searches.

    A budget search asks for the same problem for one candidate after the other.
    """
    best, bound = None, problem.bound
    trials = [(order, first_fit(problem, order, tight)) for order in _orders(problem) for tight in (False, True)]
    order, offsets = min(trials, key=lambda trial: problem.top(trial[1]))
    if problem.top(offsets) < limit:
        best, limit = offsets, problem.top(offsets)
    if limit > bound and len(problem.bytes) <= _EXACT:
        exact = _Exact(problem, limit, effort)
        exact.run()
        best, limit = exact.best or best, exact.limit
        if exact.effort > 0:
            return best
    if limit > bound:
        best = _wander(problem, order, limit, effort) or best
    return best


def _orders(problem: Problem) -> Iterator[list[int]]:
    """Orders that are good for some programs; ties keep the order of definition."""
    blocks = range(len(problem.bytes))
    size, first, last = problem.bytes, problem.first, problem.last
    busiest = [0] * len(blocks)
    for step in problem.steps:
        for u, _ in step.live:
            busiest[u] = max(busiest[u], step.bytes)
    yield sorted(blocks, key=lambda u: -size[u])
    yield sorted(blocks, key=lambda u: -size[u] * (last[u] - first[u] + 1))
    yield sorted(blocks, key=lambda u: (first[u] - last[u], -size[u]))
    yield sorted(blocks, key=lambda u: (-busiest[u], -size[u]))
    yield sorted(blocks, key=lambda u: (first[u], -size[u]))
    yield sorted(blocks, key=lambda u: (-last[u], -size[u]))


class _Exact:
    """Branch and bound over placements in which no block could be moved down, taking blocks by offset, then index.

    Some best placement is of that kind, and in it each block lies right on top of those before it that it meets.
    """

    def __init__(self, problem: Problem, limit: int, effort: int) -> None:
        self.problem, self.limit, self.effort = problem, limit, effort
        self.best: list[int] | None = None
        self.bound = problem.bound
        self.cost = len(problem.bytes) + sum(len(step.live) for step in problem.steps)

    def run(self) -> None:
        """Search; `effort` is left over only if nothing below `limit` can exist any more."""
        count = len(self.problem.bytes)
        self._branch([0] * count, frozenset(range(count)), (0, -1))

    def _branch(self, low: list[int], rest: frozenset[int], last: tuple[int, int]) -> None:
        """Place `rest` after (offset, index) `last`; `low` is the lowest offset left for each, final for the others."""
        if not rest:
            self.best, self.limit = low, self.problem.top(low)
            return
        self.effort -= self.cost
        if self.effort <= 0 or self._hopeless(low, rest, last[0]):
            return
        # A block above room that another one fits into is not next: the other is, or else it could be moved down there.
        ceiling = min(low[u] + self.problem.bytes[u] for u in rest)
        ready = [(low[u], -self.problem.bytes[u], u) for u in rest if last < (low[u], u) and low[u] < ceiling]
        for at, _, u in sorted(ready):
            if self.limit <= self.bound:
                return
            raised = low.copy()
            for v, own, _ in self.problem.near[u]:
                if v in rest:
                    raised[v] = max(raised[v], _up(at + own, self.problem.align[v]))
            self._branch(raised, rest - {u}, (at, u))

    def _hopeless(self, low: list[int], rest: frozenset[int], floor: int) -> bool:
        """Whether some block or some step shows that `rest` ends at or above the limit."""
        if any(max(floor, low[u]) + self.problem.bytes[u] >= self.limit for u in rest):
            return True
        for step in self.problem.steps:
            still = [(low[u], height) for u, height in step.live if u in rest]
            if still and max(floor, min(still)[0]) + sum(h for _, h in still) - step.slack >= self.limit:
                return True
        return False


def _wander(problem: Problem, order: Sequence[int], limit: int, effort: int) -> list[int] | None:
    """Local search over orders for first-fit: a topmost block moves forward and two others swap; worse is undone."""
    random, best, bound = Random(0), None, problem.bound  # random() is the same in all versions of Python
    kept, offsets = list(order), first_fit(problem, order)
    least, count = problem.top(offsets), len(order)
    for _ in range(effort // (count + sum(map(len, problem.near)))):
        if limit <= bound:
            break
        trial = kept.copy()
        high = max(range(count), key=lambda i: offsets[kept[i]] + problem.bytes[kept[i]])
        trial.insert(int(random.random() * (high + 1)), trial.pop(high))
        i, j = (int(random.random() * count) for _ in range(2))
        trial[i], trial[j] = trial[j], trial[i]
        placed = first_fit(problem, trial)
        top = problem.top(placed)
        if top <= least:
            kept, offsets, least = trial, placed, top
        if top < limit:
            best, limit = placed, top
    return best


def _up(value: int, align: int) -> int:
    """The least multiple of `align` that is not below `value`."""
    return -(-value // align) * align

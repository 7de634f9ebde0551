# SPDX-License-Identifier: Apache-2.0
"""The knapsack against every combination of options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, cast

import numpy as np
import pytest

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.search.aiming import fitting
from tinygen.search.base import Cost, Goal
from tinygen.search.bases import Base
from tinygen.search.curves import Option
from tinygen.search.engine import Start
from tinygen.search.knapsack import Knapsack, total_bytes, total_noise
from tinygen.search.ways import Way


def curves(seed: int, layers: int = 4, options: int = 5) -> dict[str, list[Option]]:
    """Layers with options of random bytes, noise and work, the first without noise."""
    rng, found = np.random.default_rng(seed), {}
    for index in range(layers):
        sizes = np.sort(rng.integers(5, 200, options))[::-1]
        noises = np.sort(rng.random(options)) * np.array([0, *[1] * (options - 1)])
        node = Node(f"n{index}", "CONV_2D", ("x",), (f"y{index}",), Attrs())
        found[node.name] = [
            Option(Way(values=k + 2), int(size), float(noise), node, {}, {})
            for k, (size, noise) in enumerate(zip(sizes, noises, strict=True))
        ]
    return found


def exhaustive(given: dict[str, list[Option]], limit: float) -> float:
    """The least noise of all combinations that keep to the limit."""
    sums = [(sum(o.bytes for o in chosen), sum(o.noise for o in chosen)) for chosen in product(*given.values())]
    return min((noise for size, noise in sums if size <= limit), default=np.inf)


@pytest.mark.parametrize("seed", range(8))
def test_solutions_are_the_best_of_all(seed: int) -> None:
    given = curves(seed)
    solutions = Knapsack.of(given)
    for limit in np.linspace(solutions.smallest, solutions.largest, 9):
        found = solutions.solve(limit)
        assert total_bytes(found) <= limit
        assert total_noise(found) == pytest.approx(exhaustive(given, limit))


class Sized:
    """Of a search, what tells the flash of a solution: here a share of its bytes, and code."""

    def __init__(self, share: float, code: Callable[[int], int]) -> None:
        self.costs, self.share, self.code = self, share, code

    def proxy(self, base: Base, options: Mapping[str, Option]) -> int:
        return total_bytes(options)

    def of(self, size: int) -> Cost:
        return Cost(round(self.share * size) + self.code(size), 0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("share", "more"),
    [(0.8, 0.2), (0.3, 0.0)],
    ids=["smaller solutions take more code", "corrections stop before the goal"],
)
def test_sizes_are_met(seed: int, share: float, more: float) -> None:
    solutions = Knapsack.of(curves(seed, layers=12, options=9))
    part = 0.6 * solutions.largest
    made: Any = Sized(share, lambda size: round(more * part) if size < part else 0)
    start = Start(Base((), (), cast(Graph, solutions.largest), 0.0), dict(solutions.layers), solutions)
    goal = Goal(flash=round(share * 1.1 * part))
    found = fitting(made, start, goal)
    assert found.over == 0 and total_bytes(found.options) >= 1.03 * part


def test_gains_weigh_layers() -> None:
    given = curves(3)
    weighed = {n: [Option(o.way, o.bytes, o.noise * 7, o.node, {}, {}) for o in given[n]] for n in ("n1",)}
    limit = Knapsack.of(given).smallest * 1.4
    assert Knapsack.of(given, {"n1": 7.0}).solve(limit) == {
        n: next(o for o in given[n] if o.way == w.way)
        for n, w in Knapsack.of({**given, **weighed}).solve(limit).items()
    }


def test_what_fits_nowhere_is_as_small_as_can_be() -> None:
    given = curves(5)
    assert total_bytes(Knapsack.of(given).solve(1)) == Knapsack.of(given).smallest

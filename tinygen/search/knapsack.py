# SPDX-License-Identifier: Apache-2.0
"""The multiple-choice knapsack: one option of each layer, so that they fit and add least noise together.

Exact dynamic programming over bytes (D. Pisinger, A minimal algorithm for the multiple-choice knapsack problem, 1995,
gives the recursion), in units so small that rounding up wastes next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.search.curves import Curves, Option

#: Units that the largest knapsack has, at most.
UNITS = 1 << 14


@dataclass(frozen=True)
class Knapsack:
    """The solutions for every size at once: `taken[layer][size]` is the option of that layer, sizes in `unit` bytes."""

    layers: Sequence[tuple[str, Sequence[Option]]]
    unit: int
    least: Real
    taken: Sequence[Array]

    @classmethod
    def of(cls, curves: Curves, gains: Mapping[str, float] | None = None) -> Knapsack:
        """All solutions for `curves`, whose noises are multiplied by the layers' `gains` (1 by default)."""
        layers = tuple(curves.items())
        whole = sum(max(o.bytes for o in options) for _, options in layers)
        unit = max(1, whole // UNITS)
        count = whole // unit + len(layers) + 1
        least, taken = np.zeros(count), list[Array]()
        for name, options in layers:
            gain = (gains or {}).get(name, 1.0)
            totals = np.full((len(options), count), np.inf)
            for row, option in zip(totals, options, strict=True):
                size = -(-option.bytes // unit)
                row[size:] = least[: count - size] + option.noise * gain
            taken.append(np.argmin(totals, axis=0))
            least = totals.min(axis=0)
        return cls(layers, unit, least, taken)

    @property
    def smallest(self) -> int:
        """The bytes of the smallest solution."""
        return sum(min(o.bytes for o in options) for _, options in self.layers)

    @property
    def largest(self) -> int:
        """The bytes of the solution that adds nothing."""
        return sum(options[0].bytes for _, options in self.layers)

    def solve(self, limit: float) -> dict[str, Option]:
        """The option of each layer, of at most `limit` bytes together; the smallest ones where nothing fits."""
        left = min(int(limit // self.unit), len(self.least) - 1)
        if left < 0 or not np.isfinite(self.least[left]):
            return {name: min(options, key=lambda o: o.bytes) for name, options in self.layers}
        found = dict[str, Option]()
        for (name, options), taken in zip(reversed(self.layers), reversed(self.taken), strict=True):
            option = options[int(taken[left])]
            left -= -(-option.bytes // self.unit)
            found[name] = option
        return {name: found[name] for name, _ in self.layers}


def total_bytes(options: Mapping[str, Option]) -> int:
    """The bytes of all layers."""
    return sum(option.bytes for option in options.values())


def total_noise(options: Mapping[str, Option]) -> float:
    """The noise that all layers add, supposed to be independent."""
    return sum(option.noise for option in options.values())

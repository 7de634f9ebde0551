# SPDX-License-Identifier: Apache-2.0
"""Which weights a layer needs least, and what the others become without them: the optimal brain surgeon, in rounds.

Without the weight w_j, the best values of all others cost w_j² / [H⁻¹]_jj more (B. Hassibi, D. Stork, 1992; by layer:
E. Frantar, D. Alistarh, Optimal Brain Compression, 2022). Instead of one weight after the other, each round removes
many, and solves for the rest exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygen.compress.fitting.moments import Hessian
from tinygen.compress.fitting.solve import descend
from tinygen.ir.types import Array, Real

#: Multiplications above which the rest is not solved for exactly, but by so many rounds of coordinate descent.
MAX_WORK, DESCENTS = 1 << 36, 4
#: Rounds in which weights are removed.
ROUNDS = 4

#: Costs of removal [groups, filters, depth] (below 0 for what is gone), and a share of the way → what may be kept.
Select = Callable[[Real, float], Array]


def prune(weights: Real, kept: Array, hessian: Hessian, select: Select, block: int = 1) -> tuple[Real, Array]:
    """`weights` [groups, filters, depth] without those that `select` removes, and where those are that it keeps.

    `kept` is where weights may be other than 0 to begin with. `block`: neighbours that go together, each at the cost of
    removing all of them.
    """
    values, costs = _fitted(weights, kept, hessian, block)
    for number in range(1, ROUNDS + 1):
        kept = kept & select(costs, 1 - (1 - number / ROUNDS) ** 3)
        values, costs = _fitted(weights, kept, hessian, block if number < ROUNDS else 0)
    return values, kept


def _fitted(weights: Real, kept: Array, hessian: Hessian, block: int) -> tuple[Real, Real]:
    """The values, 0 but where `kept`, that do what `weights` do, and what removing each costs (not for `block` 0)."""
    whole = bool(kept.all())
    if not whole and float(np.sum(kept.sum(axis=2, dtype=np.float64) ** 3)) > MAX_WORK:
        return rough(weights, kept, hessian, block)
    values, costs = np.zeros(weights.shape), np.full(weights.shape, -1.0)
    moved = hessian.times(weights)
    for part, matrix in hessian.parts:
        for g in range(len(matrix)):
            shared = np.linalg.inv(matrix[g]) if whole else None
            for f in range(weights.shape[1]):
                here = np.flatnonzero(kept[g, f, part])
                at = part.start + here
                if shared is None and not block:
                    values[g, f, at] = np.linalg.solve(matrix[g][np.ix_(here, here)], moved[g, f, at])
                    continue
                inverse = np.linalg.inv(matrix[g][np.ix_(here, here)]) if shared is None else shared
                values[g, f, at] = inverse @ moved[g, f, at]
                costs[g, f, at] = _removal(values[g, f, at], inverse, at // max(block, 1))
    return values, costs


def rough(weights: Real, kept: Array, hessian: Hessian, block: int) -> tuple[Real, Real]:
    """The values and costs as `prune` has them, fast: by coordinate descent, and with the inverse for all inputs."""
    start = np.where(kept, weights, 0.0)
    values = descend(weights, start, hessian, lambda i, v: np.where(kept[:, :, i], v, 0.0), DESCENTS)
    costs = np.full(weights.shape, -1.0)
    for part, matrix in hessian.parts if block else ():
        for g, inverse in enumerate(np.linalg.inv(matrix)):
            places = np.arange(part.start, part.stop) // block
            for f in range(weights.shape[1]):
                costs[g, f, part] = _removal(values[g, f, part], inverse, places)
    return values, np.where(kept, costs, -1.0)


def _removal(row: Real, inverse: Real, blocks: Array) -> Real:
    """w' [H⁻¹]⁻¹ w of the block (by number, rising) that each weight of `row` belongs to."""
    if len(np.unique(blocks)) == len(row):
        return np.asarray(row**2 / inverse.diagonal())
    costs = np.empty(len(row))
    starts = np.flatnonzero(np.diff(blocks, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(row)], strict=True):
        costs[start:stop] = row[start:stop] @ np.linalg.solve(inverse[start:stop, start:stop], row[start:stop])
    return costs

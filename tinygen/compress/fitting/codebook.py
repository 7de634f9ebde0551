# SPDX-License-Identifier: Apache-2.0
"""Codebooks: the few integers that stand for all weights of a layer."""

from __future__ import annotations

import numpy as np

from tinygen.compress.fitting.moments import Hessian
from tinygen.compress.fitting.solve import Allowed
from tinygen.ir.types import Array, Real

#: Bins that weights are sorted into before they are clustered.
BINS = 1024
#: The least that a weight counts, beside the one that counts most: differences of sums keep no more digits.
LIGHTEST = 1e-9


def clusters(values: Array, weights: Real, count: int) -> Real:
    """The centres [at most `count`], rising, with the least sum of weighted squared distances.

    Exact for the histogram of `values`: dynamic programming over the bins where each cluster begins (H. Wang, M. Song,
    Ckmeans.1d.dp, 2011). No start is random, and none is needed.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.array([low])
    bins = np.minimum(((values - low) / (high - low) * BINS).astype(np.int64), BINS - 1).ravel()
    weights = np.maximum(weights / max(float(weights.max()), 1e-300), LIGHTEST)
    sums = np.stack([np.bincount(bins, (weights * values**power).ravel(), BINS) for power in (0, 1, 2)])
    sums = sums[:, sums[0] > 0]
    starts = _partition(_costs(sums), min(count, sums.shape[1]))
    mass, first, _ = np.add.reduceat(sums, starts, axis=1)
    return np.asarray(first / mass, np.float64)


def _costs(sums: Array) -> Real:
    """[i, j]: the squared distances within a cluster of bins i to j, infinite where j < i.

    `sums` are those of weights, of weighted values, and of weighted squares in each bin.
    """
    m, s, q = np.pad(np.cumsum(sums, axis=1), ((0, 0), (1, 0)))
    sums = s[None, 1:] - s[:-1, None]
    cost = (q[None, 1:] - q[:-1, None]) - sums**2 / np.maximum(m[None, 1:] - m[:-1, None], LIGHTEST)
    return np.where(np.tri(len(cost), k=-1, dtype=bool), np.inf, np.maximum(cost, 0))


def _partition(cost: Real, count: int) -> Array:
    """Where each of `count` clusters begins."""
    best, choices = cost[0], []
    for _ in range(1, count):
        total = best[:-1, None] + cost[1:, :]  # [i, j]: the clusters before end with bin i, the next with bin j
        choices.append(np.argmin(total, axis=0) + 1)
        best = np.min(total, axis=0)
    starts, end = [0] * count, len(cost) - 1
    for index in range(count - 1, 0, -1):
        starts[index] = int(choices[index - 1][end])
        end = starts[index] - 1
    return np.array(starts)


def refitted(target: Real, places: Array, scales: Real, hessian: Hessian, fixed: Array) -> Real:
    """The values of the codebook with which filters come nearest to the real `target`, by least squares.

    `places` are the indices [groups, filters, depth] of weights in the codebook, of which the entries that are `fixed`
    (bools) are 0 and stay so.
    """
    count = len(fixed)
    left, right = np.zeros((count, count)), np.zeros(count)
    moved = hessian.times(target)
    for g, f in np.ndindex(places.shape[:2]):
        hot = (places[g, f] == np.arange(count)[:, None]) * scales[g, f]
        left += sum(hot[:, part] @ matrix[g] @ hot[:, part].T for part, matrix in hessian.parts)
        right += hot @ moved[g, f]
    free = ~fixed & (left.diagonal() > 0)
    result = np.zeros(count)
    damped = left[np.ix_(free, free)]
    result[free] = np.linalg.solve(damped + np.eye(len(damped)) * (1e-9 * damped.trace() + 1e-300), right[free])
    return result


def nearest(book: Array, kept: Array | None) -> Allowed:
    """The entry of the rising `book` nearest to each value; 0 where a weight is not `kept`."""
    middles = (book[1:] + book[:-1]) / 2

    def allowed(column: int, values: Real) -> Real:
        found = book[np.searchsorted(middles, values)].astype(np.float64)
        return found if kept is None else np.where(kept[:, :, column], found, 0.0)

    return allowed

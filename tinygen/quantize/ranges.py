# SPDX-License-Identifier: Apache-2.0
"""Choosing what interval of real numbers 256 integers cover.

- minmax: all that was seen.
- margin: all that was seen, and a share more: further samples go beyond what some hundred have shown.
- percentile: all but 0.01 % at each end.
- mse: the interval with the least mean squared error of rounding and clipping.
- entropy: that with the least Kullback-Leibler divergence (S. Migacz, 8-bit inference with TensorRT, 2017), both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from tinygen.ir.types import Array, Quant, Real
from tinygen.quantize.calibrate import Statistics

#: Share of the values beyond each end that the percentile method gives up.
TAIL = 1e-4
#: How much more than was seen the margin method covers.
MARGIN = 0.15
#: How far mse and entropy shrink the interval, as shares of it.
SHARES = np.linspace(0.3, 1.0, 36)
#: The smallest scale: those of a tensor that is zero throughout.
MIN_SCALE = 1e-12

Interval = tuple[float, float]


def quant_of(low: float, high: float) -> Quant:
    """int8 for the numbers from `low` to `high` and 0, which is represented exactly; the scale is a float32 value."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    scale = float(np.float32(max((high - low) / 255, MIN_SCALE)))
    return Quant.per_tensor(scale, int(np.clip(math.floor(-128 - low / scale + 0.5), -128, 127)))


def symmetric_scales(weights: Array, axis: int, floor: Array | float = 0.0) -> Real:
    """One scale for each index along `axis`, for weights within +-127 steps; none below `floor` (float32 values)."""
    others = tuple(a for a in range(weights.ndim) if a != axis)
    scales = np.maximum(np.abs(weights).max(axis=others, initial=0.0) / 127, floor)
    return np.asarray(np.maximum(scales, MIN_SCALE).astype(np.float32), np.float64)


def minmax(stats: Statistics) -> Interval:
    return stats.low, stats.high


def margin(stats: Statistics) -> Interval:
    return stats.low * (1 + MARGIN), stats.high * (1 + MARGIN)


def percentile(stats: Statistics) -> Interval:
    shares = np.cumsum(stats.counts) / stats.counts.sum()
    edges = np.linspace(stats.low, stats.high, len(stats.counts) + 1)
    first, last = int(np.searchsorted(shares, TAIL, side="right")), int(np.searchsorted(shares, 1 - TAIL))
    return float(edges[first]), float(edges[min(last + 1, len(edges) - 1)])


def mse(stats: Statistics) -> Interval:
    return _search(stats, _squared_error)


def entropy(stats: Statistics) -> Interval:
    return _search(stats, _divergence)


def _search(stats: Statistics, cost: Callable[[Statistics, Quant], float]) -> Interval:
    """The interval of least cost: first both ends shrink together, then each on its own."""
    low, high = min(stats.low, 0.0), max(stats.high, 0.0)
    one = min(SHARES.tolist(), key=lambda s: cost(stats, quant_of(low * s, high * s)))
    if low == 0.0 or high == 0.0:
        return low * one, high * one
    upper = min(SHARES.tolist(), key=lambda s: cost(stats, quant_of(low * one, high * s)))
    lower = min(SHARES.tolist(), key=lambda s: cost(stats, quant_of(low * s, high * upper)))
    return low * lower, high * upper


def fake(values: Array, quant: Quant) -> Real:
    """`values` rounded and clipped as int8 with `quant` holds them, as real numbers."""
    steps = np.clip(np.rint(values / quant.scale) + quant.zero_point, -128, 127)
    return np.asarray((steps - quant.zero_point) * quant.scale, np.float64)


def _squared_error(stats: Statistics, quant: Quant) -> float:
    return float(np.sum(stats.counts * (fake(stats.centres, quant) - stats.centres) ** 2))


def _divergence(stats: Statistics, quant: Quant) -> float:
    """KL divergence from the clipped histogram to what is left of it when each step spreads evenly over its bins."""
    steps = (np.clip(np.rint(stats.centres / quant.scale) + quant.zero_point, -128, 127) + 128).astype(np.int64)
    inside = np.abs(fake(stats.centres, quant) - stats.centres) <= quant.scale
    clipped = stats.counts * inside
    total = np.bincount(steps, clipped, 256)
    filled = np.bincount(steps, (clipped > 0).astype(np.float64), 256)
    spread = np.where(clipped > 0, (total / np.maximum(filled, 1))[steps], 0.0)
    # what lies outside ends up at the outermost bins inside
    reference = clipped.copy()
    places = np.flatnonzero(inside)
    if not len(places) or not spread.sum():
        return math.inf
    reference[places[0]] += stats.counts[: places[0]].sum()
    reference[places[-1]] += stats.counts[places[-1] + 1 :].sum()
    p, q = reference / reference.sum(), spread / spread.sum()
    known = p > 0
    return float(np.sum(p[known] * np.log(p[known] / np.maximum(q[known], 1e-9))))


METHODS: Mapping[str, Callable[[Statistics], Interval]] = {
    "minmax": minmax,
    "margin": margin,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}

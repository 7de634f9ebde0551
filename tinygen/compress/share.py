# SPDX-License-Identifier: Apache-2.0
"""Weight sharing: few distinct values in each tensor, so that a weight is stored as an index into a small codebook.

Deep Compression (S. Han et al., 2016) shares by k-means of the weights. Here values are what is best for the outputs:
first clusters of weights in steps of their filter's scale, weighted by the second moments of their inputs; then, in
turn, assignments in GPTQ order and by coordinate descent, and scales and codebook by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.fitting.codebook import clusters, nearest, refitted
from tinygen.compress.fitting.layerwise import Declined, Fitted, Layer, rewrite
from tinygen.compress.fitting.mixture import Choice, average, mixed
from tinygen.compress.fitting.solve import descend, fit_scales, on_support, sweep
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.passes.base import Result

#: How often assignments and what they are assigned to are fitted in turn, and how many rounds each assignment takes.
TURNS, ROUNDS = 6, 3
#: Least and most entries of a codebook.
FEWEST, MOST = 2, 64
#: Bits of indices that a mix is made of, the most first.
MIXED = (6, 5, 4, 3, 2)
#: Largest integer of a codebook.
TOP = 127


@dataclass(frozen=True)
class Share:
    """Leave each layer's weights at most `values` distinct values, or ``auto:N``.

    ``auto:N`` mixes 4 to 64 values so that indices take N bits on average over all layers that get it: see `mixture`.
    `scale`: one for each ``channel`` or ``tensor``. With one scale per tensor a layer loses a little more, but needs
    one requantization multiplier instead of one for each channel.
    """

    values: Setting = field(default=Setting(16), metadata={"main": True})
    scale: str = "channel"
    name: ClassVar[str] = "share"
    stage: ClassVar[Stage] = Stage.VALUES

    def __post_init__(self) -> None:
        for value in self.values.values():
            known = value is None or (type(value) is int and FEWEST <= value <= MOST)
            if not known and not 2 <= average(value) <= 6:
                raise UsageError(
                    f"{value!r} values make no codebook; give {FEWEST} to {MOST}, or 'auto:N' for 2 to 6 bits"
                )
        if self.scale not in ("channel", "tensor"):
            raise UsageError(f"a scale per {self.scale!r} is unknown; give 'channel' or 'tensor'")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique`."""
        fixed = mixed(graph, evidence.samples, self.values, self._choices, [1 << bits for bits in MIXED])
        return rewrite(
            graph, evidence.samples, lambda node: fixed.of(node) is not None, lambda layer: self._fit(layer, fixed)
        )

    def _choices(self, layer: Layer) -> list[Choice]:
        return [Choice(bits, share(layer, 1 << bits, self.scale == "tensor")) for bits in MIXED]

    def _fit(self, layer: Layer, setting: Setting) -> Fitted:
        values, found = setting.of(layer.node), len(np.unique(layer.stored))
        if found <= values:
            raise Declined(f"has no more than {found} values already")
        if layer.stored.size < 4 * values:
            raise Declined(f"{values} values for {layer.stored.size} weights would save nothing")
        return share(layer, values, self.scale == "tensor")


def share(layer: Layer, entries: int, one_scale: bool = False) -> Fitted:
    """`layer` with at most `entries` values; zeros of a sparse layer stay zero, and 0 is one of the values then."""
    kept = on_support(layer.stored)
    scales = _alike(layer, kept, one_scale)
    book = _clustered(layer, scales, kept, entries)
    values, tried = None, list[tuple[float, Fitted]]()
    for _ in range(TURNS):
        if values is not None:
            fixed = np.zeros(len(book), bool) if kept is None else book == 0
            places = np.searchsorted(book, values)
            book = refitted(layer.target, places, scales, layer.hessian, fixed)
        book, scales = _stretched(book, scales)
        scaled = layer.target / scales[:, :, None]
        start = None if values is None else book[places].astype(np.float64)
        book = np.unique(book)
        allowed = nearest(book, kept)
        if start is None:
            start = sweep(scaled, layer.hessian, allowed)
        values = descend(scaled, start, layer.hessian, allowed, ROUNDS)
        scales = _scales(layer, values, one_scale)
        fitted = Fitted(values.astype(np.int64), scales)
        tried.append((layer.noise(fitted.real), fitted))
    best = min(tried, key=lambda pair: pair[0])[1]
    sparse = "" if kept is None else f", {np.mean(best.integers == 0):.0%} of the weights zero"
    return Fitted(best.integers, best.scales, f"{len(np.unique(best.integers))} values{sparse}")


def _alike(layer: Layer, kept: Array | None, one_scale: bool) -> Real:
    """Scales under which all filters are equally large in the mean, and no weight is above `TOP` steps."""
    weights = layer.target if kept is None else layer.target * kept
    axis = None if one_scale else 2
    spread: Real = np.maximum(np.sqrt(np.mean(weights**2, axis=axis)) * np.ones(layer.scales.shape), 1e-12)
    peak = np.max(np.abs(weights) / spread[:, :, None])
    return np.asarray(np.maximum(spread * peak / TOP, layer.smallest))


def _clustered(layer: Layer, scales: Real, kept: Array | None, entries: int) -> Real:
    scaled = layer.target / scales[:, :, None]
    costs = layer.hessian.diagonal[:, None, :] * scales[:, :, None] ** 2
    if kept is None:
        return clusters(scaled, costs, entries)
    return np.union1d(clusters(scaled[kept], costs[kept], entries - 1), [0.0])


def _stretched(book: Real, scales: Real) -> tuple[Array, Real]:
    """The codebook in integers, the largest of which is `TOP`, and the scales that belong to it."""
    factor = TOP / max(float(np.max(np.abs(book))), 1e-12)
    return np.rint(book * factor).astype(np.int64), scales / factor


def _scales(layer: Layer, values: Real, one_scale: bool) -> Real:
    if not one_scale:
        return fit_scales(layer.target, values, layer.hessian, layer.smallest)
    moved = layer.hessian.times(values)
    best = np.sum(moved * layer.target) / max(np.sum(moved * values), 1e-300)
    return np.full(layer.scales.shape, max(best, layer.smallest.max()))


TECHNIQUE = Share

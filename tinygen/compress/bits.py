# SPDX-License-Identifier: Apache-2.0
"""Fewer bits: weights on a uniform grid of 2 to 8 bits, ternary or binary ones, each filter with the scale that fits.

The stored integers are small, their scales larger by as much, and requantization takes care of it: no operator changes.
Scales come from a search over clipping by the error of the layer's outputs, then from least squares; integers from
GPTQ's sweep (E. Frantar et al., 2022) and coordinate descent, in turn. Ternary weights: F. Li et al., Ternary Weight
Networks, 2016; binary ones: M. Rastegari et al., XNOR-Net, 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.fitting.layerwise import Declined, Fitted, Layer, rewrite
from tinygen.compress.fitting.mixture import Choice, average, mixed
from tinygen.compress.fitting.solve import Allowed, descend, fit_scales, on_support, sweep
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, Real
from tinygen.passes.base import Result

#: How often integers and scales are fitted in turn, and how many rounds each of the integers takes.
TURNS, ROUNDS = 4, 3
#: Shares of the largest weight that the scale search clips at.
CLIPS = np.linspace(1.0, 0.15, 18)
#: Bits that a mix is made of, the most first.
MIXED = (8, 7, 6, 5, 4, 3, 2)
TERNARY = "ternary"


@dataclass(frozen=True)
class Bits:
    """Store weights in fewer bits: 2 to 8, 1 (-1 and 1), ``ternary`` (-1, 0 and 1), or ``auto:N``.

    ``auto:N`` mixes the bits of all layers that get it so that a weight takes N on average: see `mixture`.
    """

    bits: Setting = field(default=Setting(4), metadata={"main": True})
    name: ClassVar[str] = "bits"
    stage: ClassVar[Stage] = Stage.VALUES

    def __post_init__(self) -> None:
        for value in self.bits.values():
            known = value is None or value == TERNARY or (type(value) is int and 1 <= value <= 8)
            if not known and not 2 <= average(value) <= 8:
                raise UsageError(f"{value!r} is not 1 to 8, 'ternary', or 'auto:N' with N from 2 to 8")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique`."""
        fixed = mixed(graph, evidence.samples, self.bits, _choices, MIXED)
        return rewrite(
            graph, evidence.samples, lambda node: fixed.of(node) is not None, lambda layer: _fit(layer, fixed)
        )


def _choices(layer: Layer) -> list[Choice]:
    return [Choice(bits, _first(layer, bits)) for bits in MIXED]


def _fit(layer: Layer, setting: Setting) -> Fitted:
    bits = setting.of(layer.node)
    low, high = limits(bits)
    if low <= layer.stored.min() and layer.stored.max() <= high and (bits != 1 or layer.stored.all()):
        raise Declined(f"fits {_words(bits)} already")
    if bits == 1 and on_support(layer.stored) is not None:
        raise Declined("its weights are sparse, and 1 bit has no zero: ask for 'ternary'")
    return quantized(layer, bits)


def _words(bits: int | str) -> str:
    return str(bits) if bits == TERNARY else f"{bits} bit" + ("s" if bits != 1 else "")


def limits(bits: int | str) -> tuple[int, int]:
    """The least and the largest integer."""
    if bits == TERNARY or bits == 1:
        return -1, 1
    half = 1 << (int(bits) - 1)
    return max(-half, -127), half - 1


def quantized(layer: Layer, bits: int | str) -> Fitted:
    """`layer` in `bits`; zeros of a sparse layer stay zero."""
    kept = on_support(layer.stored)
    best = state = _first(layer, bits)
    for _ in range(TURNS):
        scaled = layer.target / state.scales[:, :, None]
        values = descend(scaled, state.integers.astype(np.float64), layer.hessian, grid(bits, kept), ROUNDS)
        scales = fit_scales(layer.target, values, layer.hessian, layer.smallest)
        state = Fitted(values.astype(np.int64), scales)
        best = min(best, state, key=lambda fitted: layer.noise(fitted.real))
    return replace(best, said=f"{_words(bits)}, density {np.mean(best.integers != 0):.0%}")


def _first(layer: Layer, bits: int | str) -> Fitted:
    """Scales by search, and one sweep."""
    kept = on_support(layer.stored)
    scales = search_scales(layer, bits, kept)
    values = sweep(layer.target / scales[:, :, None], layer.hessian, grid(bits, kept))
    return Fitted(values.astype(np.int64), scales)


def search_scales(layer: Layer, bits: int | str, kept: Array | None) -> Real:
    """For each filter the scale under which weights rounded to nearest make least noise."""
    low, high = limits(bits)
    peak = np.max(np.abs(layer.target), axis=2)
    best: Real = np.maximum(peak / max(high, -low), layer.smallest)
    least = np.full(peak.shape, np.inf)
    allowed = grid(bits, kept)
    for clip in CLIPS:
        scales = np.maximum(clip * peak / max(high, -low), layer.smallest)
        scaled = layer.target / scales[:, :, None]
        rounded = np.stack([allowed(i, scaled[:, :, i]) for i in range(scaled.shape[2])], axis=2)
        noise = layer.hessian.power(scaled - rounded) * scales**2
        better = noise < least
        best, least = np.where(better, scales, best), np.where(better, noise, least)
    return best


def grid(bits: int | str, kept: Array | None) -> Allowed:
    """The integers of `bits` bits; 0 where a weight is not `kept`."""
    low, high = limits(bits)

    def allowed(column: int, values: Real) -> Real:
        found = np.where(values < 0, -1.0, 1.0) if bits == 1 else np.clip(np.rint(values), low, high)
        return found if kept is None else np.where(kept[:, :, column], found, 0.0)

    return allowed


TECHNIQUE = Bits

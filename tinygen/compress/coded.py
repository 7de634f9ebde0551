# SPDX-License-Identifier: Apache-2.0
"""Weights that take few bits in codes: uniform steps, as coarse as the bits allow, and rounded to what comes often.

A uniform grid whose integers get codes by how often they come needs about a quarter of a bit more than anything could
do with, where weights are independent (H. Gish, J. Pierce, Asymptotically efficient quantizing, 1968). Which of its
neighbours a weight becomes is decided by what it adds to the outputs' error and by the length of its code
(entropy-constrained quantization; P. Chou, T. Lookabaugh, R. Gray, 1989), in GPTQ's sweep and in coordinate descent.
Codebooks of few values are tried beside grids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.bits import grid
from tinygen.compress.fitting.layerwise import Fitted, Layer, rewrite
from tinygen.compress.fitting.mixture import Choice, spread
from tinygen.compress.fitting.solve import Allowed, descend, on_support, sweep
from tinygen.compress.share import share
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.kernels.entropy import FORM
from tinygen.passes.base import Result

#: How often integers, their codes and the scale are fitted in turn, how often by a sweep, and the rounds after it.
TURNS, SWEEPS, ROUNDS = 4, 2, 2
#: Steps that are tried, as shares of the root mean square of a layer's weights, the finest first.
STEPS = tuple(2.0 ** (i / 4) / 8 for i in range(17))
#: Entries of codebooks that are tried beside them.
BOOKS = (2, 3, 4, 5, 6, 8)
#: Largest integer, and what a bit is worth: of the error of rounding, at whose optimum a bit saves 3/4.
TOP, WORTH = 127, 2 * np.log(2) / 12


@dataclass(frozen=True)
class Coded:
    """Round weights so that they take `bits` on average in Huffman codes: put `entropy` behind it.

    A layer takes more of them where the network's output needs them: see `mixture`. One scale for each tensor.
    ``step:S`` instead of bits: a grid of that step, in root mean squares of the layer's weights.
    """

    bits: Setting = field(default=Setting(3.0), metadata={"main": True})
    name: ClassVar[str] = "coded"
    stage: ClassVar[Stage] = Stage.VALUES

    def __post_init__(self) -> None:
        for value in self.bits.values():
            if not (value is None or asked_step(value) or (type(value) in (int, float) and 0 < value <= 7)):
                raise UsageError(
                    f"{value!r} are no bits for a weight: give a number above 0, and at most 7, or 'step:S' with S "
                    f"from {STEPS[0]:g} to {STEPS[-1]:g}"
                )

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique`."""
        ways, taken = dict[str, list[Way]](), dict[str, int]()

        def choices(layer: Layer) -> list[Choice]:
            """The finest first."""
            made = [(way, way.fit(layer)) for way in WAYS]
            sized = sorted(((size(fitted.integers), way, fitted) for way, fitted in made), key=lambda one: -one[0])
            ways[layer.node.name] = [way for _, way, _ in sized]
            return [Choice(bits, fitted) for bits, _, fitted in sized]

        for asked in dict.fromkeys(v for v in self.bits.values() if v is not None and asked_step(v) is None):
            chosen = lambda node, asked=asked: self.bits.of(node) == asked  # noqa: E731  # what is asked for, in one line
            taken |= spread(graph, evidence.samples, chosen, choices, asked)

        def fit(layer: Layer) -> Fitted:
            step = asked_step(self.bits.of(layer.node))
            return coded(layer, step) if step else ways[layer.node.name][taken[layer.node.name]].fit(layer)

        def asks(node: Node) -> bool:
            return node.name in taken or asked_step(self.bits.of(node)) is not None

        return rewrite(graph, evidence.samples, asks, fit)


def asked_step(value: Any) -> float | None:
    """The S of ``step:S``, if it is one that makes sense; else None."""
    found = re.fullmatch(r"step:(\d+(\.\d+)?)", value) if isinstance(value, str) else None
    return float(found[1]) if found and STEPS[0] <= float(found[1]) <= STEPS[-1] else None


@dataclass(frozen=True)
class Way:
    """A grid of this `step`, or a codebook of so many `entries`."""

    step: float = 0.0
    entries: int = 0

    def fit(self, layer: Layer) -> Fitted:
        return share(layer, self.entries, one_scale=True) if self.entries else coded(layer, self.step)


WAYS = (*(Way(step) for step in STEPS), *(Way(entries=entries) for entries in BOOKS))


def size(integers: Array) -> float:
    """The bits that each of `integers` [groups, filters, depth] takes in codes, tables included."""
    fields = FORM.pack(integers.reshape(-1, integers.shape[2]).astype(np.int8))
    if fields is None:
        return 8.0
    return 8 * sum(v.nbytes for v in fields.values() if isinstance(v, np.ndarray)) / integers.size


def coded(layer: Layer, step: float) -> Fitted:
    """`layer` on a grid of this `step`; zeros of a sparse layer stay zero."""
    kept = on_support(layer.stored)
    spread = float(np.sqrt(np.mean(layer.target**2)))
    scale = max(step * spread, float(np.abs(layer.target).max()) / TOP, float(layer.smallest.max()))
    values = sweep(layer.target / scale, layer.hessian, grid(8, kept))
    for turn in range(TURNS):
        allowed = cheap(lengths(values), layer.hessian.diagonal, kept)
        if turn < SWEEPS:
            values = sweep(layer.target / scale, layer.hessian, allowed)
        values = descend(layer.target / scale, values, layer.hessian, allowed, ROUNDS)
        scale = _scale(layer, values)
    times = _room(values, scale, layer)
    integers = values.astype(np.int64) * times
    said = f"{len(np.unique(values))} values, {size(integers):.2f} bits, {np.mean(values == 0):.0%} of the weights zero"
    return Fitted(integers, np.full(layer.scales.shape, scale / times), said)


def _room(values: Real, scale: float, layer: Layer) -> int:
    """How many times as large all integers may be: codes do not care, and training moves them in finer steps."""
    return max(1, min(TOP // max(int(np.abs(values).max()), 1), int(scale / float(layer.smallest.max()))))


def _scale(layer: Layer, values: Real) -> float:
    """The scale with which `values` come nearest to the target."""
    moved = layer.hessian.times(values)
    best = float(np.sum(moved * layer.target)) / max(float(np.sum(moved * values)), 1e-300)
    return max(best, float(layer.smallest.max()))


def lengths(values: Real) -> Real:
    """Bits of an ideal code for each integer from -TOP to TOP, as often as they come in `values`; rare ones alike."""
    counts = np.bincount(values.astype(np.int64).ravel() + TOP, minlength=2 * TOP + 1)
    return np.asarray(np.log2(values.size) - np.log2(np.maximum(counts, 0.5)))


def cheap(lengths: Real, powers: Real, kept: Array | None) -> Allowed:
    """Of the nearest integer, its neighbour towards 0, and 0: whichever costs least, bits and error together.

    `powers` [groups, depth] are those of the inputs.
    """
    worth = WORTH * float(powers.mean())

    def allowed(column: int, values: Real) -> Real:
        near = np.clip(np.rint(values), -TOP, TOP)
        tried = np.stack([near, near - np.sign(near), np.zeros_like(near)])
        costs = powers[:, column, None] * (tried - values) ** 2 + worth * lengths[tried.astype(np.int64) + TOP]
        found = np.take_along_axis(tried, np.argmin(costs, axis=0)[None], axis=0)[0]
        return found if kept is None else np.where(kept[:, :, column], found, 0.0)

    return allowed


TECHNIQUE = Coded

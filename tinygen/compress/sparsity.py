# SPDX-License-Identifier: Apache-2.0
"""Weight pruning: weights become zero where outputs miss them least, and the others make good what is gone.

Which ones go, and what the others become: `obs`. What stays is rounded to int8 again by coordinate descent, so that
outputs stay near (E. Frantar, D. Alistarh, SparseGPT, 2023, do the same in one sweep).

Patterns, along a filter's weights as they lie in memory, input channels inside: any weights; N of each M neighbours at
most; blocks of 4 neighbours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.fitting.layerwise import Declined, Fitted, Layer, layers_of, rewrite
from tinygen.compress.fitting.mixture import Choice, spread
from tinygen.compress.fitting.obs import prune, rough
from tinygen.compress.fitting.solve import descend, on_support
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.passes.base import Result

#: Neighbours of a block.
BLOCK = 4
#: Largest integer of a weight, and rounds of descent after the sweep.
TOP, ROUNDS = 127, 3
#: Depthwise layers, and layers with less than this share of all weights, are left alone unless named by a pattern.
WORTHWHILE = 0.01
#: Sparsities that a mix is made of.
MIXED = (0.0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96)


@dataclass(frozen=True)
class Pattern:
    """`share` of the weights is zero: `size` neighbours together, or if `of` is not 0, `size` of each `of` at least."""

    share: float
    size: int = 1
    of: int = 0

    def select(self, costs: Real, way: float) -> Array:
        """What may stay of weights with such `costs` of removal, after a share of the `way`: what costs most."""
        if self.of:
            filled = np.pad(costs, ((0, 0), (0, 0), (0, -costs.shape[2] % self.of)), constant_values=-2.0)
            groups = filled.reshape(*costs.shape[:2], -1, self.of)
            ranks = np.argsort(np.argsort(groups, axis=3, kind="stable"), axis=3)
            return (ranks >= math.ceil(self.size * way - 1e-9)).reshape(filled.shape)[:, :, : costs.shape[2]]
        units = costs.reshape(-1, self.size)[:, 0]
        kept = np.ones(len(units), bool)
        kept[np.argsort(units, kind="stable")[: round(self.share * way * len(units))]] = False
        return np.repeat(kept, self.size).reshape(costs.shape)

    def keeps(self, integers: Array) -> bool:
        """Whether `integers` have these zeros already."""
        return bool(np.all(integers[~self.select((integers != 0).astype(np.float64), 1.0)] == 0))

    @classmethod
    def read(cls, value: Any) -> Pattern:
        """``0.5``, ``"2:4"`` (2 of 4 stay), ``"blocks:0.5"``. Raises `UsageError` for anything else."""
        if groups := re.fullmatch(r"(\d+):(\d+)", str(value)):
            n, m = int(groups[1]), int(groups[2])
            if 1 <= n < m <= 16:
                return cls(1 - n / m, m - n, m)
            raise UsageError(f"{value} is no pattern N:M with 1 <= N < M <= 16, where N of M neighbours stay")
        size, number = (BLOCK, str(value)[7:]) if str(value).startswith("blocks:") else (1, str(value))
        if re.fullmatch(r"0?\.\d+", number) and float(number) > 0:
            return cls(float(number), size)
        raise UsageError(f"{value!r} is no sparsity: give a share of zeros between 0 and 1, 'N:M', or 'blocks:SHARE'")


@dataclass(frozen=True)
class Sparsity:
    """Make a share of each layer's weights zero: `ratio` is a number, ``N:M``, or ``blocks:SHARE``.

    `spread`: ``uniform`` gives every layer its ratio; ``global`` distributes the zeros so that the network's output
    suffers least, with as many in all (shares and blocks only). Depthwise and very small layers are left alone unless
    a pattern names them: they cost quality, and hardly any bytes.
    """

    ratio: Setting = field(default=Setting(0.5), metadata={"main": True})
    spread: str = "uniform"
    name: ClassVar[str] = "sparsity"
    stage: ClassVar[Stage] = Stage.SPARSITY

    def __post_init__(self) -> None:
        if self.spread not in ("uniform", "global"):
            raise UsageError(f"a spread {self.spread!r} is unknown; give 'uniform' or 'global'")
        for value in self.ratio.values():
            if value is not None and Pattern.read(value).of and self.spread == "global":
                raise UsageError(f"{value} is the same for all layers: it cannot be spread globally")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique`."""
        asked = [node for node in layers_of(graph) if self.ratio.of(node) is not None]
        left = {node.name: why for node in asked if (why := self._left_alone(graph, node))}
        ratios = self._spread(graph, evidence, left) if self.spread == "global" else self.ratio

        def fit(layer: Layer) -> Fitted:
            if layer.node.name in left:
                raise Declined(left[layer.node.name])
            return sparse(layer, Pattern.read(ratios.of(layer.node)))

        return rewrite(graph, evidence.samples, lambda node: ratios.of(node) is not None, fit)

    def _left_alone(self, graph: Graph, node: Node) -> str | None:
        """Why `node` is left alone, unless a pattern names it."""
        if self.ratio.names(node):
            return None
        if node.op == "DEPTHWISE_CONV_2D":
            return "depthwise layers are small, and lose much: name it to change that"
        weights = {n.name: graph.types[n.inputs[1]].elements for n in layers_of(graph)}
        if weights[node.name] < WORTHWHILE * sum(weights.values()):
            return f"has less than {WORTHWHILE:.0%} of all weights: name it to change that"
        return None

    def _spread(self, graph: Graph, evidence: Evidence, left: Mapping[str, str]) -> Setting:
        """The ratio of each layer, with as many zeros in all as if each had the ratio that is asked for."""
        ratios = dict[str, str | None]()
        for value in dict.fromkeys(value for value in self.ratio.values() if value is not None):
            pattern = Pattern.read(value)
            mine = lambda node, value=value: self.ratio.of(node) == value and node.name not in left  # noqa: E731  # short
            choices = lambda layer, size=pattern.size: _choices(layer, size)  # noqa: E731  # short
            taken = spread(graph, evidence.samples, mine, choices, 1 - pattern.share)
            prefix = "blocks:" if pattern.size > 1 else ""
            ratios |= {name: f"{prefix}{MIXED[index]}" if index else None for name, index in taken.items()}
        return self.ratio.sharper(ratios)


def _choices(layer: Layer, size: int) -> list[Choice]:
    """What each of the sparsities that a mix is made of would do, roughly."""
    if layer.stored.shape[2] % size:
        return [Choice(1.0, Fitted(layer.stored, layer.scales))]
    costs, made = rough(layer.target, np.ones(layer.target.shape, bool), layer.hessian, size)[1], []
    for share in MIXED:
        kept = Pattern(share, size).select(costs, 1.0)
        values = rough(layer.target, kept, layer.hessian, 0)[0] if share else layer.target
        made.append(Choice(1 - share, Fitted(values, np.ones(layer.scales.shape))))
    return made


def sparse(layer: Layer, pattern: Pattern) -> Fitted:
    """`layer` with the zeros of `pattern`, and as few others as possible."""
    depth, kept = layer.stored.shape[2], on_support(layer.stored)
    if pattern.size > 1 and not pattern.of and depth % pattern.size:
        raise Declined(f"its filters have {depth} weights each, which do not make blocks of {pattern.size}")
    if pattern.keeps(layer.stored):
        raise Declined("has these zeros already")
    start = np.ones(layer.stored.shape, bool) if kept is None else kept
    block = 1 if pattern.of else pattern.size
    values, kept = prune(layer.target, start, layer.hessian, pattern.select, block)
    peak = np.max(np.abs(values), axis=2)
    scales = np.maximum(np.where(peak > 0, peak, layer.scales * TOP) / TOP, layer.smallest)
    scaled, steps = layer.target / scales[:, :, None], values / scales[:, :, None]
    allowed = lambda i, v: np.where(kept[:, :, i], np.clip(np.rint(v), -TOP, TOP), 0.0)  # noqa: E731  # used once
    integers = descend(scaled, np.clip(np.rint(steps), -TOP, TOP), layer.hessian, allowed, ROUNDS)
    return Fitted(integers.astype(np.int64), scales, f"{np.mean(integers == 0):.1%} zeros")


TECHNIQUE = Sparsity

# SPDX-License-Identifier: Apache-2.0
"""Which channels of a graph an output depends on, beyond what can go into biases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array
from tinygen.ops import call_of
from tinygen.ops.convolution import OPERANDS
from tinygen.passes.base import label
from tinygen.passes.channels import Groups, channels_of, mixes
from tinygen.passes.intervals import Bounds
from tinygen.passes.layers import Layer, layer_of


@dataclass
class Liveness:
    """Which groups of channels have to stay: the fixed ones, and those that a layer reads for a channel that stays.

    `padded` are groups of which a layer reads a constant that is another value than its padding, `sole` those that
    stay because a layer needs an input; with the layer's label.
    """

    graph: Graph
    groups: Groups
    bounds: Mapping[str, Bounds]
    padded: dict[int, str] = field(default_factory=dict)
    sole: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.live = np.zeros(self.groups.count, np.bool_)
        self.live[list(self.groups.fixed)] = True

    @cached_property
    def layers(self) -> list[tuple[Node, Layer]]:
        """The layers that mix channels, the last first."""
        nodes = [node for node in reversed(self.graph.nodes) if mixes(call_of(self.graph, node))]
        found = [(node, layer_of(call_of(self.graph, node))) for node in nodes]
        return [(node, layer) for node, layer in found if layer is not None]

    def spread(self) -> None:
        """Let layers that make a live channel keep alive what they read for it, until nothing changes."""
        while True:
            before = int(self.live.sum())
            for node, layer in self.layers:
                self._read(node, layer)
            if int(self.live.sum()) > before:
                continue
            starved = next((node for node, _ in self.layers if self._starves(node)), None)
            if starved is None:
                return
            first = int(self.groups.of[starved.inputs[0]][0])
            self.live[first] = True
            self.sole[first] = label(starved)

    def _starves(self, node: Node) -> bool:
        """Whether a layer of which something stays has no input left."""
        source, target = (self.groups.of[name] for name in (node.inputs[0], node.outputs[0]))
        return bool(self.live[target].any() and not self.live[source].any())

    def _read(self, node: Node, layer: Layer) -> None:
        groups, constants = self.groups.of[node.inputs[0]], constants_read(self.graph, node, self.bounds)
        weights = layer.weights[self.live[self.groups.of[node.outputs[0]]]]
        always, sometimes = (
            (weights[:, taps] != 0).any(axis=(0, 1)).reshape(-1, len(groups)).any(axis=0)
            for taps in (layer.always, layer.sometimes)
        )
        varies = np.isnan(constants)
        self.live[groups[(always | sometimes) & varies]] = True
        padded = groups[sometimes & ~varies & (constants != 0)]
        self.live[padded] = True
        self.padded.update((group, label(node)) for group in padded.tolist() if group not in self.padded)

    def kept(self) -> Iterator[str]:
        """For each layer the constant channels that stay, and why."""
        for node in self.graph.nodes:
            name = node.outputs[0]
            if node.op not in OPERANDS or name not in self.bounds:
                continue
            groups = self.groups.of[name][self.bounds[name].constant]
            for reason, count in Counter(self._reason(g) for g in groups[self.live[groups]].tolist()).items():
                yield f"{label(node)} keeps {count} constant channel{'s' if count > 1 else ''}: {reason}"

    def _reason(self, group: int) -> str:
        if group in self.groups.fixed:
            return self.groups.fixed[group]
        if group in self.sole:
            return f"{self.sole[group]} needs an input"
        if group in self.padded:
            return f"{self.padded[group]} pads with another value, so that they count less at the edges"
        return "operators tie them to channels that are not constant"


def constants_read(graph: Graph, node: Node, bounds: Mapping[str, Bounds]) -> Array:
    """For each channel that `node` reads its constant less the zero point, or NaN where it varies; float64."""
    name = node.inputs[0]
    if name not in bounds:
        return np.full(channels_of(graph.types[name]), np.nan)
    return np.where(bounds[name].constant, bounds[name].low - graph.types[name].q.zero_point, np.nan)

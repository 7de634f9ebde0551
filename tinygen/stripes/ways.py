# SPDX-License-Identifier: Apache-2.0
"""The ways in which layers can run: each alone, or several together, with the kernels that there are for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from tinygen.ir.graph import Graph, Node
from tinygen.kernels import Kernel
from tinygen.kernels.lean import lean_kernels_for
from tinygen.ops import call_of, op_of
from tinygen.room import live_bytes
from tinygen.selection import Choice, able, select
from tinygen.stripes.cuts import Lives
from tinygen.stripes.flow import chain_of
from tinygen.stripes.parts import Layer, layer_of
from tinygen.stripes.segment import Flow, Segment, choices, layer_work, most, options
from tinygen.target import Target

#: Output pixels that a part of a layer has at least: more of them share what a call costs, and take more memory.
PIXELS = (1, 12, 24, 48)


@dataclass
class Ways:
    """How the layers of `graph` can run on `target`. `pushed`: the first ones on an input that comes row by row."""

    graph: Graph
    target: Target
    pushed: bool = False
    layers: dict[tuple[str, int], Layer | None] = field(default_factory=dict)
    flows: dict[tuple[int, int, int], Flow | None] = field(default_factory=dict)
    kernels: dict[int, list[tuple[float, int, Kernel]]] = field(default_factory=dict)

    @cached_property
    def lives(self) -> Lives:
        return Lives(self.graph)

    @cached_property
    def forms(self) -> dict[str, str]:
        """The form of weights in which each layer lies in flash, by output."""
        return {name: c.kernel.form for name, c in select(self.graph, self.target, "ram").items()}

    @cached_property
    def live(self) -> dict[str, int]:
        return live_bytes(self.graph)

    @cached_property
    def alone(self) -> dict[str, list[tuple[float, int, Choice]]]:
        """For each layer, the instructions, scratch bytes and kernel of the ways to run it alone, fastest first."""
        found = {}
        for node in self.graph.nodes:
            name = node.outputs[0]
            if name in self.live:
                usual = [c for c in able(self.graph, node, self.target, "ram") if c.kernel.form == self.forms[name]]
                lean = [Choice(k, usual[0].call) for k in lean_kernels_for(node.op) if k.form == self.forms[name]]
                usual += [c for c in lean if c.kernel.requires <= self.target.features and c.kernel.takes(c.call)]
                ways = [(c.work, c.scratch, c) for c in usual]
                found[name] = sorted(ways, key=lambda way: way[:2])
        return found

    @property
    def least_work(self) -> float:
        return sum(ways[0][0] for ways in self.alone.values())

    def flow(self, start: int, end: int, pixels: int) -> Flow | None:
        """Nodes `start` up to `end` as a flow; None where they cannot run together."""
        key = (start, end, pixels)
        if key not in self.flows:
            self.flows[key] = self._flow(start, end, pixels) if self.lives.closed(start, end) else None
        return self.flows[key]

    def _flow(self, start: int, end: int, pixels: int) -> Flow | None:
        nodes, pushed = self.graph.nodes[start:end], self.pushed and start == 0
        layers = [layer for node in nodes if (layer := self.layer(node, pixels)) is not None]
        if len(layers) < len(nodes) or any(layer.gathers for layer in layers[:-1]):
            return None
        chain = chain_of(layers, self.graph.types, pushed)
        gone = chain.sources == self.graph.inputs and all(self.lives.last[name] < end for name in chain.sources)
        return Flow(chain) if gone or not pushed else None

    def layer(self, node: Node, pixels: int) -> Layer | None:
        """`node` in parts of at least so many pixels; None if it has to be computed as a whole."""
        key = (node.outputs[0], pixels)
        if key not in self.layers:
            call = call_of(self.graph, node)
            wide = next((t.shape[2] for t in (*call.outputs, *call.inputs) if t and len(t.shape) == 4), 1)
            self.layers[key] = None if op_of(node).view else layer_of(self.graph, node, -(-pixels // max(1, wide)))
        return self.layers[key]

    def segment(self, flow: Flow, room: int, work: float) -> Segment | None:
        """The flow with the fastest kernels for which there is `room`, if it takes less than `work`."""
        ways = [self._ways_of(layer) for layer in flow.chain.layers]
        if room < flow.least or not all(ways) or sum(some[0][0] for some in ways) >= work:
            return None
        for most_scratch in sorted({size for some in ways for _, size, _ in some}, reverse=True):
            picks = [next((way for way in some if way[1] <= most_scratch), None) for some in ways]
            if None in picks or sum(way[0] for way in picks if way) + flow.overhead >= work:
                return None
            if flow.pack([way[1] for way in picks if way])[1] <= room:
                return Segment(flow, tuple(way[2] for way in picks if way))
        return None

    def _ways_of(self, layer: Layer) -> list[tuple[float, int, Kernel]]:
        """The instructions, scratch memory and kernel of the ways to compute a layer's parts, fastest first."""
        if id(layer) not in self.kernels:
            kernels = options(layer, self.target, {self.forms[layer.output], *(["plain"] if layer.gathers else [])})
            ways = [(layer_work(layer, k), choices(layer, k)[most(layer)].scratch, k) for k in kernels]
            ways.sort(key=lambda way: way[:2])
            self.kernels[id(layer)] = [w for i, w in enumerate(ways) if all(w[1] < v[1] for v in ways[:i])]
        return self.kernels[id(layer)]

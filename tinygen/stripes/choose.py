"""Where in a network layers run together, and with which kernels, so that it fits into little memory.

The network is cut where a single tensor is alone alive. Between two cuts, layers run one after the other, or together,
a few rows at a time. Of all ways to cover the network, a shortest path gives that with the fewest instructions for
which a number of bytes suffices at every step. Fewer and fewer bytes are tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

from tinygen.ir.graph import Graph, Node
from tinygen.kernels import Kernel
from tinygen.kernels.lean import lean_kernels_for
from tinygen.ops import call_of, op_of
from tinygen.room import live_bytes
from tinygen.selection import Choice, able, select
from tinygen.stripes.flow import chain_of
from tinygen.stripes.parts import Layer, layer_of
from tinygen.stripes.segment import Flow, Segment, choices, layer_work, most, options
from tinygen.target import Target

#: Output pixels that a part of a layer has at least: more of them share what a call costs, and take more memory.
PIXELS = (1, 12, 24, 48)
#: Under `ram`, a percent of memory is worth this many percent of instructions.
WORTH = 2
#: From one number of bytes that is tried to the next.
SMALLER = 0.98


@dataclass(frozen=True)
class Arrangement:
    """How a network runs: the kernels of layers by output, and the `segments` whose layers run together instead.

    `bytes` is what it takes of the arena, as far as it can be told without planning; `work` its instructions, roughly.
    """

    choices: Mapping[str, Choice]
    segments: tuple[Segment, ...]
    bytes: int
    work: float

    def then(self, other: Arrangement) -> Arrangement:
        """This, and `other` for the layers after it."""
        choices, segments = {**self.choices, **other.choices}, (*self.segments, *other.segments)
        return Arrangement(choices, segments, max(self.bytes, other.bytes), self.work + other.work)


def arrangements(graph: Graph, target: Target, limit: int, pushed: bool = False) -> list[Arrangement]:
    """For fewer and fewer bytes from `limit` on, the arrangement with the fewest instructions; the best ones first.

    `pushed`: the first layers run together, on an input that comes row by row; there may be no such arrangement.
    """
    search, found = _Search(graph, target, pushed and len(graph.inputs) == 1), list[Arrangement]()
    if pushed and not search.pushed:
        return []
    while (arrangement := search.within(limit)) is not None and arrangement.bytes:
        found.append(arrangement)
        limit = min(arrangement.bytes - 1, int(arrangement.bytes * SMALLER))
    return sorted(found, key=lambda a: price(a.bytes, a.work))


def price(bytes_: int, work: float) -> float:
    """What counts under `ram`, the less the better: memory (`WORTH`) and instructions."""
    return float(bytes_) ** WORTH * work


def fitting(graph: Graph, target: Target, most_bytes: int) -> Arrangement | None:
    """The arrangement with the fewest instructions that takes at most `most_bytes`; None if there is none."""
    return _Search(graph, target).within(most_bytes)


@dataclass
class _Search:
    graph: Graph
    target: Target
    pushed: bool = False
    layers: dict[tuple[str, int], Layer | None] = field(default_factory=dict)
    flows: dict[tuple[int, int, int], Flow | None] = field(default_factory=dict)
    kernels: dict[int, list[tuple[float, int, Kernel]]] = field(default_factory=dict)

    @cached_property
    def cuts(self) -> list[int]:
        """Numbers of nodes before which one tensor alone is alive, and that after the last."""
        return _cuts(self.graph)

    @cached_property
    def forms(self) -> dict[str, str]:
        """The form of weights in which each layer lies in flash, by output."""
        return {name: c.kernel.form for name, c in select(self.graph, self.target, "ram").items()}

    @cached_property
    def alone(self) -> dict[str, list[tuple[float, int, Choice]]]:
        """For each layer, the instructions, bytes and kernel of the ways in which it can run alone, fastest first."""
        live, found = live_bytes(self.graph), {}
        for node in self.graph.nodes:
            name = node.outputs[0]
            if name in live:
                usual = [c for c in able(self.graph, node, self.target, "ram") if c.kernel.form == self.forms[name]]
                lean = [Choice(k, usual[0].call) for k in lean_kernels_for(node.op) if k.form == self.forms[name]]
                usual += [c for c in lean if c.kernel.requires <= self.target.features and c.kernel.takes(c.call)]
                ways = [(c.work, live[name] + c.scratch - self._saved(node, c), c) for c in usual]
                found[name] = sorted(ways, key=lambda way: way[:2])
        return found

    def _saved(self, node: Node, choice: Choice) -> int:
        """Bytes that output and inputs share."""
        if len(choice.launches) != 1:
            return 0
        rooms, output = choice.kernel.overlap(choice.call, choice.launches[0]), choice.call.output.bytes
        shared = [0]
        for i, room in rooms.items():
            name, size = node.inputs[i], choice.call.input(i).bytes
            if len(self.graph.consumers(name)) == 1 and not self.graph.is_output(name):
                before = -(-max(-(room.below or 0), 0) // room.step) * room.step
                shared.append(size + output - max(size + before, output))
        return max(shared)

    @property
    def least_work(self) -> float:
        return sum(ways[0][0] for ways in self.alone.values())

    def within(self, limit: int) -> Arrangement | None:
        """The arrangement with the fewest instructions that takes at most `limit` bytes."""
        best: list[Arrangement | None] = [Arrangement({}, (), 0, 0.0)]
        while len(best) < len(self.cuts):
            best.append(None)
            self._reach(best, limit)
        return best[-1]

    def _reach(self, best: list[Arrangement | None], limit: int) -> None:
        """Find the last entry of `best`, that of the layers before a cut, from the entries of earlier cuts."""
        end = len(best) - 1
        before, alone = best[end - 1], self._one_by_one(self._nodes(end - 1, end), limit)
        if before is not None and alone is not None and not (self.pushed and end == 1):
            best[end] = before.then(alone)
        for start in range(end - 1, -1, -1):
            before, flow = best[start], self._flow(start, end, PIXELS[0])
            if flow is None or flow.least > limit:
                return
            if before is None or max(flow.ends) > limit:
                continue
            for pixels in PIXELS:
                now = best[end]
                left = now.work - before.work if now else inf
                found = self._segment(self._flow(start, end, pixels), limit, left)
                best[end] = before.then(found) if found else now

    def _nodes(self, start: int, end: int) -> Sequence[Node]:
        return self.graph.nodes[self.cuts[start] : self.cuts[end]]

    def _one_by_one(self, nodes: Sequence[Node], limit: int) -> Arrangement | None:
        """The fastest kernels for which there is room."""
        chosen, most_bytes = {}, 0
        for name in (node.outputs[0] for node in nodes if node.outputs[0] in self.alone):
            way = next((way for way in self.alone[name] if way[1] <= limit), None)
            if way is None:
                return None
            chosen[name], most_bytes = way[2], max(most_bytes, way[1])
        return Arrangement(chosen, (), most_bytes, sum(choice.work for choice in chosen.values()))

    def _flow(self, start: int, end: int, pixels: int) -> Flow | None:
        """The layers between two cuts as a flow; None where they cannot run together."""
        key = (start, end, pixels)
        if key not in self.flows:
            self.flows[key] = self._chain(self._nodes(start, end), pixels, self.pushed and start == 0)
        return self.flows[key]

    def _chain(self, nodes: Sequence[Node], pixels: int, pushed: bool) -> Flow | None:
        layers = [layer for node in nodes if (layer := self._layer(node, pixels)) is not None]
        if len(layers) < len(nodes) or any(layer.gathers for layer in layers[:-1]):
            return None
        made = {layer.output for layer in layers}
        sources = {name for layer in layers for name in layer.maps if name not in made}
        if len(sources) != 1:
            return None
        (source,) = sources
        t = self.graph.types[source]
        fits = len(t.shape) == 4 and t.shape[0] == 1
        return Flow(chain_of(source, layers, self.graph.types, pushed)) if fits else None

    def _layer(self, node: Node, pixels: int) -> Layer | None:
        key = (node.outputs[0], pixels)
        if key not in self.layers:
            call = call_of(self.graph, node)
            wide = next((t.shape[2] for t in (*call.outputs, *call.inputs) if t and len(t.shape) == 4), 1)
            self.layers[key] = None if op_of(node).view else layer_of(self.graph, node, -(-pixels // max(1, wide)))
        return self.layers[key]

    def _segment(self, flow: Flow | None, limit: int, work: float) -> Arrangement | None:
        """The flow with the fastest kernels for which there is room, if it takes less than `work`."""
        if flow is None:
            return None
        ways = [self._ways_of(layer) for layer in flow.chain.layers]
        if not all(ways) or sum(some[0][0] for some in ways) >= work:
            return None
        (source, target), apart = flow.ends, flow.distance
        ends = source + target if apart is None else max(source + max(apart, 0), target)
        for most_scratch in sorted({size for some in ways for _, size, _ in some}, reverse=True):
            picks = [next((way for way in some if way[1] <= most_scratch), None) for some in ways]
            if None in picks or sum(way[0] for way in picks if way) + flow.overhead >= work:
                return None
            if ends + flow.pack([way[1] for way in picks if way])[1] <= limit:
                segment = Segment(flow, tuple(way[2] for way in picks if way))
                return Arrangement({}, (segment,), ends + segment.bytes, segment.work)
        return None

    def _ways_of(self, layer: Layer) -> list[tuple[float, int, Kernel]]:
        """The instructions, scratch memory and kernel of the ways to compute a layer's parts, fastest first."""
        if id(layer) not in self.kernels:
            kernels = options(layer, self.target, {self.forms[layer.output], *(["plain"] if layer.gathers else [])})
            ways = [(layer_work(layer, k), choices(layer, k)[most(layer)].scratch, k) for k in kernels]
            ways.sort(key=lambda way: way[:2])
            self.kernels[id(layer)] = [w for i, w in enumerate(ways) if all(w[1] < v[1] for v in ways[:i])]
        return self.kernels[id(layer)]


def _cuts(graph: Graph) -> list[int]:
    root = {name: name for name in graph.inputs}
    for node in graph.nodes:
        view = op_of(node).view and node.inputs[0] in root
        root.update({name: root[node.inputs[0]] if view else name for name in node.outputs})
    last = {root[name]: i for i, node in enumerate(graph.nodes) for name in node.inputs if name in root}
    last |= {root[name]: len(graph.nodes) for name in graph.outputs if name in root}
    born = {name: -1 for name in graph.inputs}
    born |= {name: i for i, node in enumerate(graph.nodes) for name in node.outputs if root[name] == name}
    alive = [sum(born[name] < i <= last.get(name, -1) for name in born) for i in range(len(graph.nodes))]
    return [0, *(i for i, count in enumerate(alive) if count == 1 and i), len(graph.nodes)]

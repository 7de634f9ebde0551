# SPDX-License-Identifier: Apache-2.0
"""Where in a network layers run together, and with which kernels, so that it fits into little memory.

The network is cut where a single tensor is alone alive. Between two cuts, layers run one after the other, or together,
a few rows at a time. Of all ways to cover the network, a shortest path gives that with the fewest instructions for
which a number of bytes suffices at every step. Fewer and fewer bytes are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
#: Under `ram`, a percent of memory is worth `WORTH` percent of instructions. Where these are more than `AMPLE` times
#: the least, as estimated (rather 1.1 times, counted), each percent of them counts `DEARER` times on top.
WORTH, AMPLE, DEARER = 2, 1.15, 2.8
#: How many arrangements are kept for the layers from a cut on: fast ones, and that which needs least below its tensor.
KEPT = 3
#: From one number of bytes that is tried to the next.
SMALLER = 0.98


@dataclass(frozen=True)
class Arrangement:
    """How a network runs: the kernels of layers by output, and the `segments` whose layers run together instead.

    `bytes` is what it takes of the arena, as far as it can be told without planning, `below` what has to be free below
    the tensor that it begins with; `work` its instructions, roughly, and `least` those with the fastest kernels.
    """

    choices: Mapping[str, Choice]
    segments: tuple[Segment, ...]
    bytes: int
    work: float

    below: int = 0
    least: float = inf

    def price(self, bytes_: int) -> float:
        """What counts under `ram`, the less the better, where it takes `bytes_`: memory and instructions."""
        beyond = float(max(1.0, self.work / (AMPLE * self.least)) ** DEARER)
        return float(bytes_) ** WORTH * self.work * beyond

    def before(self, tail: Arrangement) -> Arrangement:
        """This, and `tail` for the layers after it."""
        choices, segments = {**self.choices, **tail.choices}, (*self.segments, *tail.segments)
        return Arrangement(choices, segments, max(self.bytes, tail.bytes), self.work + tail.work, self.below)


@dataclass(frozen=True)
class Ends:
    """Bytes of a step's input and output, which begins at least `apart` bytes before, if it is to lie over the input.

    This can be more by any multiple of `step`. `apart` None: they must not share a byte; `free`: they may share any.
    """

    source: int
    target: int
    apart: int | None
    step: int = 1
    free: bool = False

    def ways(self, below: int) -> list[tuple[int, int]]:
        """Where the input may begin, if the output does not begin before `below`, and how far up both reach then."""
        if self.free:
            return [(0, max(self.source, below + self.target))]
        found = [(0, max(self.source, below) + self.target)]
        if self.apart is not None:
            begin = below + -(-max(self.apart, 0) // self.step) * self.step
            found.append((begin, max(begin + self.source, below + self.target)))
        return found


def room_for(limit: int, top: int, below: int) -> int:
    """The most bytes that a step's scratch memory may have: above its input and output, or below both; -1 for none."""
    return max(limit - top, below) if top <= limit else -1


def arrangements(graph: Graph, target: Target, limit: int, pushed: bool = False) -> list[Arrangement]:
    """For fewer and fewer bytes from `limit` on, the arrangement with the fewest instructions; the best ones first.

    `pushed`: the first layers run together, on an input that comes row by row; there may be no such arrangement.
    """
    search, found = _Search(graph, target, pushed and len(graph.inputs) == 1), list[Arrangement]()
    if pushed and not search.pushed:
        return []
    while (arrangement := search.within(limit)) is not None and arrangement.bytes:
        found.append(replace(arrangement, least=search.least_work))
        limit = min(limit, arrangement.bytes) - 1
        limit = min(limit, int(arrangement.bytes * SMALLER))
    return sorted(found, key=lambda a: a.price(a.bytes))


def fitting(graph: Graph, target: Target, limit: int) -> Iterator[Arrangement]:
    """Arrangements with the fewest instructions in at most `limit` bytes, then in fewer and fewer bytes."""
    search = _Search(graph, target)
    while (arrangement := search.within(limit)) is not None and arrangement.bytes:
        yield arrangement
        limit = min(limit - 1, int(arrangement.bytes * SMALLER))


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

    @cached_property
    def live(self) -> dict[str, int]:
        return live_bytes(self.graph)

    @property
    def least_work(self) -> float:
        return sum(ways[0][0] for ways in self.alone.values())

    def within(self, limit: int) -> Arrangement | None:
        """The arrangement with the fewest instructions that takes at most `limit` bytes."""
        tails: list[list[Arrangement]] = [[] for _ in self.cuts]
        tails[-1] = [Arrangement({}, (), 0, 0.0)]
        for start in range(len(self.cuts) - 2, -1, -1):
            if not (self.pushed and start == 0):
                for tail in tails[start + 1]:
                    for way in self._alone(self._nodes(start, start + 1), limit, tail.below):
                        _add(tails[start], way.before(tail))
            for end in range(start + 1, len(self.cuts)):
                flow = self._flow(start, end, PIXELS[0])
                if flow is None or flow.least > limit:
                    break
                if max(flow.ends) <= limit:
                    self._together(tails, start, end, limit)
        return min(tails[0], key=lambda tail: tail.work, default=None)

    def _together(self, tails: Sequence[list[Arrangement]], start: int, end: int, limit: int) -> None:
        """Add to the arrangements from cut `start` on those whose layers up to cut `end` run together."""
        for pixels in PIXELS:
            flow = self._flow(start, end, pixels)
            for tail in tails[end] if flow is not None else ():
                assert flow is not None
                for begin, top in Ends(*flow.ends, flow.distance).ways(tail.below):
                    known = [t.work for t in tails[start] if t.below <= begin]
                    left = min(known, default=inf) - tail.work
                    segment = self._segment(flow, room_for(limit, top, min(begin, tail.below)), left)
                    if segment is not None:
                        bytes_ = top if segment.bytes <= min(begin, tail.below) else top + segment.bytes
                        way = Arrangement({}, (segment,), bytes_, segment.work, begin)
                        _add(tails[start], way.before(tail))

    def _alone(self, nodes: Sequence[Node], limit: int, below: int) -> Iterator[Arrangement]:
        """The layers one after the other, with the fastest kernels for which there is room."""
        running = [node for node in nodes if node.outputs[0] in self.alone]
        if len(running) != 1:
            chosen, most_bytes = {}, below
            for name in (node.outputs[0] for node in running):
                way = next((w for w in self.alone[name] if self.live[name] + w[1] <= limit), None)
                if way is None:
                    return
                chosen[name], most_bytes = way[2], max(most_bytes, self.live[name] + way[1])
            yield Arrangement(chosen, (), most_bytes, sum(c.work for c in chosen.values()), 0 if running else below)
            return
        (name,) = running[0].outputs[:1]
        least = inf  # bytes that have to be free below: faster kernels come first
        for work, scratch, choice in self.alone[name]:
            for begin, top in self._ends(running[0], choice).ways(below):
                if begin < least and scratch <= room_for(limit, top, min(begin, below)):
                    least = begin
                    bytes_ = top if scratch <= min(begin, below) else top + scratch
                    yield Arrangement({name: choice}, (), bytes_, work, begin)

    def _ends(self, node: Node, choice: Choice) -> Ends:
        """Input and output of a layer that runs alone; inputs that others need, too, count as outputs."""
        output = choice.call.output.bytes
        rooms = choice.kernel.overlap(choice.call, choice.launches[0]) if len(choice.launches) == 1 else {}
        found = [
            Ends(size, self.live[node.outputs[0]] - size, -(room.below or 0), room.step, room.below is None)
            for i, room in rooms.items()
            if self._dies(node.inputs[i])
            and (size := choice.call.input(i).bytes) + output == self.live[node.outputs[0]]
        ]
        return found[0] if found else Ends(0, self.live[node.outputs[0]], None)

    def _dies(self, name: str) -> bool:
        return len(self.graph.consumers(name)) == 1 and not self.graph.is_output(name)

    def _nodes(self, start: int, end: int) -> Sequence[Node]:
        return self.graph.nodes[self.cuts[start] : self.cuts[end]]

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

    def _segment(self, flow: Flow, room: int, work: float) -> Segment | None:
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


def _add(some: list[Arrangement], new: Arrangement) -> None:
    """Add `new` to `some` unless one of these is no worse, and remove those that are no better."""
    if not any(a.work <= new.work and a.below <= new.below for a in some):
        kept = sorted([*(a for a in some if a.work < new.work or a.below < new.below), new], key=lambda a: a.work)
        some[:] = kept if len(kept) <= KEPT else [*kept[: KEPT - 1], kept[-1]]

# SPDX-License-Identifier: Apache-2.0
"""Where in a network layers run together, and with which kernels, so that it fits into little memory.

The network is cut where a single tensor is alone alive. Between two cuts, layers run one after the other, or together,
a few rows at a time. Of all ways to cover the network, a shortest path gives that with the fewest instructions for
which a number of bytes suffices at every step. Fewer and fewer bytes are tried. Where tensors live beside each other
for long, layers run together between two cuts, too: a shortest path of its own (`inside.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

from tinygen.ir.graph import Graph, Node
from tinygen.selection import Choice
from tinygen.stripes.arrangement import Arrangement, Ends, add, room_for
from tinygen.stripes.inside import inside
from tinygen.stripes.segment import Flow
from tinygen.stripes.ways import PIXELS, Ways
from tinygen.target import Target

#: From one number of bytes that is tried to the next.
SMALLER = 0.98


def arrangements(graph: Graph, target: Target, limit: int, pushed: bool = False) -> list[Arrangement]:
    """For fewer and fewer bytes from `limit` on, the arrangement with the fewest instructions; the best ones first.

    `pushed`: the first layers run together, on an input that comes row by row; there may be no such arrangement.
    """
    if pushed and len(graph.inputs) != 1:
        return []
    search, found = _Search(graph, target, pushed), list[Arrangement]()
    while (arrangement := search.within(limit)) is not None and arrangement.bytes:
        found.append(replace(arrangement, least=search.ways.least_work))
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

    @cached_property
    def ways(self) -> Ways:
        return Ways(self.graph, self.target, self.pushed)

    @cached_property
    def cuts(self) -> list[int]:
        """Numbers of nodes before which one tensor alone is alive, and that after the last."""
        return self.ways.lives.cuts

    def within(self, limit: int) -> Arrangement | None:
        """The arrangement with the fewest instructions that takes at most `limit` bytes."""
        tails: list[list[Arrangement]] = [[] for _ in self.cuts]
        tails[-1] = [Arrangement({}, (), 0, 0.0)]
        for start in range(len(self.cuts) - 2, -1, -1):
            for tail in tails[start + 1]:
                for way in self._between(start, limit, tail.below):
                    add(tails[start], way.before(tail))
            for end in range(start + 1, len(self.cuts)):
                flow = self._flow(start, end, PIXELS[0])
                if flow is None or flow.least > limit:
                    break
                if len(flow.chain.sources) == 1 and max(flow.ends) <= limit:
                    self._together(tails, start, end, limit)
        return min(tails[0], key=lambda tail: tail.work, default=None)

    def _flow(self, start: int, end: int, pixels: int) -> Flow | None:
        """The layers between two cuts as a flow."""
        return self.ways.flow(self.cuts[start], self.cuts[end], pixels)

    def _together(self, tails: Sequence[list[Arrangement]], start: int, end: int, limit: int) -> None:
        """Add to the arrangements from cut `start` on those whose layers up to cut `end` run together."""
        for pixels in PIXELS:
            flow = self._flow(start, end, pixels)
            for tail in tails[end] if flow is not None else ():
                assert flow is not None
                for begin, top in Ends(*flow.ends, next(iter(flow.distances.values()), None)).ways(tail.below):
                    known = [t.work for t in tails[start] if t.below <= begin]
                    left = min(known, default=inf) - tail.work
                    segment = self.ways.segment(flow, room_for(limit, top, min(begin, tail.below)), left)
                    if segment is not None:
                        bytes_ = top if segment.bytes <= min(begin, tail.below) else top + segment.bytes
                        way = Arrangement({}, (segment,), bytes_, segment.work, begin)
                        add(tails[start], way.before(tail))

    def _between(self, start: int, limit: int, below: int) -> Iterator[Arrangement]:
        """The layers from cut `start` up to the next, which leave `below` bytes free below what they give."""
        first, end = self.cuts[start : start + 2]
        running = [node for node in self.graph.nodes[first:end] if node.outputs[0] in self.ways.alone]
        pushed = self.pushed and start == 0
        if len(running) == 1 and not pushed:
            yield from self._alone(running[0], limit, below)
        elif running:
            way = inside(self.ways, first, end, limit)
            if way is not None:
                yield replace(way, bytes=max(way.bytes, below))
        elif not pushed:
            yield Arrangement({}, (), below, 0.0, below)

    def _alone(self, node: Node, limit: int, below: int) -> Iterator[Arrangement]:
        """The layer by itself, with the fastest kernels for which there is room."""
        name, least = node.outputs[0], inf  # bytes that have to be free below: faster kernels come first
        for work, scratch, choice in self.ways.alone[name]:
            for begin, top in self._ends(node, choice).ways(below):
                if begin < least and scratch <= room_for(limit, top, min(begin, below)):
                    least = begin
                    bytes_ = top if scratch <= min(begin, below) else top + scratch
                    yield Arrangement({name: choice}, (), bytes_, work, begin)

    def _ends(self, node: Node, choice: Choice) -> Ends:
        """Input and output of a layer that runs alone; inputs that others need, too, count as outputs."""
        output, live = choice.call.output.bytes, self.ways.live[node.outputs[0]]
        rooms = choice.kernel.overlap(choice.call, choice.launches[0]) if len(choice.launches) == 1 else {}
        found = [
            Ends(size, live - size, -(room.below or 0), room.step, room.below is None)
            for i, room in rooms.items()
            if self._dies(node.inputs[i]) and (size := choice.call.input(i).bytes) + output == live
        ]
        return found[0] if found else Ends(0, live, None)

    def _dies(self, name: str) -> bool:
        return len(self.graph.consumers(name)) == 1 and not self.graph.is_output(name)

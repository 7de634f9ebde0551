# SPDX-License-Identifier: Apache-2.0
"""Between two cuts, where several tensors are alive: which layers run together there.

Layers that run together take what is alive meanwhile, whether they read it or not, their output, and their windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from tinygen.stripes.arrangement import Arrangement
from tinygen.stripes.segment import Flow
from tinygen.stripes.ways import PIXELS, Ways


def inside(ways: Ways, start: int, end: int, limit: int) -> Arrangement | None:
    """The fewest instructions for nodes `start` up to `end` in at most `limit` bytes; None if that cannot be."""
    tails: dict[int, Arrangement] = {end: Arrangement({}, (), 0, 0.0)}
    for at in range(end - 1, start - 1, -1):
        best = None
        for way in _ways(ways, at, end, limit, tails):
            best = way if best is None or way.work < best.work else best
        if best is not None:
            tails[at] = best
    return tails.get(start)


def _ways(ways: Ways, at: int, end: int, limit: int, tails: Mapping[int, Arrangement]) -> Iterator[Arrangement]:
    """The arrangements of nodes `at` up to `end`, by the layers that come first."""
    alone = _alone(ways, at, limit)
    if alone is not None and at + 1 in tails:
        yield alone.before(tails[at + 1])
    crowded = ways.pushed and at == 0
    for after in range(at + 1, end + 1):
        crowded = crowded or _crowded(ways, after - 1, limit)
        if ways.layer(ways.graph.nodes[after - 1], PIXELS[0]) is None:
            return
        if crowded and after in tails:
            for pixels in PIXELS:
                flow = ways.flow(at, after, pixels)
                found = _together(ways, flow, at, after, limit) if flow is not None else None
                if found is not None:
                    yield found.before(tails[after])


def _alone(ways: Ways, at: int, limit: int) -> Arrangement | None:
    """Node number `at` by itself; None if there is no room, or its input comes row by row."""
    name = ways.graph.nodes[at].outputs[0]
    if ways.pushed and at == 0:
        return None
    if name not in ways.alone:
        return Arrangement({}, (), 0, 0.0)
    live = ways.live[name]
    fits = ((work, scratch, choice) for work, scratch, choice in ways.alone[name] if live + scratch <= limit)
    found = next(fits, None)
    return None if found is None else Arrangement({name: found[2]}, (), live + found[1], found[0])


def _crowded(ways: Ways, at: int, limit: int) -> bool:
    """Whether the fastest kernel of node number `at` has no room: else it need not run together with others."""
    name = ways.graph.nodes[at].outputs[0]
    return name in ways.alone and ways.live[name] + ways.alone[name][0][1] > limit


def _together(ways: Ways, flow: Flow, at: int, after: int, limit: int) -> Arrangement | None:
    """Nodes `at` up to `after` together; None if there is no room beside what is alive before and their output.

    That the output may lie over an input is left to the planner: between tensors that stay, it often cannot.
    """
    chain, types = flow.chain, ways.graph.types
    alive = [name for name in ways.lives.alive(at) if not (chain.pushed and name in chain.sources)]
    taken = sum(types[name].bytes for name in (*alive, chain.target))
    segment = ways.segment(flow, limit - taken, inf) if taken <= limit else None
    return None if segment is None else Arrangement({}, (segment,), taken + segment.bytes, segment.work)

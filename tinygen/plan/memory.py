"""The arena: an offset for every buffer so that no two live ones overlap, in as few bytes as can be found.

This is dynamic storage allocation: packing rectangles whose place in time is fixed, which is NP-hard. Each promising
set of in-place merges gives a `Problem`, which `tinygen.plan.fit` searches; TFLM's own plan is what it has to beat.

Buffers merged in place form a block: members with one offset, each starting at the step where the one before ends, and
no larger. For two blocks that meet in time, all that counts is how high each stands while the other is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import prod
from types import MappingProxyType

from tinygen.plan.fit import Problem, Step, first_fit, solve

#: TFLM rounds offsets and sizes in its arena up to multiples of this (MicroArenaBufferAlignment).
TFLM_ALIGN = 16
#: Operations that a search may take, roughly: about half a second.
_EFFORT = 2_000_000
#: Where buffers can be merged in no more ways than this, all are tried.
_WAYS = 64

Merges = tuple["Overlap", ...]


@dataclass(frozen=True)
class Buffer:
    """`bytes` of arena from step `first` to step `last`, both inclusive; `align` (a power of two) divides the offset.

    Graph inputs have `first` = -1; graph outputs end at the last step.
    """

    name: str
    bytes: int
    first: int
    last: int
    align: int = 8

    def __post_init__(self) -> None:
        if self.bytes < 0 or self.first > self.last or self.align < 1 or self.align & (self.align - 1):
            raise ValueError(f"{self} needs bytes >= 0, first <= last, and a power of two as align")

    def meets(self, other: Buffer) -> bool:
        """Whether there is a step at which both are live."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Overlap:
    """Buffer `output` may be written over buffer `input` (same offset) at the step that defines it.

    It is used only where that step is the last one of `input`, and `output` is no larger. An input whose value
    is wanted after the run (a graph output) must not be offered.
    """

    output: str
    input: str


@dataclass(frozen=True)
class Packing:
    """Where each buffer lies.

    - `bytes`: size of the arena; `offsets`: of each buffer by name.
    - `merged`: the overlaps that are used.
    - `lower_bound`: the bytes that the busiest step needs, alignment included, with these merges; no packing with them
      is smaller. `unmerged_bound`: the same without any merge.
    - `greedy`: what TFLM's GreedyMemoryPlanner needs for these buffers (without merges, 16-byte aligned).
    """

    offsets: Mapping[str, int]
    bytes: int
    lower_bound: int
    unmerged_bound: int
    greedy: int
    merged: tuple[Overlap, ...]


def pack(buffers: Sequence[Buffer], overlaps: Sequence[Overlap] = ()) -> Packing:
    """The smallest arena found for `buffers`, never above TFLM's. Empty buffers lie at offset 0 and take no part."""
    by_name = {b.name: b for b in buffers}
    if len(by_name) != len(buffers):
        raise ValueError("two buffers have the same name")
    solid = [b for b in buffers if b.bytes]
    greedy, offsets = _tflm(solid)
    top = max((offsets[b.name] + b.bytes for b in solid), default=0)
    merged: Merges = ()
    ways = {merges: _problem(solid, merges) for merges in _ways(by_name, overlaps)}
    for merges, problem in sorted(ways.items(), key=lambda way: way[1].bound):
        # In full without merges, so that offering an overlap never costs anything.
        effort = _EFFORT // len(ways) if merges else _EFFORT
        found = solve(problem, top, effort) if problem.bound < top else None
        if found is not None:
            offsets, merged, top = _named(solid, merges, found), merges, problem.top(found)
    everywhere = MappingProxyType({b.name: offsets.get(b.name, 0) for b in buffers})
    packing = Packing(everywhere, top, ways[merged].bound, ways[()].bound, greedy, merged)
    check(packing, buffers, overlaps)
    return packing


def check(packing: Packing, buffers: Sequence[Buffer], overlaps: Sequence[Overlap] = ()) -> None:
    """Raise `ValueError` where two live buffers collide, one is misaligned or sticks out, or a merge is illegal.

    Compares every pair of buffers and shares nothing with the search but the records.
    """
    at = packing.offsets
    by_name = {b.name: b for b in buffers}
    for name in (*(m.output for m in packing.merged), *(m.input for m in packing.merged)):
        roles = [m for m in packing.merged if m.output == name], [m for m in packing.merged if m.input == name]
        if name not in by_name or max(map(len, roles)) > 1:
            raise ValueError(f"buffer '{name}' is unknown, or merged twice")
    for merge in packing.merged:
        output, source = by_name[merge.output], by_name[merge.input]
        in_time = source.first < output.first == source.last
        if merge not in overlaps or not in_time or output.bytes > source.bytes or at[output.name] != at[source.name]:
            raise ValueError(f"buffer '{output.name}' must not lie on '{source.name}'")
    for b in buffers:
        if at[b.name] < 0 or at[b.name] % b.align or at[b.name] + b.bytes > packing.bytes:
            raise ValueError(f"buffer '{b.name}' is misaligned or outside the arena of {packing.bytes} bytes")
    shared = {frozenset((m.output, m.input)) for m in packing.merged}
    for a, b in combinations([b for b in buffers if b.bytes], 2):
        apart = at[a.name] + a.bytes <= at[b.name] or at[b.name] + b.bytes <= at[a.name]
        if a.meets(b) and not apart and frozenset((a.name, b.name)) not in shared:
            raise ValueError(f"buffers '{a.name}' and '{b.name}' are live together and overlap")


def _ways(buffers: Mapping[str, Buffer], overlaps: Iterable[Overlap]) -> list[Merges]:
    """The sets of merges to try: all if they are few, else as many merges as can be, in two preferences, and none."""
    options: dict[str, list[Overlap | None]] = {}
    for o in dict.fromkeys(overlaps):
        output, source = buffers[o.output], buffers[o.input]
        if source.first < output.first == source.last and 0 < output.bytes <= source.bytes:
            options.setdefault(o.output, []).append(o)
    largest_first = sorted(options, key=lambda name: -buffers[name].bytes)
    if prod(len(inputs) + 1 for inputs in options.values()) <= _WAYS:
        picks = [[*options[name], None] for name in largest_first]
        return list(dict.fromkeys(_disjoint(pick) for pick in product(*picks)))
    return [
        _disjoint([o for name in largest_first for o in options[name]]),
        _disjoint([o for name in largest_first for o in reversed(options[name])]),
        (),
    ]


def _disjoint(overlaps: Iterable[Overlap | None]) -> Merges:
    """`overlaps` without those whose output or input an earlier one has taken."""
    taken: dict[str, Overlap] = {}
    inputs: set[str] = set()
    for o in overlaps:
        if o is not None and o.output not in taken and o.input not in inputs:
            taken[o.output] = o
            inputs.add(o.input)
    return tuple(taken.values())


def _blocks(buffers: Sequence[Buffer], merges: Merges) -> list[list[Buffer]]:
    """The members of each block, in time: a buffer that lies on no other, then what lies on it, and so on."""
    by_name = {b.name: b for b in buffers}
    onto = {m.input: by_name[m.output] for m in merges}
    blocks = [[b] for b in buffers if all(b.name != m.output for m in merges)]
    for block in blocks:
        while block[-1].name in onto:
            block.append(onto[block[-1].name])
    return blocks


def _named(buffers: Sequence[Buffer], merges: Merges, offsets: Sequence[int]) -> dict[str, int]:
    """The offset of each buffer, from that of each block."""
    return {b.name: at for block, at in zip(_blocks(buffers, merges), offsets, strict=True) for b in block}


def _problem(buffers: Sequence[Buffer], merges: Merges) -> Problem:
    """The blocks as `tinygen.plan.fit` wants them."""
    blocks = _blocks(buffers, merges)
    first, last = [block[0].first for block in blocks], [block[-1].last for block in blocks]
    near: list[list[tuple[int, int, int]]] = [[] for _ in blocks]
    for u, v in combinations(range(len(blocks)), 2):
        if first[u] <= last[v] and first[v] <= last[u]:
            # No member is larger than the one before it, so the first ones to meet give the heights.
            a, b = _at(blocks[u], max(first[u], first[v])), _at(blocks[v], max(first[u], first[v]))
            near[u].append((v, a.bytes, b.bytes))
            near[v].append((u, b.bytes, a.bytes))
    return Problem(
        bytes=tuple(block[0].bytes for block in blocks),
        align=tuple(max(b.align for b in block) for block in blocks),
        first=tuple(first),
        last=tuple(last),
        near=tuple(map(tuple, near)),
        # Blocks live at any step are all live at the latest of their first steps, and no lower there.
        steps=tuple(
            _step({u: _at(block, step) for u, block in enumerate(blocks) if first[u] <= step <= last[u]})
            for step in sorted(set(first))
        ),
    )


def _at(block: Sequence[Buffer], step: int) -> Buffer:
    """The member of `block` that is live at `step`: the larger one where two are."""
    return next(b for b in block if b.last >= step)


def _step(live: Mapping[int, Buffer]) -> Step:
    """What these live buffers take when every offset is a multiple of their least alignment."""
    align = min(b.align for b in live.values())
    padding = [-b.bytes % align for b in live.values()]
    return Step(tuple((u, b.bytes + pad) for (u, b), pad in zip(live.items(), padding, strict=True)), max(padding))


def _tflm(buffers: Sequence[Buffer]) -> tuple[int, dict[str, int]]:
    """Bytes and offsets by TFLM's GreedyMemoryPlanner: largest first, the later one of equals, each in its lowest hole.

    Source: tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc.
    """
    unit = max([TFLM_ALIGN, *(b.align for b in buffers)])
    problem = _problem([replace(b, bytes=-(-b.bytes // unit) * unit, align=unit) for b in buffers], ())
    offsets = first_fit(problem, sorted(reversed(range(len(buffers))), key=lambda u: -problem.bytes[u]))
    return problem.top(offsets), _named(buffers, (), offsets)

# SPDX-License-Identifier: Apache-2.0
"""The arena: an offset for every buffer so that nothing is overwritten before its last read, in few bytes.

This is dynamic storage allocation: packing rectangles whose place in time is fixed, which is NP-hard. Here some pairs
of rectangles may overlap: an operator's output may begin a certain distance before its input. All that counts for the
search is, for two blocks that meet in time, which differences of their offsets are forbidden.

Most often that is one interval. Two rules are not of that kind, and are tried in several ways (`tinygen.plan.blocks`):
outputs that may lie over an input only in steps of more than the alignment, and buffers that are one, so that a copy is
saved. Each way gives a `Problem`, which `tinygen.plan.fit` searches; TFLM's own plan is what it has to beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType

from tinygen.plan.blocks import blocks_of, heights, problem_of, ways
from tinygen.plan.buffers import Buffer, Overlap, Rules, Tie
from tinygen.plan.fit import first_fit, solve

__all__ = ["Buffer", "Overlap", "Packing", "Tie", "check", "pack"]

#: TFLM rounds offsets and sizes in its arena up to multiples of this (MicroArenaBufferAlignment).
TFLM_ALIGN = 16
#: Operations that a search may take, roughly: about half a second.
_EFFORT = 2_000_000


@dataclass(frozen=True)
class Packing:
    """Where each buffer lies.

    - `bytes`: size of the arena; `offsets`: of each buffer by name.
    - `overlaps`, `ties`: those that are used.
    - `lower_bound`: what the busiest step needs, alignment included, whatever overlaps; no packing is smaller.
    - `greedy`: what TFLM's GreedyMemoryPlanner needs for these buffers (without overlaps, 16-byte aligned).
    """

    offsets: Mapping[str, int]
    bytes: int
    lower_bound: int
    greedy: int
    overlaps: tuple[Overlap, ...]
    ties: tuple[Tie, ...]


def pack(
    buffers: Sequence[Buffer],
    overlaps: Sequence[Overlap] = (),
    ties: Sequence[Tie] = (),
    known: Mapping[str, int] | None = None,
) -> Packing:
    """The smallest arena found for `buffers`, never above TFLM's. Empty buffers lie at offset 0 and take no part.

    Of arenas of one size, that with most `ties` is taken. `known` are offsets of which the caller thinks well.
    """
    if len({b.name for b in buffers}) != len(buffers):
        raise ValueError("two buffers have the same name")
    solid = [b for b in buffers if b.bytes]
    greedy, offsets = _tflm(solid)
    top = max((offsets[b.name] + b.bytes for b in solid), default=0)
    rules = Rules.of(solid, overlaps, ties)
    least = lower_bound(solid, rules)
    tried = ways(rules)
    best: int | None = None
    for way in tried:
        problem = problem_of(solid, rules, way)
        limit = top if best is not None and len(way.ties) <= best else top + 1
        found = solve(problem, limit, _EFFORT // len(tried)) if problem.bound < limit else None
        if found is not None:
            offsets, top, best = _named(blocks_of(solid, way), found), problem.top(found), len(way.ties)
        if top == least and best is not None:
            break
    everywhere = MappingProxyType({b.name: offsets.get(b.name, 0) for b in buffers})
    used, tied = _used(everywhere, rules)
    packing = Packing(everywhere, top, least, greedy, used, tied)
    if known is not None:
        packing = _better(packing, known, buffers, overlaps, ties)
    check(packing, buffers, overlaps, ties)
    return packing


def _better(
    packing: Packing,
    known: Mapping[str, int],
    buffers: Sequence[Buffer],
    overlaps: Sequence[Overlap],
    ties: Sequence[Tie],
) -> Packing:
    """`packing`, or that with the offsets `known`, if they are right and take fewer bytes."""
    top = max((known[b.name] + b.bytes for b in buffers if b.bytes), default=0)
    used, tied = _used(known, Rules.of([b for b in buffers if b.bytes], overlaps, ties))
    other = replace(packing, offsets=MappingProxyType(dict(known)), bytes=top, overlaps=used, ties=tied)
    try:
        check(other, buffers, overlaps, ties)
    except ValueError:
        return packing
    return min(packing, other, key=lambda p: p.bytes)


def lower_bound(buffers: Sequence[Buffer], rules: Rules) -> int:
    """What the busiest step needs, however the buffers are placed."""
    return max((heights(buffers, rules, step).bytes for step in sorted({b.first for b in buffers})), default=0)


def check(
    packing: Packing, buffers: Sequence[Buffer], overlaps: Sequence[Overlap] = (), ties: Sequence[Tie] = ()
) -> None:
    """Raise `ValueError` where two live buffers collide that must not, one is misaligned or sticks out.

    Compares every pair of buffers and shares nothing with the search but the records.
    """
    at = packing.offsets
    for b in buffers:
        if at[b.name] < 0 or at[b.name] % b.align or at[b.name] + b.bytes > packing.bytes:
            raise ValueError(f"buffer '{b.name}' is misaligned or outside the arena of {packing.bytes} bytes")
    one = {
        pair for t in ties if at[t.part] == at[t.whole] + t.offset for pair in ((t.part, t.whole), (t.whole, t.part))
    }
    may = {(o.output, o.input): o for o in overlaps}
    for a, b in combinations([b for b in buffers if b.bytes], 2):
        apart = at[a.name] + a.bytes <= at[b.name] or at[b.name] + b.bytes <= at[a.name]
        if a.last < b.first or b.last < a.first or apart or (a.name, b.name) in one:
            continue
        output, source = (a, b) if a.first > b.first else (b, a)
        rule = may.get((output.name, source.name))
        ends = rule is not None and source.first < output.first == source.last
        if rule is None or not ends or not rule.allows(at[output.name] - at[source.name]):
            raise ValueError(f"buffers '{a.name}' and '{b.name}' are live together and overlap")


def _used(offsets: Mapping[str, int], rules: Rules) -> tuple[tuple[Overlap, ...], tuple[Tie, ...]]:
    """The rules without which the buffers would collide, or not be one."""

    def collide(a: Buffer, b: Buffer) -> bool:
        return offsets[a.name] < offsets[b.name] + b.bytes and offsets[b.name] < offsets[a.name] + a.bytes

    by_name = rules.buffers
    overlaps = (o for o in rules.overlaps.values() if collide(by_name[o.output], by_name[o.input]))
    return tuple(overlaps), tuple(t for t in rules.ties if offsets[t.part] == offsets[t.whole] + t.offset)


def _named(blocks: Sequence[Mapping[str, int]], offsets: Sequence[int]) -> dict[str, int]:
    """The offset of each buffer, from that of each block."""
    return {name: at + inside for block, at in zip(blocks, offsets, strict=True) for name, inside in block.items()}


def _tflm(buffers: Sequence[Buffer]) -> tuple[int, dict[str, int]]:
    """Bytes and offsets by TFLM's GreedyMemoryPlanner: largest first, the later one of equals, each in its lowest hole.

    Source: tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc.
    """
    unit = max([TFLM_ALIGN, *(b.align for b in buffers)])
    whole = [replace(b, bytes=-(-b.bytes // unit) * unit, align=unit) for b in buffers]
    rules = Rules.of(whole, (), ())
    (way,) = ways(rules)
    problem, blocks = problem_of(whole, rules, way), blocks_of(whole, way)
    index = {b.name: i for i, b in enumerate(whole)}
    (names,) = zip(*blocks, strict=True) if blocks else ((),)
    by_index = sorted(range(len(names)), key=lambda u: -index[names[u]])
    offsets = first_fit(problem, sorted(by_index, key=lambda u: -problem.bytes[u]))
    return problem.top(offsets), _named(blocks, offsets)

# SPDX-License-Identifier: Apache-2.0
"""Buffers as blocks: what moves as one, which differences of offsets are forbidden, and how high blocks stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import gcd, lcm

from tinygen.plan.buffers import Buffer, Overlap, Rules, Tie
from tinygen.plan.fit import Problem, Step

#: Where buffers can be fixed to each other in no more ways than this, all are tried.
_WAYS = 64
#: How many of the largest fixed overlaps are left out, one at a time, where there are more ways.
_LEFT_OUT = 6

#: The members of a block, each with its offset inside.
Block = Mapping[str, int]
#: An open interval of forbidden differences.
Interval = tuple[int, int]


@dataclass(frozen=True)
class Way:
    """Which buffers are fixed to each other. `apart`: other overlaps are not used, either."""

    fixed: tuple[Overlap, ...] = ()
    ties: tuple[Tie, ...] = ()
    apart: bool = False


def ways(rules: Rules) -> list[Way]:
    """The ways to try, those with most ties first: all if they are few; nothing but disjoint buffers last."""
    by_output: dict[str, list[Overlap]] = {}
    for o in rules.fixed:
        by_output.setdefault(o.output, []).append(o)
    count = 2 ** len(rules.ties)
    for options in by_output.values():
        count *= len(options) + 1
    picks = _all_picks(by_output, rules.ties) if count <= _WAYS else _some_picks(rules)
    found = dict.fromkeys(_legal(rules, pick) for pick in picks)
    plain = [Way(apart=True)] if rules.overlaps or rules.ties else []
    return sorted(found, key=lambda way: (-len(way.ties), -len(way.fixed))) + plain


def _all_picks(by_output: Mapping[str, list[Overlap]], ties: Sequence[Tie]) -> Iterator[list[Overlap | Tie]]:
    choices: list[list[Overlap | Tie | None]] = [[t, None] for t in ties]
    choices += [[*options, None] for options in by_output.values()]
    for pick in product(*choices):
        yield [one for one in pick if one is not None]


def _some_picks(rules: Rules) -> Iterator[list[Overlap | Tie]]:
    """With all ties or none: all that is fixed in two preferences, all but one of the largest, nothing."""
    for ties in (list[Overlap | Tie](rules.ties), list[Overlap | Tie]()):
        yield [*ties, *rules.fixed]
        yield [*ties, *reversed(rules.fixed)]
        for left_out in rules.fixed[:_LEFT_OUT]:
            yield [*ties, *(o for o in rules.fixed if o is not left_out)]
        yield ties


def _legal(rules: Rules, pick: Iterable[Overlap | Tie]) -> Way:
    """The way with those of `pick`, one after the other, with which no two buffers of a block collide."""
    way = Way()
    for one in pick:
        more = Way((*way.fixed, one), way.ties) if isinstance(one, Overlap) else Way(way.fixed, (*way.ties, one))
        if _stands(rules, more):
            way = more
    return way


def _stands(rules: Rules, way: Way) -> bool:
    """Whether offsets inside blocks are as the way says, aligned, and do no harm."""
    bound = dict.fromkeys(name for *pair, _ in _bonds(rules.buffers, way) for name in pair)
    blocks = blocks_of([rules.buffers[name] for name in bound], way)
    at = {name: inside for block in blocks for name, inside in block.items()}
    if any(at[output] - at[source] != distance for output, source, distance in _bonds(rules.buffers, way)):
        return False
    one = {frozenset((t.part, t.whole)) for t in way.ties}
    for a, b in ((rules.buffers[x], rules.buffers[y]) for block in blocks for x, y in combinations(block, 2)):
        difference = at[b.name] - at[a.name]
        collide = a.meets(b) and -b.bytes < difference < a.bytes and frozenset((a.name, b.name)) not in one
        if collide and not _may(rules, a, b, difference):
            return False
    return all(inside % rules.buffers[name].align == 0 for name, inside in at.items())


def _may(rules: Rules, a: Buffer, b: Buffer, difference: int) -> bool:
    over, under = rules.overlaps.get((b.name, a.name)), rules.overlaps.get((a.name, b.name))
    return bool(over and over.allows(difference)) or bool(under and under.allows(-difference))


def _bonds(buffers: Mapping[str, Buffer], way: Way) -> Iterator[tuple[str, str, int]]:
    """(buffer, buffer, offset of the first less that of the second) for all that the way fixes."""
    for o in way.fixed:
        step = lcm(o.step, min(buffers[o.output].align, buffers[o.input].align))
        yield o.output, o.input, (o.below or 0) // step * step
    for t in way.ties:
        yield t.part, t.whole, t.offset


def blocks_of(buffers: Sequence[Buffer], way: Way) -> list[Block]:
    """The blocks, latest first (so that outputs come before inputs), each with its lowest member at 0."""
    by_name = {b.name: b for b in buffers}
    blocks = {b.name: {b.name: 0} for b in buffers}
    for a, b, distance in _bonds(by_name, way):
        if blocks[a] is not blocks[b]:
            shift = blocks[b][b] + distance - blocks[a][a]
            blocks[b].update({name: inside + shift for name, inside in blocks[a].items()})
            for name in list(blocks[b]):
                blocks[name] = blocks[b]
    unique = {id(block): block for block in blocks.values()}.values()
    lowest = [min(block.values()) for block in unique]
    settled = [{n: inside - low for n, inside in block.items()} for block, low in zip(unique, lowest, strict=True)]
    return sorted(settled, key=lambda block: -min(by_name[name].first for name in block))


def problem_of(buffers: Sequence[Buffer], rules: Rules, way: Way) -> Problem:
    """The blocks as `tinygen.plan.fit` wants them."""
    blocks, by_name = blocks_of(buffers, way), rules.buffers
    members = [[(by_name[name], inside) for name, inside in block.items()] for block in blocks]
    near: list[list[tuple[int, int, int]]] = [[] for _ in blocks]
    for u, v in combinations(range(len(blocks)), 2):
        for low, high in _forbidden(members[u], members[v], rules, way):
            near[u].append((v, high, -low))
            near[v].append((u, -low, high))
    firsts = sorted({b.first for b in buffers})
    return Problem(
        bytes=tuple(max(inside + b.bytes for b, inside in block) for block in members),
        align=tuple(max(b.align for b, _ in block) for block in members),
        first=tuple(min(b.first for b, _ in block) for block in members),
        last=tuple(max(b.last for b, _ in block) for block in members),
        near=tuple(map(tuple, near)),
        steps=tuple(_heights(members, rules, way, step) for step in firsts),
    )


def _forbidden(
    u: Sequence[tuple[Buffer, int]], v: Sequence[tuple[Buffer, int]], rules: Rules, way: Way
) -> Iterator[Interval]:
    """The differences (offset of block v less that of block u) at which members would collide, as intervals apart."""
    found = []
    for (a, a_inside), (b, b_inside) in product(u, v):
        if a.meets(b):
            over, under = _distance(rules, way, b, a), _distance(rules, way, a, b)
            if over is not None and under is not None:
                found.append((over + a_inside - b_inside, -under + a_inside - b_inside))
    current: Interval | None = None
    for low, high in sorted(found):
        if current is not None and low >= current[1]:
            yield current
            current = None
        current = (low, high) if current is None else (current[0], max(current[1], high))
    if current is not None:
        yield current


def _distance(rules: Rules, way: Way, output: Buffer, source: Buffer) -> int | None:
    """How near `output` may come to `source` from below when they are in different blocks; None: at will."""
    rule = rules.overlaps.get((output.name, source.name))
    return -output.bytes if way.apart or rule in rules.fixed else rules.distance(output.name, source.name)


def heights(buffers: Sequence[Buffer], rules: Rules, step: int) -> Step:
    """What every buffer takes at least at `step`, whatever overlaps and is tied."""
    live = {b.name for b in buffers if b.first <= step <= b.last}
    inside = {t.part for t in rules.ties if t.whole in live}
    return _heights([[(b, 0)] for b in buffers if b.name not in inside], rules, None, step)


def _heights(members: Sequence[Sequence[tuple[Buffer, int]]], rules: Rules, way: Way | None, step: int) -> Step:
    """What blocks take at `step` in units of the least alignment, where `way` says what may overlap (None: all)."""
    live = {u: [(b, at) for b, at in block if b.first <= step <= b.last] for u, block in enumerate(members)}
    live = {u: block for u, block in live.items() if block}
    unit = gcd(*(b.align for block in live.values() for b, _ in block))
    padding, result = 0, []
    everything = [b for block in live.values() for b, _ in block]
    for u, block in live.items():
        inside = {b.name for b, _ in block}
        others = [b for b in everything if b.name not in inside]
        saved = sum(_saved(b, others, rules, way, unit) for b, _ in block if b.first == step)
        result.append((u, max(0, _covered(block, unit) - saved)))
        padding = max(padding, *(-b.bytes % unit for b, _ in block))
    return Step(tuple(result), padding)


def _covered(block: Sequence[tuple[Buffer, int]], unit: int) -> int:
    """The bytes that some member covers, in whole units."""
    total, top = 0, 0
    for at, end in sorted((at, at - -b.bytes // unit * unit) for b, at in block):
        total += max(0, end - max(at, top))
        top = max(top, end)
    return total


def _saved(output: Buffer, others: Sequence[Buffer], rules: Rules, way: Way | None, unit: int) -> int:
    """The most bytes by which `output` adds fewer than its own to those of the inputs over which it may lie."""
    size, inputs, most = _up(output.bytes, unit), 0, 0
    for source in others:
        if (output.name, source.name) in rules.overlaps:
            relaxed = rules.distance(output.name, source.name)
            near = _distance(rules, way, output, source) if way is not None else relaxed
            if near is None or near > -output.bytes:
                gap = _up(-(near or 0), unit)
                inputs += _up(source.bytes, unit)
                most = max(most, max(_up(source.bytes, unit) + gap, size))
    return size - max(0, most - inputs) if inputs else 0


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit

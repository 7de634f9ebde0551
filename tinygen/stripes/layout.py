# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a chain's maps lie while it runs.

A map between two layers has a window: memory for as many of its last rows as are still needed at any time, the latest
at the end. Before new rows are made, those that are still needed move towards the start, so that what reads a window
finds it at the same place each time. Windows and kernels' scratch memory share bytes if they are never in use together.
Sources (unless they are pushed) and the target lie elsewhere as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinygen.ops.rows import Span
from tinygen.stripes.flow import Chain, Event

ALIGN = 8


@dataclass(frozen=True)
class Window:
    """Memory for the last `rows` rows of the map `name`; `busy`: a bit for each event at which it holds something."""

    name: str
    rows: int
    busy: int


@dataclass(frozen=True)
class Rows:
    """What happens to the rows of each map while `events` run.

    `merged` (map → map) are maps that are computed in the place of another one: of what a layer then makes of them.

    `windows` are those of the maps that do not lie elsewhere; `root` tells in whose place a map lies.
    """

    chain: Chain
    events: Sequence[Event]
    merged: Mapping[str, str]

    @cached_property
    def outside(self) -> frozenset[str]:
        """The maps that lie elsewhere, whole."""
        return frozenset({self.chain.target, *self.chain.whole})

    @cached_property
    def born(self) -> dict[str, list[int]]:
        """For each map, the event at which each of its rows is made; -1: before all."""
        born: dict[str, list[int]] = {name: [] for name in self.chain.heights}
        born |= {name: [-1] * self.chain.heights[name] for name in self.chain.whole}
        for i, event in enumerate(self.events):
            born[event.output] += [i] * event.made
        return born

    @cached_property
    def died(self) -> dict[str, list[int]]:
        """For each map, the last event at which each of its rows is read; that at which it is made if there is none."""
        died = {name: list(rows) for name, rows in self.born.items()}
        for i, event in enumerate(self.events):
            for name, (top, bottom) in needed(self.chain, event):
                died[name][top:bottom] = [i] * (bottom - top)
        return died

    def kept(self, index: int) -> int:
        """How many rows of its window have to move before event number `index` adds rows to it."""
        event = self.events[index]
        name = self.root(event.output)
        if not event.made or name not in self.windows or event.output in self.merged.values():
            return 0
        known, died = event.known[name], self.died[name]
        return next((known - q for q in range(max(0, known - self.windows[name].rows), known) if died[q] >= index), 0)

    def root(self, name: str) -> str:
        """The map in whose place a map is computed."""
        while name in self.merged:
            name = self.merged[name]
        return name

    @cached_property
    def windows(self) -> dict[str, Window]:
        kept = dict.fromkeys(self.chain.heights, 1)
        for event in self.events:
            kept[event.output] = max(kept[event.output], event.made)
            for name, (top, _) in needed(self.chain, event):
                kept[name] = max(kept[name], event.known[name] - top)
        busy = dict.fromkeys(self.chain.heights, 0)
        for name in self.chain.heights:
            for first, last in zip(self.born[name], self.died[name], strict=True):
                busy[self.root(name)] |= _bits(first, last) if first >= 0 else 0
        mine = [name for name in kept if self.root(name) == name and name not in self.outside]
        return {name: Window(name, kept[name], busy[name]) for name in mine}


def needed(chain: Chain, event: Event) -> Iterator[tuple[str, Span]]:
    """The maps of which `event` reads rows, and which ones."""
    if event.layer is not None and event.part is not None:
        for name, (top, bottom) in zip(chain.layers[event.layer].maps, event.part.spans, strict=True):
            if top < bottom:
                yield name, (top, bottom)


def _bits(first: int, last: int) -> int:
    return ((1 << (last - first + 1)) - 1) << first


def merges(chain: Chain, run: Sequence[Event], in_place: Mapping[int, Collection[str]]) -> dict[str, str]:
    """The maps that may be computed in the place of another, for layers (by number) whose output may lie on inputs.

    A band of such a map is read once, by that layer, directly after it is made.
    """
    found: dict[str, str] = {}
    readers = [name for layer in chain.layers for name in layer.maps]
    for number, names in in_place.items():
        output = chain.layers[number].output
        for name in names:
            if name in chain.sources or readers.count(name) != 1 or chain.rows[name] != chain.rows[output]:
                continue
            if output not in found.values() and _follows(chain, run, number, name):
                found[name] = output
    return found


def _follows(chain: Chain, run: Sequence[Event], number: int, name: str) -> bool:
    """Whether each event that makes rows of `name` comes just before one of layer `number` that takes these rows."""
    for i, event in enumerate(run):
        if event.output == name:
            after = run[i + 1] if i + 1 < len(run) else None
            if after is None or after.layer != number or after.part is None:
                return False
            span = after.part.spans[chain.layers[number].maps.index(name)]
            known = event.known[name]
            if (*span, after.made) != (known, known + event.made, event.made):
                return False
    return True


def packed(items: Sequence[tuple[str, int, int]]) -> tuple[dict[str, int], int]:
    """Offsets of `items` (name, bytes, busy) so that none that are busy together overlap, and the bytes of the whole.

    Largest first, each at the lowest place where it fits; also those that are busy longest first, if that is smaller.
    """
    orders = (
        sorted(items, key=lambda item: -item[1]),
        sorted(items, key=lambda item: (-item[2].bit_count(), -item[1])),
    )
    return min((_first_fit(order) for order in orders), key=lambda found: found[1])


def _first_fit(items: Sequence[tuple[str, int, int]]) -> tuple[dict[str, int], int]:
    at: dict[str, int] = {}
    placed: list[tuple[int, int, int]] = []
    for name, size, busy in items:
        where = 0
        for first, end, other in sorted(placed):
            if busy & other and first < where + size and end > where:
                where = -(-end // ALIGN) * ALIGN
        at[name] = where
        placed.append((where, where + size, busy))
    return at, max((end for _, end, _ in placed), default=0)


def distances(chain: Chain, run: Sequence[Event], rows: Rows) -> dict[str, int]:
    """By source, the least bytes by which the target must begin before it, so that it may be written over it.

    No row of the target then reaches what is still to be read of the source, nor what an event reads while it writes.
    Negative: the target may begin that much later. None are told of sources that do not lie in memory whole.
    """
    return {source: _distance(chain, run, rows, source) for source in chain.whole}


def _distance(chain: Chain, run: Sequence[Event], rows: Rows, source: str) -> int:
    unread, left = [], chain.heights[source]
    for event in reversed(run):
        left = min([left, *(top for name, (top, _) in needed(chain, event) if name == source)])
        unread.append(left)
    worst, height = -chain.heights[source] * chain.rows[source], chain.heights[source]
    written = 0
    for event, first in zip(run, reversed(unread), strict=True):
        if rows.root(event.output) == chain.target and first < height:
            written = max(written, event.known[event.output] + event.made)
            worst = max(worst, written * chain.rows[chain.target] - first * chain.rows[source])
    return worst

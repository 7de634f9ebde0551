# SPDX-License-Identifier: Apache-2.0
"""A chain of layers with kernels and memory: what lowering turns into one step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tinygen.kernels import Kernel, kernels_for
from tinygen.kernels.base import PLAIN
from tinygen.kernels.lean import lean_kernels_for
from tinygen.ops import all_ops
from tinygen.selection import Choice
from tinygen.stripes.flow import Chain, Event, events
from tinygen.stripes.layout import Rows, distances, merges, packed
from tinygen.stripes.parts import Layer
from tinygen.stripes.schedule import Schedule, schedule
from tinygen.target import Target

#: Instructions that an action takes beside what its kernel computes, roughly, and those for a byte that moves.
PER_CALL, PER_BYTE = 120, 0.8
#: What keeps, between one row of a pushed source and the next, where the schedule and its cursors stand.
STATE = ":state"


@dataclass(frozen=True)
class Flow:
    """A chain and what follows from it alone: what runs when, and where in which window. Kernels do not matter yet."""

    chain: Chain
    packings: dict[tuple[int, ...], tuple[dict[str, int], int]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def events(self) -> list[Event]:
        return events(self.chain)

    @cached_property
    def rows(self) -> Rows:
        places = {i: layer.over for i, layer in enumerate(self.chain.layers)}
        return Rows(self.chain, self.events, merges(self.chain, self.events, places))

    @cached_property
    def least(self) -> int:
        """Bytes of windows without which it cannot run, in whatever order."""
        rows = dict[str, int]()
        for layer in self.chain.layers:
            for i, name in enumerate(layer.maps):
                needed = max(part.spans[i][1] - part.spans[i][0] for part in layer.parts)
                made = max(part.made for part in layer.parts)
                rows[name] = max(rows.get(name, 0), needed if needed > made and not layer.gathers else 0)
        return sum(n * self.chain.rows[name] for name, n in rows.items() if name not in self.chain.whole)

    def size(self, name: str) -> int:
        """Bytes of a map as a whole."""
        return self.chain.heights[name] * self.chain.rows[name]

    @property
    def ends(self) -> tuple[int, int]:
        """Bytes of the sources that lie in memory whole, and of the target."""
        return sum(map(self.size, self.chain.whole)), self.size(self.chain.target)

    @cached_property
    def schedule(self) -> Schedule:
        return schedule(self.chain, self.events, self.rows)

    @cached_property
    def distances(self) -> dict[str, int]:
        return distances(self.chain, self.events, self.rows)

    @cached_property
    def overhead(self) -> float:
        """Instructions that it takes beside those of kernels, roughly."""
        kept = [self.rows.kept(i) for i in range(len(self.events))]
        sizes = (self.chain.rows[self.rows.root(event.output)] for event in self.events)
        moved = sum(rows * size for rows, size in zip(kept, sizes, strict=True))
        return PER_BYTE * moved + PER_CALL * (len(kept) + sum(rows > 0 for rows in kept))

    def busy(self, number: int) -> int:
        """A bit for each event at which the scratch memory of layer `number` is in use."""
        when = [i for i, event in enumerate(self.events) if event.layer == number]
        if self.chain.layers[number].gathers:
            return (1 << (when[-1] + 1)) - (1 << when[0])
        return sum(1 << i for i in when)

    def pack(self, scratch: Sequence[int]) -> tuple[dict[str, int], int]:
        """Offsets of windows (by map), `scratch` (bytes by layer; ``:number``) and `STATE`, and bytes of the whole."""
        key = tuple(scratch)
        if key not in self.packings:
            self.packings[key] = self._pack(key)
        return self.packings[key]

    def _pack(self, scratch: Sequence[int]) -> tuple[dict[str, int], int]:
        items = [(w.name, w.rows * self.chain.rows[w.name], w.busy) for w in self.rows.windows.values()]
        items += [(f":{i}", size, self.busy(i)) for i, size in enumerate(scratch) if size]
        if self.chain.pushed:
            items.append((STATE, 4 * (1 + len(self.schedule.cursors)), (1 << len(self.events)) - 1))
        return packed(items)


@dataclass(frozen=True)
class Segment:
    """A flow whose layers have `kernels`."""

    flow: Flow
    kernels: tuple[Kernel, ...]

    @property
    def chain(self) -> Chain:
        return self.flow.chain

    @cached_property
    def scratch(self) -> list[int]:
        """Bytes of scratch memory for each layer."""
        return [max(c.scratch for c in self.choices(number)) for number in range(len(self.kernels))]

    def choices(self, number: int) -> list[Choice]:
        """The calls of layer `number` with its kernel, by kind."""
        return choices(self.chain.layers[number], self.kernels[number])

    @cached_property
    def packed(self) -> tuple[dict[str, int], int]:
        return self.flow.pack(self.scratch)

    @property
    def offsets(self) -> dict[str, int]:
        """Where in the segment's memory each window and each layer's scratch lies."""
        return self.packed[0]

    @property
    def bytes(self) -> int:
        """The segment's memory beside its source and target."""
        return self.packed[1]

    @cached_property
    def works(self) -> list[float]:
        """The instructions that the kernel of each layer takes, roughly."""
        return [layer_work(layer, kernel) for layer, kernel in zip(self.chain.layers, self.kernels, strict=True)]

    @cached_property
    def work(self) -> float:
        """The instructions that all takes, roughly."""
        return sum(self.works) + self.flow.overhead


def choices(layer: Layer, kernel: Kernel) -> list[Choice]:
    """The calls of `layer` with `kernel`, by kind."""
    return [_choice(layer, kernel, kind) for kind in range(len(layer.calls))]


def _choice(layer: Layer, kernel: Kernel, kind: int) -> Choice:
    found = layer.packed.setdefault((kernel, kind), Choice(kernel, layer.calls[kind]))
    assert isinstance(found, Choice)
    return found


def most(layer: Layer) -> int:
    """The kind of call that runs most often."""
    return Counter(part.kind for part in layer.parts).most_common(1)[0][0]


def layer_work(layer: Layer, kernel: Kernel) -> float:
    """The instructions that `kernel` takes for all parts of `layer`, roughly."""
    counts = Counter(part.kind for part in layer.parts)
    return sum(count * work_of(_choice(layer, kernel, kind)) for kind, count in counts.items())


def work_of(choice: Choice) -> float:
    """The instructions of one call, roughly."""
    op = all_ops().get(choice.call.op)
    return choice.speed * ((op.macs(choice.call) if op else 0) or choice.call.input(0).elements)


def options(layer: Layer, target: Target, forms: Collection[str] = (PLAIN,)) -> list[Kernel]:
    """The kernels on `target` that compute every part of `layer`, with weights in one of `forms`."""
    return [
        kernel
        for kernel in (*kernels_for(layer.calls[0].op), *lean_kernels_for(layer.calls[0].op))
        if kernel.requires <= target.features and kernel.form in forms and all(kernel.takes(c) for c in layer.calls)
    ]

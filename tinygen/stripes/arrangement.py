# SPDX-License-Identifier: Apache-2.0
"""How a network may run, what that takes, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from tinygen.selection import Choice
from tinygen.stripes.segment import Segment

#: Under `ram`, a percent of memory is worth `WORTH` percent of instructions. Where these are more than `AMPLE` times
#: the least, as estimated (rather 1.1 times, counted), each percent of them counts `DEARER` times on top.
WORTH, AMPLE, DEARER = 2, 1.15, 2.8
#: How many arrangements are kept for the layers from a cut on: fast ones, and that which needs least below its tensor.
KEPT = 3


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


def add(some: list[Arrangement], new: Arrangement) -> None:
    """Add `new` to `some` unless one of these is no worse, and remove those that are no better."""
    if not any(a.work <= new.work and a.below <= new.below for a in some):
        kept = sorted([*(a for a in some if a.work < new.work or a.below < new.below), new], key=lambda a: a.work)
        some[:] = kept if len(kept) <= KEPT else [*kept[: KEPT - 1], kept[-1]]


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

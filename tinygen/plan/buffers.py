# SPDX-License-Identifier: Apache-2.0
"""What the planner of memory is asked: buffers with their lifetimes, and which of them may share bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


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
    """Buffer `output` may lie over buffer `input` at the step that defines it, if that is the last one of `input`.

    Its offset less that of `input` is then `below` at most (None: any), and a multiple of `step`. An input whose value
    is wanted after the run (a graph output) must not be offered.
    """

    output: str
    input: str
    below: int | None = 0
    step: int = 1

    def allows(self, distance: int) -> bool:
        """Whether the output may begin `distance` bytes after the input."""
        return self.below is None or (distance <= self.below and distance % self.step == 0)


@dataclass(frozen=True)
class Tie:
    """Buffers `part` and `whole` may be one, `part` at `offset` inside `whole`: they hold the same bytes."""

    part: str
    whole: str
    offset: int


@dataclass(frozen=True)
class Rules:
    """The overlaps and ties that are possible among some buffers, which are not empty.

    `overlaps` by (output, input); `fixed` are those whose step is more than offsets have in common anyway.
    """

    buffers: Mapping[str, Buffer]
    overlaps: Mapping[tuple[str, str], Overlap]
    fixed: tuple[Overlap, ...]
    ties: tuple[Tie, ...]

    @staticmethod
    def of(buffers: Sequence[Buffer], overlaps: Iterable[Overlap], ties: Iterable[Tie]) -> Rules:
        by_name = {b.name: b for b in buffers}
        legal = {}
        for o in overlaps:
            output, source = by_name.get(o.output), by_name.get(o.input)
            if output is not None and source is not None and source.first < output.first == source.last:
                legal[o.output, o.input] = o
        fixed = [o for o in legal.values() if min(by_name[o.output].align, by_name[o.input].align) % o.step]
        fixed.sort(key=lambda o: -by_name[o.output].bytes)
        known = [t for t in ties if t.part in by_name and t.whole in by_name]
        fitting = [t for t in known if t.offset % by_name[t.part].align == 0]
        return Rules(by_name, legal, tuple(fixed), tuple(fitting))

    def distance(self, output: str, source: str) -> int | None:
        """The largest distance, 0 at most, at which `output` may lie over `source` in steps of the alignment.

        None: at any. Where they may not overlap at all, the bytes of `output`, below 0.
        """
        rule, a, b = self.overlaps.get((output, source)), self.buffers[output], self.buffers[source]
        if rule is None:
            return -a.bytes
        if rule.below is None:
            return None
        unit = min(a.align, b.align)
        return max(min(rule.below, 0) // unit * unit, -a.bytes)

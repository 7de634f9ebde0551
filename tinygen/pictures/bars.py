# SPDX-License-Identifier: Apache-2.0
"""Bars below one another: budgets, flash, instructions and quality, a line of words above each bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygen.pictures import svg

#: Pixels from one bar to the next, and where the bar begins in them.
ROW, TOP, THICK = 34, 17, 10


@dataclass(frozen=True)
class Part:
    """A piece of a bar: its length in the picture's unit, its class of colour, and what it is."""

    value: float
    kind: str
    tip: str


@dataclass(frozen=True)
class Bar:
    """A row: words at both ends above a bar of `parts`. `mark`: where a line crosses it, in the same unit."""

    label: str
    value: str
    parts: tuple[Part, ...]
    mark: float | None = None


@dataclass(frozen=True)
class Chart:
    """Bars that share a scale: the longest, or `whole`, takes the width."""

    title: str
    bars: tuple[Bar, ...]
    whole: float | None = None

    @property
    def height(self) -> int:
        return ROW * len(self.bars)

    def elements(self) -> Iterator[str]:
        """The SVG elements."""
        longest = max((max(sum(p.value for p in bar.parts), bar.mark or 0) for bar in self.bars), default=0)
        whole = self.whole or longest or 1
        for index, bar in enumerate(self.bars):
            yield from _row(bar, ROW * index, whole)


def _row(bar: Bar, top: float, whole: float) -> Iterator[str]:
    yield svg.clipped(0, top, 0.68, TOP, bar.label, "label", left=0)
    yield svg.text(1, top + 12, bar.value, "end dim")
    yield svg.rect(0, top + TOP, 1, THICK, "track")
    at = 0.0
    for part in bar.parts:
        width = min(part.value / whole, 1 - at)
        yield svg.rect(at, top + TOP, max(width, 0), THICK, part.kind, part.tip)
        at += max(width, 0)
    if bar.mark is not None:
        share = min(bar.mark / whole, 1)
        yield svg.line(share, top + TOP - 3, share, top + TOP + THICK + 3, "mark")


def top(bars: Sequence[Bar], count: int, rest: str) -> tuple[Bar, ...]:
    """The `count` longest of `bars` in their order; the others together as a bar called `rest`."""
    if len(bars) <= count + 1:
        return tuple(bars)
    ranked = sorted(range(len(bars)), key=lambda i: -sum(p.value for p in bars[i].parts))
    kept, dropped = sorted(ranked[:count]), ranked[count:]
    value = sum(p.value for i in dropped for p in bars[i].parts)
    tip = f"{len(dropped)} {rest}: {value:,.0f}"
    return (*(bars[i] for i in kept), Bar(f"{len(dropped)} {rest}", f"{value:,.0f}", (Part(value, "a", tip),)))

# SPDX-License-Identifier: Apache-2.0
"""Flash against quality: the model before and after each technique, or every candidate that a search judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tinygen.pictures import svg

#: Pixels: of the field, of the axis below it, and above it.
FIELD, BELOW, ABOVE = 260, 44, 28
#: The share of the width that the numbers of the upright axis take.
LEFT = 0.1
#: The highest quality that there is, in percent.
BEST = 100.0


@dataclass(frozen=True)
class Point:
    """`flash` in bytes, `quality` in percent."""

    flash: float
    quality: float
    kind: str
    tip: str
    chosen: bool = False


@dataclass(frozen=True)
class Scatter:
    """Points; `unit` says what quality is; `limit` is the flash budget in bytes.

    A line joins those in `joined`, a dashed one those in `dashed`.
    """

    title: str
    points: Sequence[Point]
    unit: str
    limit: float | None = None
    joined: Sequence[Point] = ()
    dashed: Sequence[Point] = ()

    @property
    def height(self) -> int:
        return ABOVE + FIELD + BELOW

    def elements(self) -> Iterator[str]:
        """The SVG elements."""
        flash = [p.flash / 1024 for p in self.points] + ([self.limit / 1024] if self.limit else [])
        low, high, step = rounded(min(flash), max(flash))
        worst, best, tick = rounded(min(p.quality for p in self.points), max(p.quality for p in self.points), BEST)

        def at(x: float, y: float) -> tuple[float, float]:
            share = LEFT + (0.97 - LEFT) * (x - low) / (high - low)
            return share, ABOVE + FIELD * (1 - (y - worst) / (best - worst))

        for value in ticks(low, high, step):
            x, _ = at(value, worst)
            yield svg.line(x, ABOVE, x, ABOVE + FIELD, "grid")
            yield svg.text(x, ABOVE + FIELD + 18, f"{value:g}", "dim mid")
        for value in ticks(worst, best, tick):
            _, y = at(low, value)
            yield svg.line(LEFT, y, 0.97, y, "grid")
            yield svg.text(LEFT - 0.015, y + 4, f"{value:g}", "dim end")
        yield svg.text(0.97, ABOVE + FIELD + 36, "flash, KiB", "dim end")
        yield svg.text(0, 12, self.unit, "dim")
        if self.limit:
            x, _ = at(self.limit / 1024, worst)
            yield svg.line(x, ABOVE, x, ABOVE + FIELD, "mark")
        for kind, points in (("dash", self.dashed), ("line", self.joined)):
            ends = [at(point.flash / 1024, point.quality) for point in points]
            for one, other in pairwise(ends):
                yield svg.line(*one, *other, kind)
        for point in self.points:
            x, y = at(point.flash / 1024, point.quality)
            yield svg.dot(x, y, point.kind, point.tip)
            if point.chosen:
                yield svg.dot(x, y, "ring inert", radius=7)


def rounded(low: float, high: float, most: float = math.inf) -> tuple[float, float, float]:
    """Round numbers around `low` and `high`, at most `most`, with room between; and the step of about five ticks."""
    spread = (high - low) or abs(high) / 10 or 1
    power = 10 ** math.floor(math.log10(spread / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= spread / 4)
    start = math.floor(low / step) * step
    end = math.ceil(high / step) * step
    if end > start:
        return start, end, step
    return (start - step, end, step) if start + step > most else (start, start + step, step)


def ticks(low: float, high: float, step: float) -> list[float]:
    """From `low` to `high` by `step`."""
    return [round(low + i * step, 10) for i in range(round((high - low) / step) + 1)]

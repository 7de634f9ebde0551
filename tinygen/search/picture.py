"""The frontier as a picture: flash against accuracy, as SVG, the same bytes for the same candidates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygen.search.base import Candidate, Found

_WIDTH, _HEIGHT = 640, 420
#: The field that points lie in: left, top, right, bottom.
_FIELD = (70.0, 40.0, 620.0, 360.0)
#: What a legend calls the candidates of an origin, and their colour.
_SERIES = {
    "start": ("the plain model", "#000"),
    "uniform": ("the same for every layer", "#d95f02"),
    "knapsack": ("settings for each layer", "#1b9e77"),
    "study": ("sampled", "#7570b3"),
    "recovery": ("trained", "#e7298a"),
}


@dataclass(frozen=True)
class _Axis:
    """A linear axis from `low` to `high`, drawn from `start` to `end`, with a tick every `step`."""

    low: float
    high: float
    step: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [self.low + i * self.step for i in range(round((self.high - self.low) / self.step) + 1)]


def quality(candidate: Candidate) -> float:
    """The share of labels met, or else of the plain model's answers, in percent."""
    found = candidate.quality
    return 100 * (found.agreement if found.accuracy is None else found.accuracy)


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those of `candidates` than which none is smaller in flash and as good, by rising flash."""
    best = list[Candidate]()
    for candidate in sorted(candidates, key=lambda c: (c.cost.flash, -quality(c), c.number)):
        if not best or quality(candidate) > quality(best[-1]):
            best.append(candidate)
    return best


def svg(found: Found, title: str) -> str:
    """The picture of `found`: all candidates, their frontier as a line, the plain model, the chosen one, the limit."""
    return "\n".join(_elements(found, title)) + "\n"


def _elements(found: Found, title: str) -> Iterator[str]:
    left, top, right, bottom = _FIELD
    x = _axis([c.cost.flash / 1024 for c in found.judged], left, right)
    y = _axis([quality(c) for c in found.judged], bottom, top, most=100.0)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    yield _text(left, 20, title)
    for tick in x.ticks():
        yield _line(x.at(tick), top, x.at(tick), bottom, "#eee")
        yield _text(x.at(tick), bottom + 18, f"{tick:g}", "middle")
    for tick in y.ticks():
        yield _line(left, y.at(tick), right, y.at(tick), "#eee")
        yield _text(left - 8, y.at(tick) + 4, f"{tick:g}", "end")
    yield _text((left + right) / 2, bottom + 36, "flash, KiB", "middle")
    labels = found.start.quality.accuracy is not None
    yield _text(left, bottom + 36, "↑ accuracy, %" if labels else "↑ agreement with the plain model, %")
    limit = None if found.goal.flash is None else found.goal.flash / 1024
    if limit is not None and x.low <= limit <= x.high:
        yield _line(x.at(limit), top, x.at(limit), bottom, "#888", dash=True)
        yield _text(x.at(limit) + 4, top + 12, "limit")
    yield from _points(found, x, y)
    yield from _legend(found)
    yield "</svg>"


def _points(found: Found, x: _Axis, y: _Axis) -> Iterator[str]:
    def at(candidate: Candidate) -> tuple[float, float]:
        return x.at(candidate.cost.flash / 1024), y.at(quality(candidate))

    path = " ".join("{:.1f},{:.1f}".format(*at(c)) for c in front(found.judged))
    yield f'<polyline points="{path}" fill="none" stroke="#444"/>'
    for candidate in found.judged:
        yield _dot(*at(candidate), _colour(candidate.origin))
    yield _ring(*at(found.candidate))


def _colour(origin: str) -> str:
    return _SERIES[origin][1]


def _legend(found: Found) -> Iterator[str]:
    """What the marks mean, at the bottom right of the field."""
    seen = {c.origin for c in found.judged}
    names = [(name, colour) for origin, (name, colour) in _SERIES.items() if origin in seen]
    left, at = _FIELD[2] - 150, _FIELD[3] - 12 - 16 * len(names)
    for i, (name, colour) in enumerate(names):
        yield _dot(left, at + 16 * i - 4, colour)
        yield _text(left + 14, at + 16 * i, name)
    yield _ring(left, at + 16 * len(names) - 4)
    yield _text(left + 14, at + 16 * len(names), "chosen" if found.fits else "what came closest")


def _axis(values: Sequence[float], start: float, end: float, most: float = math.inf) -> _Axis:
    """An axis on which `values` lie, from one round number to another, `most` at the most."""
    low, high = min(values), min(max(values), most)
    step = _round_step((high - low) / 5)
    low = math.floor(low / step + 1e-9) * step
    high = low + max(1, math.ceil((high - low) / step - 1e-9)) * step
    return _Axis(low, high, step, start, end)


def _round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, not below `about`; 1 if that is none."""
    if about <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * (1 - 1e-9))


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222">{safe}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" fill-opacity="0.8"/>'


def _ring(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="#c00" stroke-width="2"/>'

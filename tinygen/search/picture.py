# SPDX-License-Identifier: Apache-2.0
"""The frontier of a search as a picture: flash against accuracy, as SVG, the same bytes for the same candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinygen.pictures import svg
from tinygen.pictures.frontier import Point, Scatter
from tinygen.search.base import Candidate, Found

#: What the candidates of an origin are called, and the class of their colour.
_SERIES = {
    "start": ("the plain model", "e"),
    "uniform": ("the same for every layer", "d"),
    "knapsack": ("settings for each layer", "c"),
    "study": ("sampled around the best", "a"),
    "recovery": ("trained", "b"),
}
#: Pixels: a line of the legend.
_ROW = 18


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


def scatter(found: Found) -> Scatter:
    """All candidates, with a line through those that no other beats in flash and quality, and one of uniform ones."""
    unit = "agreement with the plain model, %" if found.start.quality.accuracy is None else "accuracy, %"
    points = {c.number: _point(c, found) for c in found.judged}
    alike = [c for c in found.judged if c.origin in ("start", "uniform")]
    line, dashed = ([points[c.number] for c in front(some)] for some in (found.judged, alike))
    return Scatter("Frontier", list(points.values()), unit, found.goal.flash, line, dashed)


def _point(candidate: Candidate, found: Found) -> Point:
    name, colour = _SERIES[candidate.origin]
    tip = f"{name}: {candidate.cost.flash:,} bytes of flash, {quality(candidate):.2f} %"
    return Point(candidate.cost.flash, quality(candidate), colour, tip, candidate.number == found.candidate.number)


def picture(found: Found, title: str) -> str:
    """The picture as a file of its own, with a legend."""
    field = scatter(found)
    legend = list(_legend(found, field.height + _ROW))
    return svg.file(field.height + _ROW * (len(legend) // 2 + 1), [*field.elements(), *legend], title)


def _legend(found: Found, top: float) -> Iterator[str]:
    seen = {c.origin for c in found.judged}
    rows = [series for origin, series in _SERIES.items() if origin in seen]
    rows.append(("chosen" if found.fits else "what came closest", "ring"))
    for i, (name, colour) in enumerate(rows):
        yield svg.dot(0.1, top + _ROW * i - 4, colour)
        yield svg.text(0.12, top + _ROW * i, name, "dim")

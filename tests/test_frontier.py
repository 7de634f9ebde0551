"""The frontier as a picture, out of candidates made up."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tests import small_models
from tests.laws import load
from tinygen.compress.runner import Quality
from tinygen.search.base import Candidate, Cost, Found, Goal, Origin
from tinygen.search.picture import _axis, front, quality, svg

SVG = "{http://www.w3.org/2000/svg}"


def candidate(number: int, flash: int, accuracy: float | None, origin: Origin = "knapsack") -> Candidate:
    cost = Cost(flash, 1000, 5000, flash - 500, flash - 700)
    return Candidate({"technique": []}, cost, Quality(0.9, 20.0, accuracy), 1.0, 0.1, number, origin)


def found(*candidates: Candidate, goal: Goal | None = None) -> Found:
    graph = load(small_models.dense_layers())
    goal = goal or Goal(flash=5000)
    return Found(graph, candidates[1], candidates[0], (), candidates[1:], candidates, True, goal, "quick")


POINTS = (
    candidate(0, 10_000, 0.95, "start"),
    candidate(1, 4_000, 0.90),
    candidate(2, 4_000, 0.80, "uniform"),
    candidate(3, 6_000, 0.85),
    candidate(4, 8_000, 0.94, "recovery"),
)


def test_the_frontier_has_what_nothing_beats() -> None:
    assert [c.number for c in front(POINTS)] == [1, 4, 0]
    assert [c.number for c in front((replace(POINTS[0], number=7), POINTS[0]))] == [0], "of equals, the first"


def test_the_picture_shows_every_candidate_and_says_what_is_what() -> None:
    picture = svg(found(*POINTS), "a <b> & c")
    root = ET.fromstring(picture)
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a <b> & c", "limit", "chosen", "the plain model", "the same for every layer", "trained"} <= set(words)
    assert "sampled" not in words, "no candidate was"
    legend = 4
    assert len(list(root.iter(f"{SVG}circle"))) == len(POINTS) + legend + 2
    (line,) = root.iter(f"{SVG}polyline")
    corners = [tuple(map(float, corner.split(","))) for corner in line.attrib["points"].split()]
    assert len(corners) == 3 and corners == sorted(corners) and corners[0][1] > corners[-1][1], "upwards, to the right"
    assert all(70 <= x <= 620 and 40 <= y <= 360 for x, y in corners)
    assert picture == svg(found(*POINTS), "a <b> & c")


def test_the_picture_without_labels_limit_or_fit() -> None:
    alone = candidate(0, 10_000, None, "start")
    made = replace(found(alone, alone, goal=Goal(ram=5)), fits=False)
    words = [text.text for text in ET.fromstring(svg(made, "t")).iter(f"{SVG}text")]
    assert "↑ agreement with the plain model, %" in words and "what came closest" in words and "limit" not in words
    assert quality(alone) == 90.0


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [97.2, 98.9], [3.91, 13.2], [1e-3, 2e6], [99.9, 100.0]])
def test_axes_have_few_round_ticks_and_room_for_all(values: list[float]) -> None:
    axis = _axis(values, 0.0, 100.0)
    assert axis.low <= min(values) and max(values) <= axis.high and 2 <= len(axis.ticks()) <= 8
    assert 0 <= axis.at(min(values)) <= axis.at(max(values)) <= 100
    assert max(_axis(values, 0.0, 100.0, most=100.0).ticks()) <= 100 + 1e-9 or max(values) > 100

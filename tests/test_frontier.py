# SPDX-License-Identifier: Apache-2.0
"""The frontier as a picture, out of candidates made up."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from tests import small_models
from tests.laws import load
from tinygen.compress.runner import Quality
from tinygen.search.base import Candidate, Cost, Found, Goal, Origin
from tinygen.search.picture import front, picture, quality

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
    drawn = picture(found(*POINTS), "a <b> & c")
    root = ET.fromstring(drawn)
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a <b> & c", "accuracy, %", "chosen", "the plain model", "the same for every layer", "trained"} <= set(
        words
    )
    assert "sampled around the best" not in words, "no candidate was"
    dots = [circle for circle in root.iter(f"{SVG}circle") if "data-tip" in circle.attrib]
    assert [dot.attrib["class"] for dot in dots] == ["e", "c", "d", "c", "b"]
    lines = [line for line in root.iter(f"{SVG}line") if line.attrib["class"] == "line"]
    assert len(lines) == 2, "joins three"
    assert all(float(line.attrib["y1"]) >= float(line.attrib["y2"]) for line in lines), "upwards, to the right"
    ends = [(line.attrib["x1"], line.attrib["y1"]) for line in lines]
    assert ends == [(dots[i].attrib["cx"], dots[i].attrib["cy"]) for i in (1, 4)], "from candidate to candidate"
    dashed = [line for line in root.iter(f"{SVG}line") if line.attrib["class"] == "dash"]
    assert len(dashed) == 1, "from what is the same for every layer to the plain model"
    assert [dashed[0].attrib[x] for x in ("x1", "y1")] == [dots[2].attrib[x] for x in ("cx", "cy")]
    assert drawn == picture(found(*POINTS), "a <b> & c")


def test_the_picture_without_labels_limit_or_fit() -> None:
    alone = candidate(0, 10_000, None, "start")
    made = replace(found(alone, alone, goal=Goal(ram=5)), fits=False, judged=(alone,))
    root = ET.fromstring(picture(made, "t"))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert "agreement with the plain model, %" in words and "what came closest" in words
    assert not [line for line in root.iter(f"{SVG}line") if line.attrib["class"] in ("mark", "line")]
    assert quality(alone) == 90.0

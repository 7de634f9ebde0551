# SPDX-License-Identifier: Apache-2.0
"""The whole frontier of a model: what users call."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tinygen.api import Shapes, source
from tinygen.data.calibration import Source
from tinygen.data.preprocessing import Preprocessing
from tinygen.ir.graph import Graph
from tinygen.passes import lossless
from tinygen.search.base import Found, Problem
from tinygen.search.request import NOTHING, SearchOptions, find
from tinygen.selection import Optimize
from tinygen.target import Target, load_target


def search(
    model: str | Path | Graph,
    target: str | Target = "cortex-m4",
    *,
    calibration: Source,
    data: Source | None = None,
    ram: int | None = None,
    flash: int | None = None,
    options: SearchOptions | None = None,
    optimize: Optimize = "balanced",
    preprocessing: Preprocessing | None = None,
    shapes: Shapes | None = None,
    without: Collection[str] = (),
) -> Found:
    """The best forms of `model` (a file or a graph) for `target`, from the plain one to the smallest.

    Arguments are those of `tinygen.build`; `options` say how to search. Candidates are fitted to `calibration`, and
    judged on samples of it that are held back, or on `data`. What comes is the one that loses least of those that meet
    `ram`, `flash` and the limits in `options`, and the frontier (`Found.frontier`), whose recipes `build` takes.
    """
    goal, chosen = load_target(target) if isinstance(target, str) else target, options or SearchOptions()
    limits = chosen.goal(goal, ram, flash)
    chosen.check(limits, recipe=False, limited=False)
    graph, _ = source(model, shapes)
    problem = Problem(graph, NOTHING, goal, optimize, lossless(without))
    return find(problem, calibration, data, preprocessing, limits, chosen)[1]

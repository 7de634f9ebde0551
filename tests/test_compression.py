# SPDX-License-Identifier: Apache-2.0
"""The benchmark of compression: what counts as reached, its tasks' splits, and the page that it writes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.compression import GOALS, Goal, Lossless, Point, reached
from benchmarks.compression_data import TASKS, Task
from benchmarks.compression_page import write
from tinygen.compress import recipe

POINT = Point("kws", "kws.toml", 1000, 250, 300, 900, 100, 50, 91.0, 90.5, 0.9, 20.0, 97.0)


def test_a_goal_asks_for_bytes_and_for_accuracy() -> None:
    goal = Goal("kws", "kws", ratio=0.25, points=0.5)
    assert reached(goal, POINT) and not reached(goal, replace(POINT, bytes=251))
    assert not reached(goal, replace(POINT, accuracy=90.4)) and reached(Goal("kws", "kws", bytes=250), POINT)


def test_every_goal_has_a_task_and_a_recipe() -> None:
    for goal in GOALS:
        assert goal.task in TASKS
        assert recipe.read(Path(__file__).parents[1] / "benchmarks" / "recipes" / f"{goal.recipe}.toml")


def test_samples_fit_or_test_but_not_both() -> None:
    task = Task("t", "m", lambda: (np.arange(40.0)[:, None], np.arange(40) % 3), "numbers", most=15)
    for seed in range(3):
        fit, test = task.split(seed)
        assert not set(fit["x"].ravel()) & set(test["x"].ravel()) and len(fit["x"]) == 15 and "y" not in fit
        assert np.array_equal(test["x"].ravel().astype(int) % 3, test["y"])


def test_the_page_shows_goals_and_curves(tmp_path: Path) -> None:
    goal = {"goal": asdict(GOALS[0]), "reached": False, "point": asdict(POINT), "proven": ("cortex-m4",)}
    lossless = {**asdict(Lossless("vww", 219_072, 33_122, 39_000, 3_700_000, 5, 5)), "reached": True}
    found = {"target": "cortex-m4", "seeds": 3, "goals": [goal], "curves": [], "lossless": lossless}
    write(tmp_path / "compression.md", found)
    text = (tmp_path / "compression.md").read_text()
    assert json.loads((tmp_path / "compression.json").read_text())["seeds"] == 3
    assert "**missed**" in text and "**33,122**" in text and '{ "output*" = "none" }' in text

# SPDX-License-Identifier: Apache-2.0
"""The benchmark of small models: what counts as reached, how recipes are taken apart, and the page that it writes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.compression_data import TASKS
from benchmarks.search import Run, reached
from benchmarks.search_frontier import pairs
from benchmarks.search_page import Kept
from benchmarks.search_rows import ROWS, TAKEN_APART, Row, variants
from tinygen.compress.recipe import of_content
from tinygen.compress.runner import Quality
from tinygen.search import Candidate, Cost
from tinygen.search.base import Origin

RUN = Run(2, 1000, 250, 300, 900, 100, 91.0, 90.5, 40.0, 20.0, 9.0)
ROW = Row("kws third", "kws", "kws-third", 250, 0.5, "were others")


def test_every_split_has_to_be_small_and_their_mean_good() -> None:
    assert reached(ROW, [RUN]) and not reached(ROW, [RUN, replace(RUN, bytes=251)])
    assert not reached(ROW, [RUN, replace(RUN, after=90.4)])
    assert reached(ROW, [replace(RUN, after=90.4), replace(RUN, after=90.6)])
    assert reached(replace(ROW, points=None), [replace(RUN, after=0.0)])


def test_rows_have_tasks_and_their_recipes_come_apart() -> None:
    assert {name for name in TAKEN_APART} <= {row.name for row in ROWS} and all(row.task in TASKS for row in ROWS)
    for row in ROWS:
        made = {what: of_content({"technique": entries}, what) for what, entries in variants(row).items() if entries}
        count = len(row.entries)
        assert len(made["all"]) == count and len({repr(techniques) for techniques in made.values()}) >= count
        assert all(len(made[what]) == 1 for what in made if what.endswith("alone"))
        assert ("with recover" in made) == all(technique.name != "recover" for technique in made["all"])
    zeros = made_of("mnist-eighth")["sparsity in three steps, recover between"]
    assert [(e["name"], e.get("ratio", e.get("steps"))) for e in zeros[1:7]] == [
        ("sparsity", 0.42),
        ("recover", 100),
        ("sparsity", 0.595),
        ("recover", 100),
        ("sparsity", 0.7),
        ("recover", 100),
    ]


def made_of(recipe: str) -> dict[str, list[dict[str, object]]]:
    return variants(next(row for row in ROWS if row.recipe == recipe))


def candidate(flash: int, loss: float, origin: Origin, number: int) -> Candidate:
    cost, quality = Cost(flash, 1, 1, flash, flash), Quality(1.0, 9.0, None)
    return Candidate({"technique": []}, cost, quality, 0.0, loss, number, origin)


def test_uniform_settings_stand_beside_what_a_search_takes() -> None:
    made = [candidate(90, 0.35, "uniform", 0), candidate(99, 0.4, "uniform", 1), candidate(120, 0.1, "uniform", 2)]
    made += [candidate(91, 0.3, "knapsack", 3), candidate(120, 0.2, "knapsack", 4)]
    found = [(one.number, other.number) for one, other in pairs(made)]
    assert found == [(0, 0), (2, 2)], "99 bytes are beaten by 90; nothing else has 90, or less noise in 120"
    better = [*made, candidate(90, 0.34, "study", 5), candidate(50, 0.9, "uniform", 6)]
    assert [(one.number, other.number) for one, other in pairs(better)] == [(0, 5), (2, 2)]


def test_the_page_shows_splits_and_parts(tmp_path: Path) -> None:
    row = {
        "row": ROW.name,
        **asdict(ROW),
        "reached": False,
        "runs": [asdict(replace(RUN, seed=0, bytes=999)), asdict(RUN)],
        "proven": "cortex-m4",
        "cli": "`tinygen build`",
    }
    part = {"row": "kws third", "what": "without share", "runs": [asdict(RUN), asdict(replace(RUN, bytes=350))]}
    recipe = [{"name": "share", "values": "none", "layers": {"a": 16, "b": 4}}, {"name": "entropy"}]
    line = {"row": "kws third", "effort": "quick", "reached": True, "proven": None, "recipes": [recipe]}
    line["runs"] = [asdict(replace(RUN, after=90.0))]
    alike = {"flash": 2048, "lost": 2.0, "loss": 0.2, "origin": "uniform", "recipe": [{"name": "bits", "bits": 3}]}
    pair = {"alike": alike, "chosen": {**alike, "flash": 2000, "lost": 1.0}}
    front = {"row": "kws", "effort": "quick", "seed": 2, "seconds": 1.0, "points": [pair]}
    kept = Kept(tmp_path / "search.md", "cortex-m4")
    kept.take("rows", [row])
    kept.take("searches", [line])
    kept.take("frontiers", [front])
    assert (tmp_path / "search-frontier.svg").exists() and not (tmp_path / "search.svg").exists()
    kept = Kept(tmp_path / "search.md", "cortex-m4")
    kept.take("ablation", [part])
    kept.take("searches", [line, {**line, "effort": "normal"}])
    kept.take("frontiers", [front, {**front, "seed": 3}])
    assert len(kept.data["rows"]) == 1 and len(kept.data["searches"]) == len(kept.data["frontiers"]) == 2
    assert (tmp_path / "search.svg").exists()
    text = (tmp_path / "search.md").read_text()
    assert json.loads((tmp_path / "search.json").read_text())["rows"][0]["runs"][1]["bytes"] == 250
    assert "**missed**" in text and "| kws third | 2 | fresh | 250 | 0.50 | 40.0, 20.0 dB |" in text
    assert "Missed: kws third. Tried were others." in text
    assert "| kws third | 0 | seen | 999 |" in text and "| **250** |" in text, "seen splits do not count"
    assert "under QEMU (cortex-m4)" in text
    assert "| kws third | without share | 300 | 300 | 900 | 0.50 | 2 | 20.0 dB |" in text, "the mean of two splits"
    words = "share 4 to 16 in 2 layers, entropy"
    assert (
        f"| kws third | quick | 8,200 at ≤ 2.0 points | **250** | 1.00, 1.00 | 0.50 | 1 | 20.0 dB | {words} |" in text
    )
    assert "| quick | 3 | bits 3 | 2,048 | 2.00 | 0.2000 | 2,000 | 1.00 | 0.2000 |" in text
    assert "less noise at 0 of 2 sizes, no more points lost at 2, " in text

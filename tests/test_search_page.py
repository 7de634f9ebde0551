# SPDX-License-Identifier: Apache-2.0
"""The benchmark of small models: what counts as reached, how recipes are taken apart, and the page that it writes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.compression_data import TASKS
from benchmarks.search import Run, reached
from benchmarks.search_page import Kept
from benchmarks.search_rows import ROWS, TAKEN_APART, Row, variants
from tinygen.compress.recipe import of_content

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


def test_the_page_shows_splits_and_parts(tmp_path: Path) -> None:
    row = {
        "row": ROW.name,
        **asdict(ROW),
        "reached": False,
        "runs": [asdict(replace(RUN, seed=0, bytes=999)), asdict(RUN)],
        "proven": "cortex-m4",
        "cli": "`tinygen build`",
    }
    part = {"row": "kws third", "task": "kws", "what": "without share", **asdict(RUN)}
    line = {"row": "kws third", "effort": "quick", "reached": True, "proven": None, **asdict(RUN)}
    kept = Kept(tmp_path / "search.md", "cortex-m4")
    kept.take("rows", [row])
    kept.take("searches", [line])
    assert not (tmp_path / "search.svg").exists()
    kept = Kept(tmp_path / "search.md", "cortex-m4")
    kept.take("ablation", [part])
    kept.take("searches", [line])
    assert len(kept.data["rows"]) == len(kept.data["searches"]) == 1 and (tmp_path / "search.svg").exists()
    text = (tmp_path / "search.md").read_text()
    assert json.loads((tmp_path / "search.json").read_text())["rows"][0]["runs"][1]["bytes"] == 250
    assert "**missed**" in text and "| kws third | 2 | fresh | 250 | 0.50 | 40.0, 20.0 dB |" in text
    assert "Missed: kws third. Tried were others." in text
    assert "| kws third | 0 | seen | 999 |" in text and "| **250** |" in text, "seen splits do not count"
    assert "under QEMU (cortex-m4)" in text
    assert "| kws third | quick | 250 at ≤ 0.5 points | **250** | 0.50 | 20.0 dB | 9 s | reached |" in text

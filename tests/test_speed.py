# SPDX-License-Identifier: Apache-2.0
"""The goals for speed and size notice what they are for; the page of performance shows what was measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bench, performance_page, speed
from benchmarks.performance_page import Traced, hottest, products, table
from benchmarks.speed import Code, Speed
from tests import zoo
from tinygen.verify.blocks import Block, Blocks
from tinygen.verify.instructions import Instruction

KWS = Speed("KWS", "cortex-m4", "gcc", 1000, 1500, 3000, 1000)


def test_goals_name_what_is_measured() -> None:
    for core, limits in speed.goals()["instructions"].items():
        assert core in speed.CORES and set(limits) == {"KWS", "IC", "AD", "VWW", speed.KEPT}
    assert all(set(limits) == {"KWS", "IC", "AD", "VWW"} for limits in speed.goals()["code"].values())
    _, peers = bench.read_peers()
    for model, limit in speed.goals()["instructions"]["cortex-m0plus"].items():
        assert limit == peers[model.partition(",")[0]].instructions["cortex-m0plus"] // 2


def test_one_instruction_or_byte_too_much_is_a_goal_missed() -> None:
    limit = speed.goals()["instructions"]["cortex-m4"]["KWS"]
    kept, missed = replace(KWS, instructions=limit), replace(KWS, instructions=limit + 1)
    assert [v.ok for v in speed.verdicts([kept, missed], [])] == [True, False]
    size = speed.goals()["code"]["size"]["AD"]
    sizes = [Code("AD", "cortex-m4", "size", size), Code("AD", "cortex-m4", "size", size + 1)]
    assert [v.ok for v in speed.verdicts([], sizes)] == [True, False]
    others = [replace(KWS, compiler="clang"), replace(KWS, model="SWW"), replace(KWS, instructions=None)]
    assert not list(speed.verdicts(others, []))


def test_the_exit_code_says_whether_goals_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo, "PRESENT", True)
    monkeypatch.setattr(speed, "codes", lambda cores: [])
    monkeypatch.setattr(speed, "measure", lambda model, core, compiler: replace(KWS, model=model, core=core))
    assert speed.main(["--cores", "cortex-m4"]) == 0
    assert "0.50" in capsys.readouterr().out
    slow = replace(KWS, instructions=10**9)
    monkeypatch.setattr(speed, "measure", lambda model, core, compiler: replace(slow, model=model, core=core))
    assert speed.main(["--cores", "cortex-m4", "--json"]) == 1
    monkeypatch.setattr(zoo, "PRESENT", False)
    assert speed.main([]) == 2


def test_unknown_figures_are_dashes() -> None:
    assert speed.cells(KWS) == ("KWS", "1,000", "1,500", "1.50", "3,000", "3.00", "0.50")
    unknown = replace(KWS, model="SWW", peer=None)
    assert speed.cells(unknown)[4:] == ("—", "—", "—")
    assert speed.cells(replace(unknown, instructions=None))[2:4] == ("does not fit the machine", "—")


def test_the_mean_is_geometric_and_of_what_both_compute() -> None:
    kept = replace(KWS, model=speed.KEPT, instructions=6000)
    without = replace(KWS, model="VWW", instructions=1)
    assert speed.mean_ratio([KWS, kept, without, replace(KWS, peer=None)]) == pytest.approx((0.5 * 2) ** 0.5)
    assert speed.mean_ratio([replace(KWS, peer=None)]) is None


def test_the_hottest_loop_is_one_that_multiplies() -> None:
    program = {at: Instruction(at, "alu", name="adds") for at in range(0, 40, 2)}
    program[4], program[6] = Instruction(4, "multiply", name="smlad"), Instruction(6, "taken", name="bne")
    counts = Counter({(Block(0, 8), 0): 90, (Block(0, 8), 8): 10, (Block(8, 40), 8): 1000})
    layer = {"kernel": "conv_2d/dsp", "macs": 200, "output_shape": [1, 4]}
    loop = hottest(Traced("KWS", "cortex-m4", [layer], Blocks([counts]), program), 0)
    assert (loop.length, loop.macs, loop.per_mac, loop.shape) == (4, 2, 2.0, "KWS, 1×4")
    assert loop.share == pytest.approx(400 / 16400) and loop.whole == pytest.approx(82)
    pieces = Counter({(Block(0, 4), 4): 100, (Block(4, 8), 0): 90, (Block(4, 8), 8): 10})
    assert hottest(Traced("KWS", "cortex-m4", [layer], Blocks([pieces]), program), 0).length == 4, "a page ends within"
    muls = [Instruction(0, "multiply", name="muls")]
    assert products(muls, "conv_2d/v6m") == 2 and products(muls, "fully_connected/v6m") == 1


def test_layers_without_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one with most outputs stands for its kernel; those with products do not count."""
    program = {at: Instruction(at, "alu", name="adds") for at in range(0, 40, 2)}
    counts = [Counter({(Block(0, 8), 0): times}) for times in (50, 30, 7)]
    layers = [{"kernel": "add/line", "macs": 0, "output_shape": [1, size]} for size in (20, 40)]
    layers.append({"kernel": "conv_2d/dsp", "macs": 9, "output_shape": [1, 99]})
    run = Traced("IC", "cortex-m4", layers, Blocks(counts), program)
    monkeypatch.setattr(performance_page, "traced", lambda model, core: run)
    _, _, *rows = performance_page.others_table()
    assert rows == [f"| {core} | `add/line` | IC, 1×40 | 120 | 3.0 |" for core in performance_page.FAMILIES]


def test_tables_are_markdown() -> None:
    assert table(("a", "b"), [("1", "2")]) == ["| a | b |", "|---|--:|", "| 1 | 2 |"]


def test_every_mark_of_the_page_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loops_table", "others_table", "estimates_table", "compilers_table"):
        monkeypatch.setattr(performance_page, name, lambda: iter(["measured"]))
    made = performance_page.page([KWS], [])
    text = Path(performance_page.TEXT).read_text(encoding="utf-8")
    marks = {
        f"@{word}@"
        for word in ("speeds", "goals", "loops", "others", "timings", "estimates", "compilers", "gcc", "caveat")
    }
    assert all(mark in text and mark not in made for mark in marks) and "1,500" in made

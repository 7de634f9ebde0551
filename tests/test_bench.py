# SPDX-License-Identifier: Apache-2.0
"""The comparisons with TensorFlow Lite Micro notice what they are for, and say so by their exit codes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import bench, coverage
from benchmarks.bench import CORES, FLASH_LIMITS, Cost, Row
from benchmarks.coverage import Verdict
from tests import zoo

PROVENANCE, PEERS = bench.read_peers()


def within(model: str) -> Row:
    """A row that keeps each limit by less than one byte."""
    peer = PEERS[model]
    flash = int(FLASH_LIMITS[model] * peer.flash)
    return Row(model, peer, Cost(peer.macs, peer.constants, flash, peer.ram - 1, None), {"cortex-m4": 1})


def run(monkeypatch: pytest.MonkeyPatch, changed: Row | None = None) -> int:
    """`main` on rows within all limits, but for `changed`."""
    rows = {model: within(model) for model in PEERS} | ({changed.model: changed} if changed else {})
    monkeypatch.setattr(bench, "measure", lambda model, *_: rows[model])
    monkeypatch.setattr(zoo, "PRESENT", True)
    return bench.main(["--json"])


def test_peers_are_complete() -> None:
    assert set(PEERS) == set(FLASH_LIMITS)
    for peer in PEERS.values():
        assert set(peer.instructions) == set(CORES)
        assert peer.constants < peer.flash
        assert peer.instructions["cortex-m0plus"] > peer.instructions["cortex-m3"] > peer.instructions["cortex-m4"]
        assert peer.reference > peer.instructions["cortex-m4"] > 3 * peer.instructions["cortex-m55"]


@pytest.mark.parametrize("model", FLASH_LIMITS)
def test_one_byte_too_much_fails(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = within(model)
    assert run(monkeypatch, row) == 0
    assert run(monkeypatch, replace(row, cost=replace(row.cost, flash=row.cost.flash + 1))) == 1
    assert run(monkeypatch, replace(row, cost=replace(row.cost, ram=row.peer.ram))) == 1


def test_json_names_the_missed_limit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    row = within("AD")
    run(monkeypatch, replace(row, cost=replace(row.cost, flash=row.peer.flash)))
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"]
    assert [m["model"] for m in told["models"] if not m["flash_ok"]] == ["AD"]
    assert told["provenance"] == PROVENANCE


def test_dead_channels_are_mentioned_with_vww() -> None:
    row = within("VWW")
    removed = replace(row, cost=replace(row.cost, macs=1_234_567))
    assert "1,234,567 of 7,489,664 MACs are left" in (removed.note or "")
    kept = replace(row, without=bench.KEPT)
    assert kept.title == "VWW, dead channels kept" and "tinygen kept them" in (kept.note or "")
    assert within("IC").note is None and within("IC").title == "IC"


def test_models_with_dead_channels_are_measured_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(bench, "measure", lambda model, *rest: asked.append((model, *rest[3:])))
    bench.measure_all(PEERS, ("cortex-m4",), "balanced")
    assert asked == [("KWS",), ("IC",), ("AD",), ("VWW",), ("VWW", ("dead-channels",))]


def test_without_the_zoo_there_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo, "PRESENT", False)
    assert bench.main([]) == 2
    assert "TINYGEN_ZOO" in capsys.readouterr().err


def test_one_bit_is_a_difference() -> None:
    right = np.array([[0.0, 1.0]], np.float32)
    runs = [zoo.Golden((), (right,))] * 2
    assert zoo.difference(runs, [(right,), (right.copy(),)]) is None
    found = zoo.difference(runs, [(right,), (np.array([[-0.0, 1.0]], np.float32),)])
    assert found is not None and found.startswith("run 1, output 0")
    assert "float64" in (zoo.difference(runs[:1], [(right.astype(np.float64),)]) or "")


@pytest.mark.parametrize("state, code", [("equal", 0), ("not covered", 0), ("different", 1)])
def test_coverage_fails_where_a_model_differs(
    state: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo, "PRESENT", True)
    monkeypatch.setattr(zoo, "names", lambda: ["a/good", "a/other"])
    monkeypatch.setattr(coverage, "judge", lambda name: Verdict(name, "equal" if name == "a/good" else state, "why"))
    monkeypatch.setattr(sys, "argv", ["coverage"])
    assert coverage.main() == code
    told = capsys.readouterr().out
    assert told.startswith(f"{1 + (state == 'equal')} of {1 + (state != 'not covered')} covered models equal")
    assert ("a/other: why" in told) == (state != "equal")

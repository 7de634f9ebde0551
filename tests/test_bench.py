"""The comparison with TensorFlow Lite Micro keeps to its limits, and says so by its exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import bench
from benchmarks.bench import CORES, FLASH_LIMITS, Cost, Row
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
    assert "did not remove" in (row.note or "")
    assert "removed some" in (replace(row, cost=replace(row.cost, macs=row.peer.macs - 1)).note or "")
    assert within("IC").note is None


def test_without_the_zoo_there_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo, "PRESENT", False)
    assert bench.main([]) == 2
    assert "TINYGEN_ZOO" in capsys.readouterr().err

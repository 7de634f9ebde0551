# SPDX-License-Identifier: Apache-2.0
"""Memory that a program needs: budgets and their messages, measured sizes, and estimates where nothing measures."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests import small_models
from tests.forms import DRAWS, network, stored
from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen import api, measure, toolchain
from tinygen.errors import BudgetError, ToolError, UnsupportedError, UsageError
from tinygen.ir.graph import Graph
from tinygen.lower import lower
from tinygen.plan.arena import plan
from tinygen.plan.budget import Budget, busiest, check_budget, parse_bytes
from tinygen.target import load_target

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "text, value",
    [
        ("65536", 65536),
        ("64K", 65536),
        ("64k", 65536),
        ("64KB", 65536),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("0.5M", 524288),
        ("1M", 1 << 20),
        ("1.5K", 1536),
        (" 12 ", 12),
        ("7B", 7),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert parse_bytes(text, "--ram") == value


@pytest.mark.parametrize("text", ["", "K", "-1", "0", "0.1", "1G", "64 K B", "1e3", "0x10", "9" * 400, "1.", "nan"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--flash .*: expected a positive number of bytes such as 65536, 64K or 1M$"):
        parse_bytes(text, "--flash")


def test_exactly_the_budget_is_enough() -> None:
    graph = load(small_models.dense_layers())
    program = lower(graph, load_target("host"))
    layout = plan(program)
    check_budget(Budget(ram=100, flash=200), 100, 200, program, layout)
    check_budget(Budget(), 10**9, 10**9, program, layout)
    with pytest.raises(
        BudgetError, match=r"^RAM: 101 bytes needed, 100 allowed by --ram: 1 too many\. Largest tensors"
    ):
        check_budget(Budget(ram=100, flash=1), 101, 200, program, layout)
    with pytest.raises(
        BudgetError, match=r"^flash: 201 bytes needed, 200 allowed by target x: 1 too many\. Largest lay"
    ):
        check_budget(Budget(ram=100, flash=200, flash_source="target x"), 100, 201, program, layout)


def test_the_busiest_step_is_named() -> None:
    program = lower(load(small_models.dense_layers((10, 300, 200, 100, 4))), load_target("host"))
    assert busiest(program) == [(300, "'dense0'"), (200, "'dense1'")]


def test_a_board_and_the_user_set_limits() -> None:
    graph = load(small_models.elu((1, 20_000)))
    with pytest.raises(BudgetError, match="allowed by target qemu-microbit"):
        api.build(graph, "qemu-microbit")
    with pytest.raises(BudgetError, match="allowed by --ram: "):
        api.build(graph, "qemu-microbit", ram=20_000)
    assert api.build(graph, "qemu-microbit", ram=21_000).report["ram"]["total"] <= 21_000
    assert api.build(graph, "cortex-m0").report["ram"]["total"] > 16_384, "a core has no limits"


# --- Measured and estimated ---------------------------------------------------------------------------------------


@pytest.fixture
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TINYGEN_CC", raising=False)


def test_stack_and_flash_are_measured() -> None:
    report = api.build(load(small_models.dense_layers()), "cortex-m4").report
    ram, flash = report["ram"], report["flash"]
    assert ram["stack"] > 0 and ram["stack_path"][0] == "m_run" and ram["total"] == ram["arena"] + ram["stack"]
    assert flash["measured"] and flash["compiler"].startswith("arm-none-eabi-gcc ")
    weights = 6 * 8 + 8 * 5 + 5 * 4 + 4 * (8 + 5 + 4)
    assert weights <= flash["constants"] <= weights + 200 and 100 < flash["code"] < 3000


def test_the_host_has_a_stack_and_an_estimated_flash() -> None:
    report = api.build(load(small_models.dense_layers()), "host").report
    assert report["ram"]["stack"] > 0 and not report["flash"]["measured"]
    assert report["flash"]["compiler"].split()[0] in ("gcc", "clang", "cc")


@pytest.mark.usefixtures("no_tools")
@pytest.mark.parametrize("target", ["cortex-m4", "host"])
def test_without_a_compiler_it_is_an_estimate_that_says_so(target: str) -> None:
    report = api.build(load(small_models.dense_layers()), target).report
    assert report["ram"]["stack"] is None and report["ram"]["stack_path"] == []
    assert report["ram"]["total"] == report["ram"]["arena"]
    assert report["flash"]["compiler"] is None and not report["flash"]["measured"]


def test_a_compiler_that_fails_is_no_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ToolError("gcc failed with exit code 1")

    monkeypatch.setattr(toolchain, "stack_usage", fails)
    with pytest.raises(ToolError, match="exit code 1"):
        api.build(load(small_models.elu()), "cortex-m4")


def test_a_compiler_without_call_graphs_leaves_the_stack_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ToolError("clang writes no call graph: measuring the stack needs gcc 10 or later")

    monkeypatch.setattr(toolchain, "stack_usage", fails)
    report = api.build(load(small_models.elu()), "host").report
    assert report["ram"]["stack"] is None and report["flash"]["compiler"] is not None


def networks() -> Iterator[Graph]:
    """The example, and some networks of the differential corpus that fill more than two kilobytes."""
    yield api.load(ROOT / "examples" / "digits" / "digits.tflite")
    with zipfile.ZipFile(ROOT / "tests" / "differential" / "corpus.zip") as corpus:
        for name in sorted(corpus.namelist())[::40]:
            yield load(corpus.read(name), f"net{name.removesuffix('.tflite')}")


@pytest.mark.parametrize("optimize", ["balanced", "size"])
def test_estimates_are_within_a_factor_of_two(optimize: str) -> None:
    tried = 0
    for graph in networks():
        try:
            made = api.build(graph, "cortex-m4", optimize=optimize)  # type: ignore[arg-type]  # a literal
        except UnsupportedError:
            continue
        flash = made.report["flash"]
        if flash["total"] < 2000:
            continue
        constants = made.program.constant_bytes + measure.parameter_bytes(made.program)
        assert 0.5 < measure.estimate(made.program) / flash["code"] < 2, (graph.name, flash)
        assert abs(constants - flash["constants"]) < 200, (graph.name, flash)
        tried += 1
    assert tried >= 3


@pytest.mark.parametrize("form", DRAWS)
def test_estimates_know_the_code_of_forms(form: str) -> None:
    made = api.build(stored(network(), form, np.random.default_rng(0)), "cortex-m4")
    assert 0.5 < measure.estimate(made.program) / made.report["flash"]["code"] < 2


def test_memory_adds_up() -> None:
    memory = measure.Memory(100, 20, (), (), 30, 4, True, "-O2", None)
    assert (memory.ram, memory.flash) == (120, 34)
    assert dataclasses.replace(memory, stack=None).ram == 100


@pytest.mark.parametrize("target", ["cortex-m4", "host"])
def test_layers_that_compile_to_the_same_code_have_a_stack(target: str) -> None:
    """gcc folds identical functions into one, which leaves holes in its call graph unless told not to."""
    b = ModelBuilder()
    tensors = [b.tensor((1, 4), *small_models.Q) for _ in range(6)]
    for source, result in pairwise(tensors):
        b.op("MAXIMUM", [source, tensors[0]], [result], "MaximumMinimumOptions")
    report = api.build(load(b.finish(tensors[:1], tensors[-1:])), target, optimize="speed").report
    assert report["ram"]["stack"] > 0 and len(report["ram"]["stack_path"]) >= 2

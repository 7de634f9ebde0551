# SPDX-License-Identifier: Apache-2.0
"""Chains of layers that run a few rows at a time give the bits that they give one after the other."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import tinygen
from tests import zoo
from tests.laws import assert_equal, draw_inputs, load, run_texts
from tests.stripe_models import ALL, PLAIN, network, segment, unet
from tests.test_plan_simulator import with_slow_flash
from tests.tflite_builder import ModelBuilder
from tinygen.emit.render import emit
from tinygen.errors import BudgetError
from tinygen.layout import laid_out
from tinygen.lower import lower
from tinygen.passes import lossless, run_passes
from tinygen.plan.arena import plan
from tinygen.reference import run
from tinygen.stripes.choose import arrangements
from tinygen.stripes.layout import packed
from tinygen.target import load_target
from tinygen.verify.turns import joined

HOST = load_target("host")
FEATURES = {seed: frozenset({name}) if name else frozenset() for seed, name in enumerate(["", "dsp", "mve", "v6m"])}


@pytest.mark.parametrize("batch", range(4))
def test_rows_give_the_bits_of_the_reference(batch: int) -> None:
    """Networks of all kinds of layers, for four sets of kernels and bands of 1 to 3 rows.

    They stand side by side in one graph, so that their kernels are compiled once.
    """
    networks = [network(100 * batch + index, kinds=ALL if index % 2 else PLAIN) for index in range(12)]
    graph, target = joined(networks, "m0"), replace(HOST, features=FEATURES[batch])
    first, segments = 0, []
    for index, part in enumerate(networks):
        end = first + len(part.nodes)
        segments.append(segment(graph, target, 1 + index % 3, first, end))
        first = end
    program = lower(graph, target, "ram", segments)
    assert len(program.steps) == len(networks)
    sets = draw_inputs(graph, batch, 2)
    (answers,) = run_texts([graph], [emit(program, plan(program), ["test"])], [sets])
    for values, got in zip(sets, answers, strict=True):
        assert_equal(f"networks from {100 * batch} on", got, run(graph, values))


@pytest.mark.parametrize("seed", [7, 16, 39, None])
def test_less_memory_gives_the_same_bits(seed: int | None) -> None:
    """What is chosen under `ram` takes no more memory than what runs layer by layer, and computes the reference, here
    with weights that are copied first."""
    graph, target = unet() if seed is None else network(seed, 6), replace(HOST, features=FEATURES[1])
    graph = replace(graph, name="m0")
    whole = laid_out(graph, target, "balanced")[2]
    ordered, program, layout = laid_out(graph, target, "ram")
    assert layout.bytes <= whole.bytes and any(step.loop for step in program.steps)
    program, layout = with_slow_flash(program, layout)
    assert any(step.loop and step.copies for step in program.steps)
    sets = draw_inputs(graph, seed or 0, 1)
    (answers,) = run_texts([ordered], [emit(program, layout, ["test"])], [sets])
    for values, got in zip(sets, answers, strict=True):
        assert_equal(f"network {seed}", got, run(graph, values))


@pytest.mark.qemu
@pytest.mark.parametrize(("core", "pushed"), [("cortex-m0plus", True), ("cortex-m4", False), ("cortex-m55", False)])
def test_a_u_net_takes_rows(tmp_path: Path, core: str, pushed: bool) -> None:
    """What goes around the middle of the network waits in windows of rows, and so needs no map as a whole."""
    graph = replace(unet(), name="unet")
    whole = laid_out(graph, load_target(core), "balanced")[2]
    made = tinygen.build(graph, core, optimize="ram", push_rows=pushed)
    assert made.report["ram"]["arena"] < 0.4 * whole.bytes
    (layer,) = [layer for layer in made.report["layers"] if layer.get("together")]
    assert len(layer["together"]) == len(graph.nodes) - 1  # softmax, in place, is not worth it
    tinygen.verify(made.write(tmp_path / "unet"), vectors=1).raise_if_wrong()


@pytest.mark.qemu
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m55"])
def test_all_kinds_of_layers_on_cores(tmp_path: Path, core: str) -> None:
    graph = replace(network(32, 6, ALL), name="kinds")
    assert {"PAD", "TRANSPOSE_CONV", "RESIZE_BILINEAR", "ADD"} <= {node.op for node in graph.nodes}
    made = tinygen.build(graph, core, optimize="ram")
    assert any(step.loop for step in made.program.steps)
    tinygen.verify(made.write(tmp_path / "kinds"), vectors=1).raise_if_wrong()


def test_other_outputs_are_left_whole() -> None:
    """A tensor that is an output is not one of which only some rows exist at a time."""
    graph = network(5, 6)
    inner = next(node.outputs[0] for node in graph.nodes[1:-1] if len(graph.types[node.outputs[0]].shape) == 4)
    graph = replace(graph, name="m0", outputs=(inner, *graph.outputs))
    ordered, program, layout = laid_out(graph, HOST, "ram")
    assert any(step.loop for step in program.steps)
    sets = draw_inputs(graph, 0, 1)
    (answers,) = run_texts([ordered], [emit(program, layout, ["test"])], [sets])
    for values, got in zip(sets, answers, strict=True):
        assert_equal("two outputs", got, run(graph, values))


def test_arrangements_trade_memory_for_instructions() -> None:
    """Of two arrangements, that in fewer bytes takes more instructions; each keeps within the limit."""
    graph = network(39, 6)
    found = sorted(arrangements(graph, HOST, 1 << 20), key=lambda a: a.bytes)
    assert len(found) > 1
    for less, more in pairwise(found):
        assert less.bytes < more.bytes and less.work >= more.work
    limit = found[0].bytes
    assert all(a.bytes <= limit for a in arrangements(graph, HOST, limit))
    assert not arrangements(graph, HOST, limit - 1)


def test_packing_never_overlaps_what_is_busy_together() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        items = [(str(i), int(rng.integers(1, 90)), int(rng.integers(1, 256))) for i in range(8)]
        at, size = packed(items)
        for i, (a, a_size, a_busy) in enumerate(items):
            assert at[a] % 8 == 0 and at[a] + a_size <= size
            for b, b_size, b_busy in items[:i]:
                assert not a_busy & b_busy or at[a] + a_size <= at[b] or at[b] + b_size <= at[a]


def test_networks_of_one_layer_with_two_inputs_have_no_arrangement() -> None:
    """No tensor is alone alive before or after it: there is nothing to choose from, and the search ends."""
    b = ModelBuilder()
    x, y, z = (b.tensor((1, 8, 8, 2), "int8", 0.1, 0) for _ in range(3))
    b.op("ADD", [x, y], [z], "AddOptions")
    assert laid_out(load(b.finish([x, y], [z])), HOST, "ram")[2].bytes == 256


def test_a_budget_lets_layers_run_together() -> None:
    """Under `balanced` layers run together where the budget asks for it, and only there."""
    graph = network(16, 6)
    free = tinygen.build(graph, "cortex-m4")
    tight = tinygen.build(graph, "cortex-m4", ram=1500)
    assert not any(step.loop for step in free.program.steps) and any(step.loop for step in tight.program.steps)
    assert tight.report["ram"]["total"] <= 1500 < free.report["ram"]["total"]
    with pytest.raises(BudgetError, match="RAM"):
        tinygen.build(graph, "cortex-m4", ram=300)


#: Bytes of arena under `ram`, and with an input that comes row by row, by core.
GOALS = {
    ("mlperf_tiny/vww01_int8", "cortex-m4", False): 31_000,
    ("mlperf_tiny/vww01_int8", "cortex-m4", True): 16_000,
    ("mlperf_tiny/vww01_int8", "cortex-m55", True): 16_000,
    ("mlperf_tiny/kws01_int8", "cortex-m4", False): 7_000,
    ("mlperf_tiny/ic01_int8", "cortex-m4", False): 18_000,
    ("mlperf_tiny/ad01_int8", "cortex-m4", False): 800,
    ("tflm/person_detect", "cortex-m4", False): 16_000,
}


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize(("name", "core", "pushed"), GOALS)
def test_memory_of_known_networks(name: str, core: str, pushed: bool) -> None:
    graph, _ = run_passes(tinygen.load(zoo.path_of(name)), lossless(()))
    layout = laid_out(graph, load_target(core), "ram", pushed=pushed)[2]
    assert layout.bytes <= GOALS[name, core, pushed]

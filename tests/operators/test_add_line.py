# SPDX-License-Identifier: Apache-2.0
"""ADD and SUB of tensors of one shape as a line in both values: on cores, and where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import load
from tests.operators.binary import Quant, int8_model
from tests.operators.test_dsp import assert_runs
from tests.strategies import MANY, quants
from tinygen.kernels import add_line
from tinygen.lower import lower
from tinygen.ops import call_of
from tinygen.ops.base import Call
from tinygen.target import load_target

OPTIONS = {"ADD": "AddOptions", "SUB": "SubOptions"}


def call(op: str, *types: Quant) -> Call[object]:
    graph = load(int8_model(op, OPTIONS[op], *types))
    return call_of(graph, graph.nodes[0])


@MANY
@given(st.sampled_from(tuple(OPTIONS)), quants(), quants(), quants())
def test_every_pair(op: str, a: Quant, b: Quant, output: Quant) -> None:
    """Where a line is found, it takes each pair of values to the reference's output, and its sums fit 32 bits."""
    node = call(op, a, b, output)
    line = add_line.find_line(node)
    if line is None:
        return
    values = np.arange(-128, 128)
    sums = values[:, None] * line.a_factor + (values * line.b_factor + line.offset)
    assert max(np.abs(sums).max(), abs(128 * line.b_factor) + abs(line.offset)) < 2**31
    pairs = [np.repeat(values, 256).astype(np.int8), np.tile(values, 256).astype(np.int8)]
    types = tuple(replace(t, shape=(2**16,)) for t in (node.input(0), node.input(1), node.output))
    (expected,) = add_line.REFERENCES[op](replace(node, inputs=types[:2], outputs=types[2:]), pairs)
    assert np.array_equal(np.clip(sums >> line.right, -128, 127).ravel(), expected)


def test_a_line_is_found() -> None:
    """In eight of ten draws, at least. Halves below zero, where a ratio of scales makes them, leave none."""
    rng = np.random.default_rng(0)
    scales, zeros = np.exp(rng.uniform(-3, 0, (20, 3))), rng.integers(-128, 128, (20, 3))
    types = [[(float(s), int(z)) for s, z in zip(*some, strict=True)] for some in zip(scales, zeros, strict=True)]
    found = [add_line.find_line(call("ADD", *some)) for some in types]
    assert sum(line is not None for line in found) >= 16


def test_no_line() -> None:
    """A step that lies between those of a line: then fixed-point arithmetic computes it."""
    outputs = np.clip(np.add.outer(np.arange(-128, 128), np.arange(-128, 128)), -128, 127).astype(np.int8)
    assert add_line.line_of((1.0, 1.0, 0.5), -128, 127, outputs.tobytes()) is not None
    outputs[5, 7] += 1
    assert add_line.line_of((1.0, 1.0, 0.5), -128, 127, outputs.tobytes()) is None


@pytest.mark.qemu
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4"])
def test_on_a_core(core: str, tmp_path: Path) -> None:
    a, b = (0.1, -3), (0.07, 20)
    graphs = [load(int8_model(op, name, a, b, (0.19, z))) for op, name in OPTIONS.items() for z in (-128, 5)]
    kernels = {step.kernel for graph in graphs for step in lower(graph, load_target(core)).steps}
    assert kernels == {"add/line"}
    assert_runs(graphs, core, tmp_path, feature="")

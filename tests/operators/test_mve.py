# SPDX-License-Identifier: Apache-2.0
"""Kernels for MVE: they compute what the reference does, in their portable form and on Cortex-M55."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial
from tests.laws import load
from tests.operators import test_conv_2d, test_depthwise_conv_2d, test_dsp, test_fully_connected
from tests.operators.binary import binary_models
from tests.operators.test_dsp import assert_computes, assert_runs, preferred
from tests.strategies import FEW
from tests.tflite_builder import ModelBuilder
from tinygen.ir.graph import Graph
from tinygen.kernels import depthwise_mve
from tinygen.lower import lower
from tinygen.target import load_target

PAIRS = (("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions"))
SUM = st.sampled_from(PAIRS).flatmap(lambda pair: binary_models(*pair))
FILES = st.tuples(test_dsp.FILES, SUM, SUM)


def edges() -> list[bytes]:
    """Besides the edges of the DSP kernels: one filter, one unit, pixels that share sixteen lanes, and sums."""
    quant = (0.1, -3), [0.02], (1.0, 3)
    folded = [Spatial((1, 9, 11, 8), (3, 3), same=False), Spatial((2, 5, 6, 5), (2, 3), activation=1)]
    return [
        *test_dsp.edges(),
        test_conv_2d.build(Spatial((1, 3, 3, 7), (3, 3)), 1, 1, 5, *quant),
        *(test_depthwise_conv_2d.build(s, 1, 5, *quant) for s in folded),
        test_depthwise_conv_2d.build(Spatial((1, 6, 7, 16), (3, 3), activation=1), 1, 5, *quant),
        *(test_fully_connected.simple((1, n), (units, n), 0.01) for n, units in ((5, 1), (37, 6))),
    ]


@settings(FEW, max_examples=2)
@given(FILES)
def test_laws(files: tuple[tuple[bytes, ...], bytes, bytes]) -> None:
    assert_computes([load(data) for data in (*files[0], *files[1:])], "mve")


def test_edges() -> None:
    graphs = [load(data) for data in edges()]
    with preferred("mve"):
        kernels = {step.kernel for graph in graphs for step in lower(graph, load_target("cortex-m55")).steps}
    assert kernels == {f"{op}/mve" for op in ("conv_2d", "depthwise_conv_2d", "fully_connected")}
    assert_computes(graphs, "mve")


@pytest.mark.qemu
def test_edges_on_cortex_m55(tmp_path: Path) -> None:
    assert_runs([load(data) for data in edges()], "cortex-m55", tmp_path, "mve")


@pytest.mark.qemu
@settings(FEW, max_examples=2)
@given(st.lists(FILES, min_size=2, max_size=2))
def test_laws_on_cortex_m55(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[tuple[bytes, ...], bytes, bytes]]
) -> None:
    graphs = [load(data) for some in files for data in (*some[0], *some[1:])]
    assert_runs(graphs, "cortex-m55", tmp_path_factory.mktemp("drawn"), "mve")


def test_products_of_two_taps_must_fit_int16() -> None:
    """-128 * -128 twice is 2^15: such weights are left to another kernel."""
    weights = np.zeros((1, 3, 3, 4), np.int8)
    weights[0, 0, 0] = weights[0, 0, 2] = -128
    assert not depthwise_mve.overflows(weights)
    weights[0, 0, 1, 3] = -128
    assert depthwise_mve.overflows(weights)


def pairs(op: str, options: str, size: int, output: float) -> Graph:
    """Two tensors of one shape, of so many elements."""
    b = ModelBuilder()
    x, y, z = (
        b.tensor((1, size), "int8", 0.1, -5),
        b.tensor((1, size), "int8", 0.07, 9),
        b.tensor((1, size), "int8", output, 3),
    )
    b.op(op, [x, y], [z], options)
    return load(b.finish([x, y], [z]))


SUM, LINE = "add/mve", "add/mve_line"
SUMS = [pairs(*pair, size, output) for pair in PAIRS for size in (1, 7, 32) for output in (0.019, 0.31)]


@pytest.mark.parametrize(("without", "chosen"), [(SUM, LINE), (LINE, SUM)])
def test_pairs_of_tensors(without: str, chosen: str) -> None:
    """Whole fours and what is left of them; results that are saturated, and that are not."""
    with preferred("mve", without):
        kernels = {step.kernel for graph in SUMS for step in lower(graph, load_target("cortex-m55")).steps}
        assert {chosen, "mul/mve"} <= kernels
        assert_computes(SUMS, "mve", prefer=False)


@pytest.mark.qemu
@pytest.mark.parametrize("without", [SUM, LINE])
def test_pairs_of_tensors_on_cortex_m55(without: str, tmp_path: Path) -> None:
    with preferred("mve", without):
        assert_runs(SUMS, "cortex-m55", tmp_path, "mve", prefer=False)

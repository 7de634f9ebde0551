# SPDX-License-Identifier: Apache-2.0
"""Kernels for Armv6-M: they compute what the reference does, in their portable form and on Cortex-M0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial
from tests.laws import load
from tests.operators import test_conv_2d, test_dsp, test_fully_connected
from tests.operators.binary import binary_models
from tests.operators.test_dsp import assert_computes, assert_runs, convolutions, preferred
from tests.strategies import FEW
from tinygen.ir.graph import Graph
from tinygen.kernels import v6m
from tinygen.lower import lower
from tinygen.ops import call_of
from tinygen.target import load_target

FILES = st.lists(st.one_of(convolutions(), test_fully_connected.models()), min_size=10, max_size=10)


def edges() -> list[bytes]:
    """One filter, one pixel, odd numbers of them, filters whose size is no multiple of 4, strides and dilations."""
    quant = (0.1, -3), [0.02], (1.0, 3)
    shapes = [
        (Spatial((1, 5, 7, 3), (3, 3), same=False), 4),
        (Spatial((2, 9, 8, 3), (3, 3), (2, 2)), 3),
        (Spatial((2, 9, 8, 3), (3, 3), (2, 2), activation=1), 3),
        (Spatial((1, 1, 1, 7), (1, 1)), 1),
        (Spatial((1, 5, 3, 7), (1, 1), activation=1), 5),
        (Spatial((1, 6, 6, 33), (3, 3), activation=3), 7),
        (Spatial((1, 10, 9, 4), (3, 3), dilation=(2, 2)), 4),
        (Spatial((1, 7, 9, 6), (2, 3), dilation=(1, 3), same=False), 4),
        (Spatial((1, 25, 5, 1), (10, 4), (2, 2), activation=1), 6),
    ]
    dense = [((1, 8), (4, 8)), ((3, 23), (9, 23)), ((1, 64), (16, 64))]
    return [
        *(test_conv_2d.build(s, 1, filters, 5, *quant) for s, filters in shapes),
        *(test_fully_connected.simple(shape, weights, 0.01) for shape, weights in dense),
    ]


def dense(shape: tuple[int, int], rows: int = 1, spread: float = 30.0, large: int = 0) -> Graph:
    """FULLY_CONNECTED with weights [units, depth] of this standard deviation, `large` fours of them 127 or -128."""
    rng = np.random.default_rng(shape[0])
    weights = np.clip(rng.normal(0, spread, shape), -128, 127).round().astype(np.int8)
    for at in rng.choice(weights.size // 8, large, replace=False):
        weights.flat[8 * at : 8 * at + 4] = rng.choice((-128, 127))
    scale = 1.0 / (spread * shape[1] ** 0.5)
    graph = load(test_fully_connected.simple((rows, shape[1]), shape, scale, value=1))
    return replace(graph, constants={**graph.constants, graph.nodes[0].inputs[1]: weights})


def matrices() -> list[Graph]:
    """Units and inputs that fill no whole four or eight, one piece and several, weights too large for a sum of four."""
    return [
        dense((4, 1)),
        dense((5, 9), rows=2, spread=20),
        dense((7, 127), spread=20, large=2),
        dense((10, 131), rows=2, spread=25, large=1),
        dense((6, 256), spread=20, large=2),
        dense((9, 301), rows=3, spread=20, large=3),
        dense((8, 64), spread=100),
    ]


@settings(FEW, max_examples=2)
@given(FILES)
def test_laws(files: list[bytes]) -> None:
    assert_computes([load(data) for data in files], "v6m")


def test_edges() -> None:
    graphs = [load(data) for data in edges()] + matrices()
    kernels = set()
    for without in ("", "fully_connected/v6m"):
        with preferred("v6m", without):
            steps = [step for graph in graphs for step in lower(graph, load_target("cortex-m0plus")).steps]
        kernels |= {step.kernel for step in steps}
    assert {"conv_2d/v6m", "fully_connected/v6m", "fully_connected/v6m_four"} <= kernels
    with preferred("v6m"):
        programs = [lower(graph, load_target("cortex-m0plus")) for graph in graphs]
    lines = ["split.channels" in call.params for p in programs for s in p.steps for call in s.invocations]
    assert any(lines) and not all(lines)
    with preferred("v6m", "fully_connected/v6m"):
        assert_computes(graphs, "v6m", prefer=False)
    assert_computes(graphs, "v6m")


@pytest.mark.qemu
def test_edges_on_cortex_m0(tmp_path: Path) -> None:
    assert_runs([load(data) for data in edges()] + matrices(), "cortex-m0", tmp_path, "v6m")


@pytest.mark.qemu
@settings(FEW, max_examples=3)
@given(FILES, test_dsp.FILES, st.lists(binary_models("ADD", "AddOptions"), min_size=4, max_size=4))
def test_laws_on_cortex_m0(
    tmp_path_factory: pytest.TempPathFactory, files: list[bytes], others: tuple[bytes, ...], sums: list[bytes]
) -> None:
    """With those of other operators, as there requantization takes another way on this core."""
    graphs = [load(data) for data in (*files, *others, *sums)]
    assert_runs(graphs, "cortex-m0", tmp_path_factory.mktemp("drawn"), "v6m")


def test_products_of_two_taps_must_fit_int16() -> None:
    """-128 * -128 twice is 2^15: such weights are left to another kernel."""
    weights = np.zeros((2, 5), np.int8)
    weights[0, 1:3] = weights[1, 4] = -128
    assert not v6m.overflows(weights)
    weights[1, 2:4] = -128
    assert v6m.overflows(weights)


def test_what_a_sum_of_four_cannot_hold() -> None:
    """Weights become smaller only where they must, and never grow; where many would, another kernel takes them all."""
    graph = dense((7, 127), spread=20, large=2)
    weights = graph.constants[graph.nodes[0].inputs[1]].astype(np.int64)
    held = v6m.held(weights)
    sums = np.abs(np.pad(weights, ((0, 0), (0, 1)))).reshape(7, -1, 4).sum(axis=2)
    left = np.abs(np.pad(held, ((0, 0), (0, 1)))).reshape(7, -1, 4).sum(axis=2)
    assert np.array_equal(left, np.minimum(sums, v6m.MOST_OF_FOUR)) and (sums > v6m.MOST_OF_FOUR).any()
    assert np.all(np.abs(held) <= np.abs(weights)) and np.all(held * weights >= 0)
    wild = dense((8, 64), spread=100)
    assert not v6m.four_accepts(call_of(wild, wild.nodes[0]))

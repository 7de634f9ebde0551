"""Kernels for Armv6-M: they compute what the reference does, in their portable form and on Cortex-M0."""

from __future__ import annotations

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
from tinygen.kernels import v6m
from tinygen.lower import lower
from tinygen.target import load_target

FILES = st.lists(st.one_of(convolutions(), test_fully_connected.models()), min_size=10, max_size=10)


def edges() -> list[bytes]:
    """One filter, one pixel, odd numbers of them, filters whose size is no multiple of 4, strides and dilations."""
    quant = (0.1, -3), [0.02], (1.0, 3)
    shapes = [
        (Spatial((1, 5, 7, 3), (3, 3), same=False), 4),
        (Spatial((2, 9, 8, 3), (3, 3), (2, 2)), 3),
        (Spatial((1, 1, 1, 7), (1, 1)), 1),
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


@settings(FEW, max_examples=2)
@given(FILES)
def test_laws(files: list[bytes]) -> None:
    assert_computes([load(data) for data in files], "v6m")


def test_edges() -> None:
    graphs = [load(data) for data in edges()]
    with preferred("v6m"):
        kernels = {step.kernel for graph in graphs for step in lower(graph, load_target("cortex-m0plus")).steps}
    assert kernels == {"conv_2d/v6m", "fully_connected/v6m"}
    assert_computes(graphs, "v6m")


@pytest.mark.qemu
def test_edges_on_cortex_m0(tmp_path: Path) -> None:
    assert_runs([load(data) for data in edges()], "cortex-m0", tmp_path, "v6m")


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

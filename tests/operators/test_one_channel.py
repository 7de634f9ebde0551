# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions of images with one channel: kernels of convolutions compute them, here and on cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial, output_quant, spatials, weight_scales
from tests.laws import load
from tests.operators import test_depthwise_conv_2d
from tests.operators.test_dsp import assert_computes, assert_runs, preferred
from tests.strategies import FEW, quants
from tinygen import reference
from tinygen.ir.graph import Graph
from tinygen.kernels.one_channel import as_convolution, has_one_channel
from tinygen.lower import lower
from tinygen.ops import all_ops, call_of, op_of
from tinygen.passes.base import random_inputs
from tinygen.target import load_target

#: Families of kernels, and a core of each.
CORES = {"dsp": "cortex-m4", "mve": "cortex-m55", "v6m": "cortex-m0"}


@st.composite
def models(draw: st.DrawFn) -> bytes:
    s, filters = draw(spatials(channels=1)), draw(st.integers(2, 9))
    source, scales = draw(quants()), draw(weight_scales(filters))
    target = draw(output_quant(source[0], scales, s.kernel[0] * s.kernel[1]))
    return test_depthwise_conv_2d.build(s, filters, draw(st.integers(0, 2**32)), source, scales, target)


def edges() -> list[Graph]:
    """Strides, dilations, batches, windows beyond the image; scales for each filter and for all."""
    shapes = [
        (Spatial((1, 9, 8, 1), (3, 3), (2, 2)), 7, [0.02]),
        (Spatial((2, 7, 5, 1), (2, 3), same=False, activation=1), 4, [0.02, 0.01, 0.03, 0.015]),
        (Spatial((1, 10, 9, 1), (3, 3), dilation=(2, 3)), 5, [0.02]),
        (Spatial((1, 3, 4, 1), (10, 8), (2, 2), activation=1), 8, [0.02]),
    ]
    return [load(test_depthwise_conv_2d.build(s, n, 5, (0.1, -3), scales, (1.0, 3))) for s, n, scales in shapes]


def test_the_convolution_computes_the_same() -> None:
    for graph in edges():
        (node,), (image,) = graph.nodes, random_inputs(graph, 0)
        call = call_of(graph, node)
        assert has_one_channel(call)
        turned = as_convolution(call)
        assert turned.input(1).shape == (call.output.shape[3], *call.input(1).shape[1:3], 1)
        weights, *bias = turned.constants[1:]
        (expected,) = reference.run(graph, (image,))
        (got,) = all_ops()["CONV_2D"].reference(turned, [image, weights, *bias])
        assert np.array_equal(got, expected) and op_of(node).macs(call) == all_ops()["CONV_2D"].macs(turned)


@pytest.mark.parametrize("feature", CORES)
@settings(FEW, max_examples=1)
@given(st.lists(models(), min_size=5, max_size=5))
def test_laws(feature: str, files: list[bytes]) -> None:
    assert_computes([*map(load, files), *edges()], feature)


@pytest.mark.qemu
@pytest.mark.parametrize("feature, core", CORES.items())
def test_on_cores(feature: str, core: str, tmp_path: Path) -> None:
    with preferred(feature):
        kernels = {step.kernel for graph in edges() for step in lower(graph, load_target(core)).steps}
    assert kernels == {f"conv_2d/{feature}"}
    assert_runs(edges(), core, tmp_path, feature)

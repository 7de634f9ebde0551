# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions for Armv6-M, and requantization by two products of 32 bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial
from tests.laws import load
from tests.operators import test_depthwise_conv_2d
from tests.operators.test_dsp import assert_computes, assert_runs, depthwise, preferred
from tests.strategies import FEW
from tinygen.ir.graph import Graph
from tinygen.kernels import split
from tinygen.lower import lower
from tinygen.ops import call_of
from tinygen.ops.numerics import multiply_by_quantized_multiplier
from tinygen.target import load_target

FILES = st.lists(depthwise(), min_size=6, max_size=6)
RELU = 1


def edges() -> list[Graph]:
    """Odd widths, a single column, strides beyond the window, padding wider than the image, images, taps in twos."""
    shapes = [
        Spatial((1, 7, 5, 4), (3, 3), activation=RELU),
        Spatial((2, 6, 6, 11), (3, 3), (2, 2), activation=RELU),
        Spatial((1, 9, 9, 3), (3, 3), activation=3),
        Spatial((1, 5, 1, 2), (3, 3), activation=RELU),
        Spatial((1, 1, 1, 6), (5, 4), activation=RELU),
        Spatial((1, 9, 8, 2), (2, 2), (3, 3), activation=RELU),
        Spatial((1, 12, 3, 1), (5, 1), activation=RELU),
        Spatial((1, 3, 14, 5), (1, 4), (1, 2), same=False, activation=RELU),
        Spatial((1, 8, 11, 2), (5, 5), (1, 3), activation=RELU),
        Spatial((1, 4, 30, 8), (3, 3), same=False, activation=RELU),
    ]
    quant = (0.1, -3), [0.02], (0.5, -128)
    graphs = [load(test_depthwise_conv_2d.build(s, 1, i, *quant)) for i, s in enumerate(shapes)]
    name = graphs[0].nodes[0].inputs[1]
    extreme = np.broadcast_to(np.int8([-128, 127, -127, -128]), graphs[0].constants[name].shape)
    return [*graphs, replace(graphs[0], constants={**graphs[0].constants, name: extreme})]


def test_edges() -> None:
    with preferred("v6m"):
        kernels = [step.kernel for graph in edges() for step in lower(graph, load_target("cortex-m0plus")).steps]
    assert set(kernels) == {"depthwise_conv_2d/v6m"}
    assert_computes(edges(), "v6m")


@settings(FEW, max_examples=1)
@given(FILES)
def test_laws(files: list[bytes]) -> None:
    assert_computes([load(data) for data in files], "v6m")


@pytest.mark.qemu
@settings(FEW, max_examples=1)
@given(FILES)
def test_on_cortex_m0(tmp_path_factory: pytest.TempPathFactory, files: list[bytes]) -> None:
    graphs = [*edges(), *(load(data) for data in files)]
    assert_runs(graphs, "cortex-m0", tmp_path_factory.mktemp("drawn"), "v6m")


@given(st.integers(2**30, 2**31 - 1), st.integers(0, 20), st.integers(-128, 127))
def test_thresholds(multiplier: int, right: int, output: int) -> None:
    """The first sum that is requantized to an output or more, and the one before it, which is not."""
    ((at,),) = split.thresholds(np.array([multiplier]), np.array([right]), np.array([output])).tolist()
    sums = np.array([at - 1, at], np.int64)
    if abs(sums).max() < 2**31:
        below, above = multiply_by_quantized_multiplier(sums, multiplier, -right).tolist()
        assert below < output <= above


def split_outputs(fields: dict[str, object], channel: int, sums: np.ndarray) -> np.ndarray:
    """What the C computes, of words of 32 bits, for the sums of a kernel."""
    words = np.asarray(fields["split.channels"]).reshape(-1, int(str(fields["split.words"])))[channel].tolist()
    (lacking, most, offset, factors), (zero, drop) = words[:4], words[4:] or (0, 0)
    x = (sums + lacking) % 2**32
    x = np.where(x <= most, x, np.where(x >> 31, 0, most))
    high, low, offsets = x * (factors >> 16), x * (factors & 0xFFFF), offset - np.where(x < zero, drop, 0)
    assert max(high.max(), low.max()) < 2**32
    return ((high + (low >> int(str(fields["split.fine"]))) + offsets) % 2**32 >> int(str(fields["split.right"]))) % 256


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.002, 50.0), st.booleans(), st.sampled_from((-128, 3, 127)))
def test_every_sum(seed: int, scale: float, relu: bool, zero: int) -> None:
    """Every sum between the least and the greatest, and some beyond, becomes what the reference makes of it."""
    s = Spatial((1, 3, 3, 3), (3, 3), activation=RELU if relu else 0)
    weights = [0.02, 0.001, 0.04]
    graph = load(test_depthwise_conv_2d.build(s, 1, seed, (0.1, -3), weights, (scale, zero)))
    call = call_of(graph, graph.nodes[0])
    lowest, highest, added = np.full(3, -200_000), np.array([200_000, 3_000, 100_000]), np.array([0, 77, -5000])
    fields = split.split_params(call, lowest, highest, added, both=True)
    if fields is None:
        assert scale < 0.01  # sums are scaled up
        return
    multipliers, shifts = split.multipliers_of(call)
    for channel in range(3):
        sums = np.arange(lowest[channel], highest[channel] + 1)
        scaled = multiply_by_quantized_multiplier(sums, int(multipliers[channel]), int(shifts[channel]))
        expected = np.clip(scaled + call.output.q.zero_point, *split.limits_of(call))
        assert np.array_equal(split_outputs(fields, channel, sums - added[channel]), expected % 256)


def test_not_where_negative_outputs_round_differently() -> None:
    """Without an activation, halves are rounded away from zero on both sides of it: no line takes these steps."""
    linear = load(test_depthwise_conv_2d.build(Spatial((1, 7, 5, 4), (3, 3)), 1, 5, (0.1, -3), [0.02], (0.5, 3)))
    with preferred("v6m"):
        (step,) = lower(linear, load_target("cortex-m0plus")).steps
    assert step.kernel == "depthwise_conv_2d/portable"

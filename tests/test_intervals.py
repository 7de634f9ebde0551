# SPDX-License-Identifier: Apache-2.0
"""Bounds on the integers hold for every input, and are reached where one operator is looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.channel_models import network
from tests.laws import draw_inputs, load
from tests.tflite_builder import ModelBuilder
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops import call_of
from tinygen.passes.intervals import Bounds, bounds_of
from tinygen.passes.layers import layer_of
from tinygen.reference import run, run_all

Q = ("int8", 0.1, -5)
CONV = {"dilationHFactor": 1, "dilationWFactor": 1, "padding": 0}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_no_value_leaves_its_bounds(seed: int) -> None:
    graph = load(network(seed))
    bounds = bounds_of(graph)
    for inputs in draw_inputs(graph, seed):
        for name, value in run_all(graph, inputs).items():
            if name in bounds:
                assert within(value, bounds[name]), name


def within(value: Array, bounds: Bounds) -> bool:
    flat = value.reshape(-1, value.shape[-1] if value.ndim else 1)
    return bool(np.all(flat >= bounds.low) and np.all(flat <= bounds.high))


def pixel(*ops: str) -> Graph:
    """Functions of one int8 value one after the other: RELU, ELU …; a number is added, ×n multiplies, ² squares."""
    b = ModelBuilder()
    tensors = [b.tensor((1, 1), *Q)]
    for number, op in enumerate(ops):
        quant = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(op, (0.05 + 0.02 * number, 3 * number))
        tensors.append(b.tensor((1, 1), "int8", *quant))
        source = tensors[-2]
        if op == "²":
            b.op("MUL", [source, source], [tensors[-1]], "MulOptions")
        elif op.startswith("×"):
            weights = b.tensor((1, 1), "int8", 0.02, 0, [[int(op[1:])]])
            b.op("FULLY_CONNECTED", [source, weights, -1], [tensors[-1]], "FullyConnectedOptions")
        elif op.lstrip("-").isdigit():
            b.op("SUB", [b.tensor((1,), *Q, [int(op)]), source], [tensors[-1]], "SubOptions")
        else:
            b.op(op, [source], [tensors[-1]])
    return load(b.finish([tensors[0]], [tensors[-1]]))


@pytest.mark.parametrize(
    "ops",
    ["RELU", "ELU", "×40", "×-40", "7", "RELU ELU", "ELU ×-90 RELU6", "TANH 9 ×60", "HARD_SWISH", "RELU ×-127 ELU"],
)
def test_bounds_of_one_value_are_reached(ops: str) -> None:
    graph = pixel(*ops.split())
    answers = [int(run(graph, [np.array([[x]], np.int8)])[0][0, 0]) for x in range(-128, 128)]
    bounds = bounds_of(graph)[graph.outputs[0]]
    assert (int(bounds.low[0]), int(bounds.high[0])) == (min(answers), max(answers))


def test_a_square_is_bounded_as_a_product_of_two() -> None:
    """x·x is never negative, which bounds do not know; they must not be too narrow, either."""
    graph = pixel("²")
    answers = [int(run(graph, [np.array([[x]], np.int8)])[0][0, 0]) for x in range(-128, 128)]
    bounds = bounds_of(graph)[graph.outputs[0]]
    assert bounds.low[0] <= min(answers) and bounds.high[0] >= max(answers)


def padded(kernel: int, size: int, stride: int, value: int, seed: int = 0, depthwise: bool = False) -> Graph:
    """A channel that is `value` for every input, and a SAME convolution of it."""
    b, rng = ModelBuilder(), np.random.default_rng(seed)
    x, c = b.tensor((1, size, size, 1), *Q), b.tensor((1, size, size, 1), *Q, name="c")
    bias = b.tensor((1,), "int32", 0.001, 0, [100 * (value + 5)])
    b.op("CONV_2D", [x, b.tensor((1, 1, 1, 1), "int8", 0.01, 0, [[[[0]]]]), bias], [c], "Conv2DOptions",
         strideH=1, strideW=1, **CONV)  # fmt: skip
    shape = (1, kernel, kernel, 3) if depthwise else (3, kernel, kernel, 1)
    weights = b.tensor(shape, "int8", 0.01, 0, rng.integers(-127, 128, shape))
    y = b.tensor((1, -(-size // stride), -(-size // stride), 3), "int8", 0.05, 4, name="y")
    options: dict[str, Any] = {"strideH": stride, "strideW": stride, **CONV}
    if depthwise:
        b.op("DEPTHWISE_CONV_2D", [c, weights, -1], [y], "DepthwiseConv2DOptions", depthMultiplier=3, **options)
    else:
        b.op("CONV_2D", [c, weights, -1], [y], "Conv2DOptions", **options)
    return load(b.finish([x], [y]))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("kernel, size, stride", [(3, 5, 1), (3, 4, 2), (2, 3, 1), (3, 1, 1), (5, 3, 1), (5, 3, 2)])
@pytest.mark.parametrize("value", [-5, 90])
def test_borders_are_counted_exactly(kernel: int, size: int, stride: int, value: int, depthwise: bool) -> None:
    """Of a constant channel, every output is known: the bounds are the smallest and the largest that there is."""
    graph = padded(kernel, size, stride, value, kernel + size, depthwise)
    bounds = bounds_of(graph)
    assert bounds["c"].constant.all() and bounds["c"].low[0] == value
    (answer,) = run(graph, [np.zeros((1, size, size, 1), np.int8)])
    flat = answer.reshape(-1, 3)
    assert np.array_equal(bounds["y"].low, flat.min(axis=0)) and np.array_equal(bounds["y"].high, flat.max(axis=0))


@pytest.mark.parametrize(
    "kernel, size, stride, always, sometimes", [(3, 5, 1, 1, 8), (3, 4, 2, 4, 5), (3, 1, 1, 1, 0), (1, 4, 1, 1, 0)]
)
def test_taps_at_borders(kernel: int, size: int, stride: int, always: int, sometimes: int) -> None:
    """SAME pads before and after with stride 1, and only after with stride 2."""
    graph = padded(kernel, size, stride, 0)
    layer = layer_of(call_of(graph, graph.nodes[-1]))
    assert layer is not None
    assert (layer.always.sum(), layer.sometimes.sum()) == (always, sometimes)


def moved(b: ModelBuilder, x: int) -> list[int]:
    """Outputs of operators that pool, move and reduce `x`, int8 [1, 4, 4, 2]."""
    pool = {"filterHeight": 2, "filterWidth": 2, "strideH": 1, "strideW": 1, "padding": 0}
    made: list[int] = []

    def op(name: str, shape: tuple[int, ...], *constants: Any, quant: Any = Q, count: int = 1, **options: Any) -> None:
        outputs = [b.tensor(shape, *quant) for _ in range(count)]
        inputs = [x, *(b.constant(c) for c in constants)]
        table = options.pop("options", None)
        b.op(name, inputs[::-1] if name == "SPLIT" else inputs, outputs, table, **options)
        made.extend(outputs)

    op("AVERAGE_POOL_2D", (1, 4, 4, 2), options="Pool2DOptions", **pool)
    op("MAX_POOL_2D", (1, 4, 4, 2), options="Pool2DOptions", **pool)
    op("MEAN", (1, 2), [1, 2], quant=("int8", 0.07, 9), options="ReducerOptions")
    op("SUM", (1, 2), [1, 2], quant=("int8", 1.0, 9), options="ReducerOptions")
    op("REDUCE_MAX", (1, 4, 4), [3], options="ReducerOptions")
    op("PAD", (1, 5, 4, 2), [[0, 0], [1, 0], [0, 0], [0, 0]])
    op("MIRROR_PAD", (1, 5, 4, 2), [[0, 0], [1, 0], [0, 0], [0, 0]], options="MirrorPadOptions", mode=0)
    op("TRANSPOSE", (1, 2, 4, 4), [0, 3, 1, 2])
    op("RESHAPE", (1, 32), [1, 32], options="ReshapeOptions", newShape=[1, 32])
    op("SPLIT", (1, 4, 4, 1), 3, count=2, options="SplitOptions", numSplits=2)
    op("RESIZE_BILINEAR", (1, 7, 7, 2), [7, 7], options="ResizeBilinearOptions", halfPixelCenters=True)
    op("SPACE_TO_DEPTH", (1, 2, 2, 8), options="SpaceToDepthOptions", blockSize=2)
    op("SOFTMAX", (1, 4, 4, 2), quant=("int8", 1 / 256, -128), options="SoftmaxOptions", beta=1.0)
    return made


def test_what_moves_pools_and_reduces() -> None:
    """Channel 0 is clamped to [-5, 55], channel 1 is anything: so far goes each output, and no farther."""
    b = ModelBuilder()
    x, raised, y = (b.tensor((1, 4, 4, 2), *Q) for _ in range(3))
    b.op("MAXIMUM", [x, b.tensor((2,), *Q, [-5, -128])], [raised], "MaximumMinimumOptions")
    b.op("MINIMUM", [raised, b.tensor((2,), *Q, [55, 127])], [y], "MaximumMinimumOptions")
    outputs = moved(b, y)
    graph = load(b.finish([x], outputs))
    bounds, ends = bounds_of(graph), [np.full((1, 4, 4, 2), v, np.int8) for v in (-128, 127)]
    low, high = ([a.reshape(-1, a.shape[-1]) for a in run(graph, [end])] for end in ends)
    for name, least_, most_ in zip(graph.outputs, low, high, strict=True):
        if graph.producer(name).op == "SOFTMAX":  # type: ignore[union-attr]  # every output has a producer
            assert np.all(bounds[name].low == -128) and np.all(bounds[name].high == 127)
            continue
        assert np.array_equal(bounds[name].low, least_.min(axis=0)), name
        assert np.array_equal(bounds[name].high, most_.max(axis=0)), name


def test_what_is_no_int8_has_no_bounds() -> None:
    b = ModelBuilder()
    x, f, y = b.tensor((1, 4), *Q), b.tensor((1, 4), "float32"), b.tensor((1, 4), *Q)
    b.op("DEQUANTIZE", [x], [f])
    b.op("QUANTIZE", [f], [y])
    graph = load(b.finish([x], [y]))
    bounds = bounds_of(graph)
    assert graph.nodes[0].outputs[0] not in bounds
    assert bounds[graph.outputs[0]].low.tolist() == [-128] * 4 and bounds[graph.outputs[0]].high.tolist() == [127] * 4

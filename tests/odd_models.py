# SPDX-License-Identifier: Apache-2.0
"""Good models that converters seldom make: shapes computed from constants, no nodes, inputs that are outputs."""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.tflite_builder import ModelBuilder


def convolutions() -> bytes:
    """CONV_2D, DEPTHWISE_CONV_2D per channel with dilation, AVERAGE_POOL_2D, FULLY_CONNECTED and SOFTMAX."""
    b = ModelBuilder()
    rng = np.random.default_rng(0)
    x = b.tensor((1, 9, 7, 3), "int8", 0.05, 3)
    w = b.tensor((4, 3, 3, 3), "int8", [0.01, 0.02, 0.03, 0.04], 0, rng.integers(-127, 128, (4, 3, 3, 3)))
    bias = b.tensor((4,), "int32", [0.0005, 0.001, 0.0015, 0.002], 0, rng.integers(-500, 500, 4))
    y = b.tensor((1, 5, 4, 4), "int8", 0.1, -5)
    size = {"strideH": 2, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1}
    b.op("CONV_2D", [x, w, bias], [y], "Conv2DOptions", padding=0, fusedActivationFunction=1, **size)
    d = b.tensor((1, 2, 2, 8), "int8", [0.01] * 8, 0, rng.integers(-127, 128, (1, 2, 2, 8)), axis=3)
    z = b.tensor((1, 3, 2, 8), "int8", 0.1, 0)
    one = {"strideH": 1, "strideW": 1, "dilationHFactor": 2, "dilationWFactor": 2}
    b.op("DEPTHWISE_CONV_2D", [y, d, -1], [z], "DepthwiseConv2DOptions", padding=1, depthMultiplier=2, **one)
    p = b.tensor((1, 1, 1, 8), "int8", 0.1, 0)
    window = {"filterHeight": 3, "filterWidth": 2, "strideH": 1, "strideW": 1}
    b.op("AVERAGE_POOL_2D", [z], [p], "Pool2DOptions", padding=1, **window)
    f = b.tensor((5, 8), "int8", 0.01, 0, rng.integers(-127, 128, (5, 8)))
    q = b.tensor((1, 5), "int8", 0.1, 0)
    b.op("FULLY_CONNECTED", [p, f], [q], "FullyConnectedOptions", keepNumDims=False)
    s = b.tensor((1, 5), "int8", 1 / 256, -128)
    b.op("SOFTMAX", [q], [s], "SoftmaxOptions", beta=1.0)
    return b.finish([x], [s])


def movement() -> bytes:
    """PAD, TRANSPOSE, SLICE, STRIDED_SLICE, CONCATENATION, SPLIT, PACK, MEAN and RESHAPE: constants that say where."""
    b = ModelBuilder()
    q = ("int8", 0.1, 1)
    x = b.tensor((1, 4, 6, 2), *q)
    padded, moved, cut, strided = (b.tensor(s, *q) for s in ((1, 6, 8, 2), (1, 8, 6, 2), (1, 4, 6, 2), (1, 2, 3, 2)))
    b.op("PAD", [x, b.constant([[0, 0], [1, 1], [1, 1], [0, 0]])], [padded], "PadOptions")
    b.op("TRANSPOSE", [padded, b.constant([0, 2, 1, 3])], [moved], "TransposeOptions")
    b.op("SLICE", [moved, b.constant([0, 1, 0, 0]), b.constant([-1, 4, 6, 2])], [cut], "SliceOptions")
    bounds = [b.constant(v) for v in ([0, 0, 0, 0], [1, 4, 6, 2], [1, 2, 2, 1])]
    b.op("STRIDED_SLICE", [cut, *bounds], [strided], "StridedSliceOptions", beginMask=9, endMask=9)
    joined, left, right = (b.tensor(s, *q) for s in ((1, 2, 3, 4), (1, 2, 3, 2), (1, 2, 3, 2)))
    b.op("CONCATENATION", [strided, strided], [joined], "ConcatenationOptions", axis=-1)
    b.op("SPLIT", [b.constant(3), joined], [left, right], "SplitOptions", numSplits=2)
    packed, flat, mean = (b.tensor(s, *q) for s in ((2, 1, 2, 3, 2), (2, 12), (2,)))
    b.op("PACK", [left, right], [packed], "PackOptions", valuesCount=2, axis=0)
    b.op("RESHAPE", [packed, b.constant([2, -1])], [flat], "ReshapeOptions", newShape=[2, -1])
    b.op("MEAN", [flat, b.constant([1])], [mean], "ReducerOptions", keepDims=False)
    return b.finish([x], [mean, flat, left])


def arithmetic() -> bytes:
    """Functions of one and of two values, broadcast, with wide and narrow scales; a float input and output."""
    b = ModelBuilder()
    x = b.tensor((2, 3, 4), "float32")
    a, c = b.tensor((2, 3, 4), "int8", 0.1, -3), b.tensor((4,), "int8", 0.02, 7, [-128, 0, 5, 127])
    b.op("QUANTIZE", [x], [a])
    quants = (0.1, 0), (0.2, 9), (1 / 256, -128), (0.01, 0)
    total, product, squashed, curved = (b.tensor((2, 3, 4), "int8", *q) for q in quants)
    b.op("ADD", [a, c], [total], "AddOptions", fusedActivationFunction=3)
    b.op("MUL", [total, a], [product], "MulOptions")
    b.op("LOGISTIC", [product], [squashed])
    b.op("MAXIMUM", [squashed, squashed], [b.tensor((2, 3, 4), "int8", 1 / 256, -128, name="m")])
    b.op("TANH", [total], [b.tensor((2, 3, 4), "int8", 1 / 128, 0, name="t")])
    b.op("ELU", [total], [curved])
    y = b.tensor((2, 3, 4), "float32")
    b.op("DEQUANTIZE", [curved], [y])
    return b.finish([x], [y, squashed])


def shapes() -> bytes:
    """Constants computed from constants, and an unused node."""
    b = ModelBuilder()
    x, y, unused = b.tensor((1, 6), "int8", 0.1), b.tensor((2, 3), "int8", 0.1), b.tensor((1, 6), "int8", 0.1)
    total = b.tensor((2,), "int32")
    b.op("ADD", [b.constant([1, 1]), b.constant([1, 2])], [total], "AddOptions")
    b.op("ELU", [x], [unused])
    b.op("RESHAPE", [x, total], [y], "ReshapeOptions", newShape=[])
    return b.finish([x], [y])


def nothing() -> bytes:
    """No node: the output is the input, and a constant."""
    b = ModelBuilder()
    x, c = b.tensor((1, 4), "int8", 0.1), b.tensor((3,), "int8", 0.1, 0, [1, 2, 3])
    return b.finish([x], [x, c, x])


@cache
def all_models() -> dict[str, bytes]:
    """Every model of this file by name."""
    return {f.__name__: f() for f in (convolutions, movement, arithmetic, shapes, nothing)}

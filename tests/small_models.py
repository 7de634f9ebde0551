# SPDX-License-Identifier: Apache-2.0
"""Small models that several test files build, run and break."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tests.tflite_builder import ModelBuilder

Q = ("int8", 0.1, -5)


def dense_layers(sizes: tuple[int, ...] = (6, 8, 5, 4)) -> bytes:
    """FULLY_CONNECTED layers, named dense0, dense1 … after their outputs, of these sizes, and different weights."""
    b, rng = ModelBuilder(), np.random.default_rng(0)
    tensors = [b.tensor((1, sizes[0]), *Q, name="x")]
    for index, (depth, units) in enumerate(pairwise(sizes)):
        weights = b.tensor((units, depth), "int8", 0.01, 0, rng.integers(-100, 101, (units, depth)))
        bias = b.tensor((units,), "int32", 0.001, 0, rng.integers(-99, 100, units))
        tensors.append(b.tensor((1, units), *Q, name=f"dense{index}"))
        b.op("FULLY_CONNECTED", [tensors[-2], weights, bias], [tensors[-1]], "FullyConnectedOptions")
    return b.finish([tensors[0]], [tensors[-1]])


def elu(shape: tuple[int, ...] = (1, 4), name: str = "y") -> bytes:
    """One ELU."""
    b = ModelBuilder()
    x, y = b.tensor(shape, *Q, name="x"), b.tensor(shape, *Q, name=name)
    b.op("ELU", [x], [y])
    return b.finish([x], [y])


def two_inputs() -> bytes:
    """Outputs: the sum of inputs 'left' and 'right', int8 [2, 3], and the float input 'real' [4] quantized."""
    b = ModelBuilder()
    left, right = b.tensor((2, 3), *Q, name="left"), b.tensor((2, 3), *Q, name="right")
    real, total, quantized = b.tensor((4,), "float32", name="real"), b.tensor((2, 3), *Q), b.tensor((4,), *Q)
    b.op("ADD", [left, right], [total], "AddOptions")
    b.op("QUANTIZE", [real], [quantized])
    return b.finish([left, right, real], [total, quantized])


def float_add() -> bytes:
    """A float model."""
    b = ModelBuilder()
    x, y = b.tensor((1, 4), "float32", name="x"), b.tensor((1, 4), "float32", name="sum")
    b.op("ADD", [x, x], [y], "AddOptions")
    return b.finish([x], [y])


def float_inside() -> bytes:
    """A model that computes in float between int8 tensors, which is not supported."""
    b = ModelBuilder()
    x, z = b.tensor((1, 4), *Q, name="x"), b.tensor((1, 4), *Q, name="z")
    real, y = b.tensor((1, 4), "float32", name="real"), b.tensor((1, 4), "float32", name="sum")
    b.op("DEQUANTIZE", [x], [real])
    b.op("ADD", [real, real], [y], "AddOptions")
    b.op("QUANTIZE", [y], [z])
    return b.finish([x], [z])


def float_island(function: str = "RELU") -> bytes:
    """An int8 function of one value computed in floats: DEQUANTIZE, `function`, QUANTIZE."""
    b = ModelBuilder()
    x, f, g, y = (
        b.tensor((1, 4), *Q),
        b.tensor((1, 4), "float32"),
        b.tensor((1, 4), "float32", name="g"),
        b.tensor((1, 4), *Q),
    )
    for op, source, result in (("DEQUANTIZE", x, f), (function, f, g), ("QUANTIZE", g, y)):
        b.op(op, [source], [result])
    return b.finish([x], [y])

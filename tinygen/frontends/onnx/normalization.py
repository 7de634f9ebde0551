# SPDX-License-Identifier: Apache-2.0
"""BatchNormalization, LayerNormalization, Softmax and LogSoftmax."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinygen.frontends.onnx.build import Builder
from tinygen.frontends.onnx.elementwise import combine
from tinygen.frontends.onnx.node import OnnxNode
from tinygen.frontends.onnx.registry import handles
from tinygen.ops.movement import normal_axis
from tinygen.ops.reduction import ReducerAttrs


@handles("BatchNormalization")
def batch_normalization(b: Builder, node: OnnxNode) -> str:
    """A product and a sum for each channel, which a later pass folds into the convolution before them."""
    node.single_output()
    node.need(not node.attr("training_mode", 0), "it is in training mode: export the model for inference")
    node.need(bool(node.attr("spatial", 1)), "spatial=0 is not supported: export it with a newer operator set")
    node.need(
        all(node.input(i) in b.known for i in range(1, 5)),
        "scale, bias, mean and variance must be constant: export the model for inference",
    )
    scale, bias, mean, variance = (b.known[node.input(i)].astype(np.float64).ravel() for i in range(1, 5))
    factor = scale / np.sqrt(variance + float(node.attr("epsilon", 1e-5)))
    shape = (-1,) + (1,) * (b.rank(node.input(0)) - 2)
    product = combine(b, "MUL", node.input(0), b.floats(factor.reshape(shape)))
    return combine(b, "ADD", product, b.floats((bias - mean * factor).reshape(shape)))


@handles("LayerNormalization")
def layer_normalization(b: Builder, node: OnnxNode) -> Sequence[str]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over the dimensions from `axis` on."""
    x = node.input(0)
    axis = normal_axis(int(node.attr("axis", -1)), b.rank(x))
    axes = b.integers(range(axis, b.rank(x)))
    mean = b.emit("MEAN", [x, axes], ReducerAttrs(keep_dims=True))
    centred = b.emit("SUB", [x, mean])
    squares = b.emit("MUL", [centred, centred])
    variance = b.emit("MEAN", [squares, axes], ReducerAttrs(keep_dims=True))
    inverse = b.emit("RSQRT", [b.emit("ADD", [variance, b.floats(float(node.attr("epsilon", 1e-5)))])])
    result = combine(b, "MUL", b.emit("MUL", [centred, inverse]), node.input(1))
    result = combine(b, "ADD", result, node.input(2)) if node.has(2) else result
    return result, mean, inverse


@handles("Softmax", "LogSoftmax")
def softmax(b: Builder, node: OnnxNode) -> str:
    """Over the last dimension, which the axis is made to be."""
    x, op = node.input(0), {"Softmax": "SOFTMAX", "LogSoftmax": "LOG_SOFTMAX"}[node.op]
    rank, shape = b.rank(x), b.shape(x)
    if node.version < 13:
        axis = normal_axis(int(node.attr("axis", 1)), rank) if rank > 1 else 0
        if math.prod(shape[axis + 1 :]) != 1:  # all dimensions from the axis on count as one
            rows = b.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
            return b.reshape(b.emit(op, [rows]), shape)
    else:
        axis = normal_axis(int(node.attr("axis", -1)), rank)
    order = [*(i for i in range(rank) if i != axis), axis]
    return b.transpose(b.emit(op, [b.transpose(x, order)]), [int(i) for i in np.argsort(order)])

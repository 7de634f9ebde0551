# SPDX-License-Identifier: Apache-2.0
"""What operators compute while training: float32 of their meaning, rounded as `tensors.settled` does.

Functions of one int8 value are tables, made by the operator's reference, with the slope of the table as their gradient;
what only moves values is an index for each element, found by moving indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tinygen.ir.types import DType
from tinygen.ops import Call, all_ops
from tinygen.ops.base import Activation
from tinygen.ops.reduction import axes
from tinygen.ops.table import is_table, table_of
from tinygen.train.layers import rounded, straight_through
from tinygen.train.tensors import flat, is_float, real, rounded_steps, settled, shaped

#: The operator's outputs [samples, elements], from its inputs; constants as they are stored, absent ones as None.
Compute = Callable[[Call[Any], Sequence[Any]], tuple[Any, ...]]

#: Operators that leave values where they are, and all that only move them.
RESHAPES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
MOVES = (
    RESHAPES
    | {"TRANSPOSE", "PAD", "MIRROR_PAD", "CONCATENATION", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "PACK"}
    | {"UNPACK", "GATHER", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"}
    | {"RESIZE_NEAREST_NEIGHBOR"}
)


def compute_of(call: Call[Any]) -> Compute | None:
    """How to compute the node while training; None if training does not know its operator."""
    if call.op in MOVES:
        return moved
    if is_table(call):
        return looked_up
    return _KNOWN.get(call.op)


def limits_of(call: Call[Any]) -> tuple[float, float]:
    """The real interval of the fused activation."""
    limits: tuple[float, float] = getattr(call.attrs, "activation", Activation.NONE).limits
    return limits


def moved(call: Call[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Every element of an output is one of the inputs' or a zero point."""
    variable = [i for i, value in enumerate(call.constants) if value is None and call.has(i)]
    if call.op in RESHAPES:
        return (inputs[variable[0]],)
    places, count = list(call.constants), 1
    types = [t if t is None or c is not None else replace(t, dtype=DType.INT32, quant=None) for t, c in _pairs(call)]
    for index in variable:
        tensor = call.input(index)
        places[index] = np.arange(count, count + tensor.elements, dtype=np.int32).reshape(tensor.shape)
        count += tensor.elements
    plain = tuple(replace(t, dtype=DType.INT32, quant=None) for t in call.outputs)
    found = all_ops()[call.op].reference(replace(call, inputs=tuple(types), outputs=plain), places)
    joined = tf.concat([inputs[index] for index in variable], axis=1)
    joined = tf.pad(joined, [[0, 0], [1, 0]])
    return tuple(tf.gather(joined, np.asarray(index).ravel(), axis=1) for index in found)


def _pairs(call: Call[Any]) -> Any:
    return zip(call.inputs, call.constants, strict=True)


def looked_up(call: Call[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
    """A function of one int8 value."""
    index = next(i for i, value in enumerate(call.constants) if value is None and call.has(i))
    table = np.asarray(table_of(call)).astype(np.float32) - call.output.q.zero_point
    place = tf.cast(tf.stop_gradient(inputs[index]), tf.int32) + (call.input(index).q.zero_point + 128)
    place = tf.clip_by_value(place, 0, 255)
    slope = tf.gather(np.gradient(table).astype(np.float32), place)
    return (tf.gather(table, place) + slope * (inputs[index] - tf.stop_gradient(inputs[index])),)


def _elementwise(function: Callable[[Any, Any], Any]) -> Compute:
    def compute(call: Call[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
        values = [_operand(call, index, inputs) for index in (0, 1)]
        return (settled(call.output, flat(function(*values), call.output), limits_of(call)),)

    return compute


def _operand(call: Call[Any], index: int, inputs: Sequence[Any]) -> Any:
    """Real numbers with a dimension for samples, and as many others as the output has."""
    tensor, rank = call.input(index), len(call.output.shape)
    shape = (*[1] * (rank - len(tensor.shape)), *tensor.shape)
    if call.constants[index] is not None:
        return tensor.dequantize(call.constant(index)).astype(np.float32).reshape(1, *shape)
    return tf.reshape(real(tensor, inputs[index]), [-1, *shape])


def _softmax(call: Call[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
    rows = shaped(real(call.input(0), inputs[0]), call.input(0).shape)
    made = tf.nn.softmax(rows * call.attrs.beta) if call.op == "SOFTMAX" else tf.nn.log_softmax(rows)
    return (settled(call.output, flat(made, call.output), limits_of(call)),)


def _same_values(call: Call[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
    """QUANTIZE and DEQUANTIZE."""
    return (settled(call.output, real(call.input(0), inputs[0]), limits_of(call)),)


def _reduced(call: Call[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
    """MEAN, SUM, REDUCE_MAX and REDUCE_MIN."""
    tensor = call.input(0)
    reduce = {"MEAN": tf.reduce_mean, "SUM": tf.reduce_sum, "REDUCE_MAX": tf.reduce_max, "REDUCE_MIN": tf.reduce_min}
    values = tf.reshape(real(tensor, inputs[0]), [-1, *tensor.shape])
    made = reduce[call.op](values, axis=[axis + 1 for axis in axes(call)])
    return (settled(call.output, flat(made, call.output), limits_of(call)),)


def _pooled(call: Call[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Cells outside of the input do not count."""
    attrs, image = call.attrs, shaped(inputs[0], call.input(0).shape)
    (top, bottom, left, right), sides = attrs.padding, [[0, 0], [0, 0], [0, 0], [0, 0]]
    sides[1:3] = [[top, bottom], [left, right]]
    if call.op == "MAX_POOL_2D":
        padded = tf.pad(image, sides, constant_values=-1e9)
        made = tf.nn.max_pool2d(padded, attrs.window, attrs.stride, "VALID")
    else:
        cells = float(np.prod(attrs.window))
        counted = tf.pad(tf.ones_like(image[:1]), sides)
        sums, counts = (
            cells * tf.nn.avg_pool2d(v, attrs.window, attrs.stride, "VALID") for v in (tf.pad(image, sides), counted)
        )
        made = _mean(call, sums, tf.round(counts))
    made = flat(made, call.output)
    clip = settled if is_float(call.output) else rounded_steps
    return (clip(call.output, made, limits_of(call)),)


def _mean(call: Call[Any], sums: Any, counts: Any) -> Any:
    """`sums` / `counts`; of integers, rounded half away from 0 as they are stored, not as steps from the zero point."""
    if is_float(call.output):
        return sums / counts
    zero = float(call.output.q.zero_point)
    return rounded(straight_through(sums, tf.round(sums)) / counts + zero) - zero


_KNOWN: dict[str, Compute] = {
    "ADD": _elementwise(tf.add),
    "SUB": _elementwise(tf.subtract),
    "MUL": _elementwise(tf.multiply),
    "MAXIMUM": _elementwise(tf.maximum),
    "MINIMUM": _elementwise(tf.minimum),
    "SQUARED_DIFFERENCE": _elementwise(tf.math.squared_difference),
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "QUANTIZE": _same_values,
    "DEQUANTIZE": _same_values,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduced),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pooled),
}


def convolved(call: Call[Any], steps: Any, weights: Any) -> Any:
    """Sums of products [samples * batch, …, channels] of CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED, no bias."""
    if call.op == "FULLY_CONNECTED":
        return tf.linalg.matmul(tf.reshape(steps, [-1, call.input(1).shape[1]]), weights, transpose_b=True)
    top, bottom, left, right = call.attrs.padding
    image = tf.pad(shaped(steps, call.input(0).shape), [[0, 0], [top, bottom], [left, right], [0, 0]])
    kernel = _dilated(tf.transpose(weights, [1, 2, 3, 0]), call.attrs.dilation)
    if call.op == "DEPTHWISE_CONV_2D":
        return _depthwise(image, kernel, call)
    groups = call.input(0).shape[3] // call.input(1).shape[3]
    pieces = zip(tf.split(image, groups, axis=3), tf.split(kernel, groups, axis=3), strict=True)
    return tf.concat([tf.nn.conv2d(i, k, call.attrs.stride, "VALID") for i, k in pieces], axis=3)


def _depthwise(image: Any, kernel: Any, call: Call[Any]) -> Any:
    """`kernel` is [height, width, channels * multiplier, 1]; TensorFlow wants both strides equal."""
    channels = call.input(0).shape[3]
    height, width = kernel.shape[:2]
    kernel = tf.reshape(kernel, [height, width, channels, -1])
    (down, right), step = call.attrs.stride, min(call.attrs.stride)
    if down != right:
        step = 1
    made = tf.nn.depthwise_conv2d(image, kernel, [1, step, step, 1], "VALID")
    return made[:, :: down // step, :: right // step]


def _dilated(kernel: Any, dilation: tuple[int, int]) -> Any:
    """`kernel` [height, width, …] with zeros between its taps."""
    for axis, factor in enumerate(dilation):
        if factor > 1:
            shape = kernel.shape
            spread = tf.pad(
                tf.expand_dims(kernel, axis + 1), [[0, factor - 1 if i == axis + 1 else 0] for i in range(5)]
            )
            spread = tf.reshape(spread, [s * factor if i == axis else s for i, s in enumerate(shape)])
            kernel = spread[: (shape[0] - 1) * factor + 1] if axis == 0 else spread[:, : (shape[1] - 1) * factor + 1]
    return kernel

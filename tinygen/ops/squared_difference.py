# SPDX-License-Identifier: Apache-2.0
"""SQUARED_DIFFERENCE: (a - b)^2 with broadcasting (micro/kernels/squared_difference.cc)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.binary import Alignment, infer, int8_or_plain_int32, pointwise, two_inputs
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier, quantize_multiplier, wrap_int32
from tinygen.ops.rows import by_element
from tinygen.ops.shapes import broadcastable

LEFT_SHIFT = 7
#: The largest difference of two aligned int8 values.
LARGEST = 255 << LEFT_SHIFT


def scales_fit(call: Call[Any]) -> bool:
    """The square of the larger input scale must be less than 4096 times the output scale (squares are 32 bits wide)."""
    return call.output.dtype is not DType.INT8 or output_ratio(call) < 1


def output_ratio(call: Call[Any]) -> float:
    """Output steps in one unit of the aligned square."""
    twice = 2 * max(call.input(0).q.scale, call.input(1).q.scale)
    return twice * twice / (2.0 ** (2 * LEFT_SHIFT) * call.output.q.scale)


def alignment(call: Call[Any]) -> Alignment:
    """PrepareQuantized: all ratios in float64."""
    first, second = call.input(0).q.scale, call.input(1).q.scale
    twice = 2 * max(first, second)
    return Alignment(
        LEFT_SHIFT,
        quantize_multiplier(first / twice),
        quantize_multiplier(second / twice),
        quantize_multiplier(output_ratio(call)),
    )


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return ((given(inputs[0]) - given(inputs[1])) ** 2,)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    a, b = given(inputs[0]), given(inputs[1])
    if call.output.dtype is DType.INT32:
        difference = wrap_int32(a.astype(np.int64) - b)
        return (wrap_int32(difference * difference).astype(np.int32),)
    rule = alignment(call)
    x, y = rule.aligned(call, (a, b))
    scaled = multiply_by_quantized_multiplier((x - y) ** 2, *rule.output)
    return (clamp(scaled + call.output.q.zero_point, call.output),)


def bound(call: Call[Attrs]) -> float:
    """Half a step for the last rounding and a unit for the one before it, plus what the square makes of the 0.75 units
    (two roundings) by which the smaller scale's input may be off. It is the greater, the larger the difference: at most
    all there is, or what still gives a representable result."""
    if call.output.dtype is DType.INT32:
        return 0.0
    ratio, error = output_ratio(call), 0.75 + 1e-4
    largest = min(LARGEST, math.sqrt(256 / ratio)) + error
    return 0.5 + 1e-5 + ratio + (2 * largest + error) * error * ratio


OP = Op(
    name="SQUARED_DIFFERENCE",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(two_inputs, int8_or_plain_int32, broadcastable, scales_fit),
    bound=bound,
    pointwise=pointwise,
    rows=by_element,
)

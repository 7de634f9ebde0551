# SPDX-License-Identifier: Apache-2.0
"""ADD: the sum of two tensors, with broadcasting and a fused activation (micro/kernels/add_common.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.binary import (
    ActivationAttrs,
    Alignment,
    infer,
    integers_or_plain_int32,
    limit_noise,
    no_int32_activation,
    pointwise,
    two_inputs,
)
from tinygen.ops.numerics import (
    activation_range,
    clamp,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    wrap_int32,
)
from tinygen.ops.rows import by_element
from tinygen.ops.shapes import broadcastable
from tinygen.ops.sums import rounded
from tinygen.ops.wide import is_wide


def left_shift(call: Call[Any]) -> int:
    """How far inputs are shifted before they are brought to one scale."""
    return 15 if is_wide(call) else 20


def scales_fit(call: Call[Any]) -> bool:
    """The larger input scale must be less than 2^18 times the output scale, or 2^13 times with int16 (TFLite's
    fixed-point sum needs that)."""
    return call.output.dtype is DType.INT32 or output_ratio(call) < 0.5


def output_ratio(call: Call[Any]) -> float:
    """Output steps in one unit of the aligned sum."""
    return 2 * max(call.input(0).q.scale, call.input(1).q.scale) / (2.0 ** left_shift(call) * call.output.q.scale)


def alignment(call: Call[Any]) -> Alignment:
    """CalculateOpDataAdd: all ratios in float64."""
    first, second = call.input(0).q.scale, call.input(1).q.scale
    twice = 2 * max(first, second)
    return Alignment(
        left_shift(call),
        quantize_multiplier(first / twice),
        quantize_multiplier(second / twice),
        quantize_multiplier(output_ratio(call)),
    )


def requantize_sum(call: Call[Any], total: Array, output: tuple[int, int]) -> Array:
    """An aligned sum to the output's type, with the fused activation's clamp."""
    if call.output.dtype is DType.INT8:
        multiplier, shift = (np.array([value]) for value in output)
        scaled = rounded(total.astype(np.float64), multiplier, shift)
    else:
        scaled = multiply_by_quantized_multiplier(total, *output)
    return clamp(scaled + call.output.q.zero_point, call.output, activation_range(call.attrs.activation, call.output))


def real(call: Call[ActivationAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.clip(given(inputs[0]) + given(inputs[1]), *call.attrs.activation.limits),)


def reference(call: Call[ActivationAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    a, b = given(inputs[0]), given(inputs[1])
    if call.output.dtype is DType.INT32:
        return (wrap_int32(a.astype(np.int64) + b).astype(np.int32),)
    rule = alignment(call)
    x, y = rule.aligned(call, (a, b))
    return (requantize_sum(call, x + y, rule.output),)


def bound(call: Call[ActivationAttrs]) -> float:
    """Half a step for the last rounding. Before it, only the smaller scale's input is not aligned exactly (off by at
    most 0.82 units: two roundings and the multiplier's), and the sum is rounded to a unit of its own."""
    return 0.5 + limit_noise(call) + (2 * output_ratio(call) if call.output.dtype is not DType.INT32 else 0)


OP = Op(
    name="ADD",
    attrs=ActivationAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(two_inputs, integers_or_plain_int32, no_int32_activation, broadcastable, scales_fit),
    bound=bound,
    pointwise=pointwise,
    rows=by_element,
)

# SPDX-License-Identifier: Apache-2.0
"""TANH: the hyperbolic tangent (reference/integer_ops/tanh.h).

Zero point 0, output scale 1/128 of int8 and 1/32768 of int16, which is 2 sigmoid(2 x) - 1, interpolated in a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Fixed, Op, QuantRule, given
from tinygen.ops.fixedpoint import scaled_input, tanh
from tinygen.ops.interpolated import input_error, sigmoid_input, sigmoid_of
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier, rounding_divide_by_pot
from tinygen.ops.rules import always_pointwise, integer_in_out, same_as_input
from tinygen.ops.wide import is_wide

#: Integer bits of the argument.
INPUT_BITS = 4
#: Scales of 2^-12 times 2^n with these n are taken as powers of two where the input is int16.
SHIFTS = (0, 1)


def output_in_one(call: Call[Any]) -> bool:
    """The output must have scale 1/128 and zero point 0, or scale 1/32768 where it is int16."""
    return call.output.q.scale == (1 / 32768 if is_wide(call) else 1 / 128) and call.output.q.zero_point == 0


def resolvable(call: Call[Any]) -> bool:
    """The input's scale must be larger than 2^-27 and smaller than 8 (TFLM goes wrong at 0 from there on), with int16
    smaller than 8/3."""
    if is_wide(call):
        return 2.0**-27 < call.input(0).q.scale < 8 / 3
    return 2.0**-27 < call.input(0).q.scale < 8


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.tanh(given(inputs[0])),)


def in_int16(call: Call[Attrs], values: Array) -> Array:
    """Interpolated, 8 bits more than the table has."""
    rule = sigmoid_input(call.input(0).q.scale, SHIFTS)
    result, negative = sigmoid_of(values, rule, bits=8, largest=0xFFFF << 8)
    centred = result - (1 << 23)
    return np.where(negative, -centred - 1 + (1 << 7), centred + (1 << 7)) >> 8


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    if is_wide(call):
        return (clamp(in_int16(call, given(inputs[0])), call.output),)
    x = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
    multiplier, shift, radius = scaled_input(call.input(0).q.scale, INPUT_BITS)
    inside = np.clip(x, -radius, radius)
    result = tanh(multiply_by_quantized_multiplier(inside, multiplier, shift), INPUT_BITS)
    rounded = rounding_divide_by_pot(result, 31 - 7)
    saturated = np.where(x <= -radius, -128, np.where(x >= radius, 127, rounded))
    return (clamp(saturated, call.output),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, plus gemmlowp's error of about 2^-20.

    Of int16: twice LOGISTIC's, but for the last rounding.
    """
    if is_wide(call):
        return 4.0 + 0.448 * 2**15 * input_error(call.input(0).q.scale, SHIFTS)
    return 0.5 + 128 * 2.0**-20


OP = Op(
    name="TANH",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(integer_in_out, output_in_one, resolvable),
    quantize=QuantRule(Fixed(1 / 128, 0)),
    bound=bound,
    pointwise=always_pointwise,
)

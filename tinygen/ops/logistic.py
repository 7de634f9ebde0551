# SPDX-License-Identifier: Apache-2.0
"""LOGISTIC: 1 / (1 + exp(-x)) (reference/integer_ops/logistic.h).

Output scale 1/256 and zero point -128 of int8, scale 1/32768 and zero point 0 of int16, which interpolates in a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Fixed, Op, QuantRule, given
from tinygen.ops.fixedpoint import logistic, scaled_input
from tinygen.ops.interpolated import input_error, sigmoid_input, sigmoid_of
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier, rounding_divide_by_pot
from tinygen.ops.rules import always_pointwise, integer_in_out, same_as_input
from tinygen.ops.wide import is_wide

#: Integer bits of the argument.
INPUT_BITS = 4
#: Scales of 2^-12 times 2^n with these n are taken as powers of two where the input is int16.
SHIFTS = (0,)


def output_of_probabilities(call: Call[Any]) -> bool:
    """The output must have scale 1/256 and zero point -128, or scale 1/32768 where it is int16."""
    if is_wide(call):
        return call.output.q.scale == 1 / 32768
    return call.output.q.scale == 1 / 256 and call.output.q.zero_point == -128


def resolvable(call: Call[Any]) -> bool:
    """The input's scale must be larger than 2^-27 and smaller than 8 (TFLM goes wrong at 0 from there on), with int16
    smaller than 8/3."""
    if is_wide(call):
        return 2.0**-27 < call.input(0).q.scale < 8 / 3
    return 2.0**-27 < call.input(0).q.scale < 8


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    # of large negative arguments, exp overflows to infinity and the quotient is 0
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-given(inputs[0]))),)


def in_int16(call: Call[Attrs], values: Array) -> Array:
    """Interpolated, 9 bits more than the table has."""
    rule = sigmoid_input(call.input(0).q.scale, SHIFTS)
    result, negative = sigmoid_of(values, rule, bits=9, largest=0x7FFF << 10)
    return np.where(negative, (1 << 25) - result + (1 << 9) - 1, result + (1 << 9)) >> 10


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    if is_wide(call):
        return (clamp(in_int16(call, given(inputs[0])), call.output),)
    x = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
    multiplier, shift, radius = scaled_input(call.input(0).q.scale, INPUT_BITS)
    inside = np.clip(x, -radius, radius)
    result = logistic(multiply_by_quantized_multiplier(inside, multiplier, shift), INPUT_BITS)
    rounded = rounding_divide_by_pot(result, 31 - 8) - 128
    saturated = np.where(x <= -radius, -128, np.where(x >= radius, 127, rounded))
    return (clamp(saturated, call.output),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, or what is cut off beyond the radius, which is noticeable from scale 2 on; and gemmlowp's 2^-20.

    Of int16: 0.4 steps of interpolation, a step each of rounding and saturation, and what the input's multiplier is
    off, which moves the result by at most 0.224 of that share (the largest x times the derivative at x).
    """
    if is_wide(call):
        return 2.4 + 0.224 * 2**15 * input_error(call.input(0).q.scale, SHIFTS)
    _, _, radius = scaled_input(call.input(0).q.scale, INPUT_BITS)
    return max(0.5, 256 / (1 + math.exp(radius * call.input(0).q.scale))) + 256 * 2.0**-20


OP = Op(
    name="LOGISTIC",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(integer_in_out, output_of_probabilities, resolvable),
    quantize=QuantRule(Fixed(1 / 256, -128)),
    bound=bound,
    pointwise=always_pointwise,
)

"""LOGISTIC: 1 / (1 + exp(-x)), int8 (reference/integer_ops/logistic.h). Output scale 1/256, zero point -128."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Fixed, Op, QuantRule, given
from tinygen.ops.fixedpoint import logistic, scaled_input
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier, rounding_divide_by_pot
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input

#: Integer bits of the argument.
INPUT_BITS = 4


def output_of_probabilities(call: Call[Any]) -> bool:
    """The output must have scale 1/256 and zero point -128."""
    return call.output.q.scale == 1 / 256 and call.output.q.zero_point == -128


def resolvable(call: Call[Any]) -> bool:
    """The input's scale must be larger than 2^-27 and smaller than 8 (TFLM goes wrong at 0 from there on)."""
    return 2.0**-27 < call.input(0).q.scale < 8


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    # of large negative arguments, exp overflows to infinity and the quotient is 0
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-given(inputs[0]))),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
    multiplier, shift, radius = scaled_input(call.input(0).q.scale, INPUT_BITS)
    inside = np.clip(x, -radius, radius)
    result = logistic(multiply_by_quantized_multiplier(inside, multiplier, shift), INPUT_BITS)
    rounded = rounding_divide_by_pot(result, 31 - 8) - 128
    saturated = np.where(x <= -radius, -128, np.where(x >= radius, 127, rounded))
    return (clamp(saturated, call.output),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, or what is cut off beyond the radius, which is noticeable from scale 2 on; and gemmlowp's 2^-20."""
    _, _, radius = scaled_input(call.input(0).q.scale, INPUT_BITS)
    return max(0.5, 256 / (1 + math.exp(radius * call.input(0).q.scale))) + 256 * 2.0**-20


OP = Op(
    name="LOGISTIC",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, output_of_probabilities, resolvable),
    quantize=QuantRule(Fixed(1 / 256, -128)),
    bound=bound,
    pointwise=always_pointwise,
)

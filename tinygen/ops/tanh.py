"""TANH: the hyperbolic tangent, int8 (reference/integer_ops/tanh.h). Output scale 1/128, zero point 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Fixed, Op, QuantRule, given
from tinygen.ops.fixedpoint import scaled_input, tanh
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier, rounding_divide_by_pot
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input

#: Integer bits of the argument.
INPUT_BITS = 4


def output_in_one(call: Call[Any]) -> bool:
    """The output must have scale 1/128 and zero point 0."""
    return call.output.q.scale == 1 / 128 and call.output.q.zero_point == 0


def resolvable(call: Call[Any]) -> bool:
    """The input's scale must be larger than 2^-27 and smaller than 8 (TFLM goes wrong at 0 from there on)."""
    return 2.0**-27 < call.input(0).q.scale < 8


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.tanh(given(inputs[0])),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
    multiplier, shift, radius = scaled_input(call.input(0).q.scale, INPUT_BITS)
    inside = np.clip(x, -radius, radius)
    result = tanh(multiply_by_quantized_multiplier(inside, multiplier, shift), INPUT_BITS)
    rounded = rounding_divide_by_pot(result, 31 - 7)
    saturated = np.where(x <= -radius, -128, np.where(x >= radius, 127, rounded))
    return (clamp(saturated, call.output),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, plus gemmlowp's error of about 2^-20."""
    return 0.5 + 128 * 2.0**-20


OP = Op(
    name="TANH",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, output_in_one, resolvable),
    quantize=QuantRule(Fixed(1 / 128, 0)),
    bound=bound,
    pointwise=always_pointwise,
)

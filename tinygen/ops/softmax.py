# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX over the last dimension: exp(beta x) / sum(exp(beta x)) (reference/softmax.h).

Of int8, the output has scale 1/256 and zero point -128. Differences to the row's maximum go through gemmlowp's exp in
Q5.26, sums are Q12.19. Of int16, it has scale 1/32768; exp and the reciprocal are interpolated in tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Fixed, Op, QuantRule, given
from tinygen.ops.fixedpoint import exp_on_negative_values, leading_zeros, reciprocal, scaled_input
from tinygen.ops.interpolated import look_up_between, table_of_function
from tinygen.ops.numerics import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from tinygen.ops.rows import by_pixel
from tinygen.ops.rules import integer_in_out, same_as_input
from tinygen.ops.wide import is_wide

#: Integer bits of the exponent's argument and of the sum.
DIFFERENCE_BITS, SUM_BITS = 5, 12
#: int16 tables of exp for -10..0 and of 1 / (1 + x) for 0..1.
EXPS = table_of_function(10 / 65535, 32767, 2 / 65535, np.exp)
RECIPROCALS = table_of_function(1 / 65535, -32768, 2 / 65535, lambda x: 1 / (1 + x))


@dataclass(frozen=True)
class SoftmaxAttrs(Attrs):
    """The factor of the exponent."""

    beta: float = 1.0


def has_rows(call: Call[Any]) -> bool:
    """The input must have at least one dimension, and rows (the last dimension) of at most 4095 elements."""
    shape = call.input(0).shape
    return bool(shape) and shape[-1] < 1 << SUM_BITS


def output_of_probabilities(call: Call[Any]) -> bool:
    """The output must have scale 1/256 and zero point -128, or scale 1/32768 where it is int16."""
    if is_wide(call):
        return call.output.q.scale == 1 / 32768
    return call.output.q.scale == 1 / 256 and call.output.q.zero_point == -128


def resolvable(call: Call[SoftmaxAttrs]) -> bool:
    """The input's scale times beta must be larger than 2^-26, with int16 less than 4."""
    scale: float = call.attrs.beta * call.input(0).q.scale
    return scale > 2.0**-26 and (scale < 4 or not is_wide(call))


def real(call: Call[SoftmaxAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    scaled = call.attrs.beta * given(inputs[0])
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True),)


def exp_table(scale: float) -> Array:
    """exp(-scale * i) for i in 0..255 as int64 in Q0.31; 0 beyond the range of Q5.26, where TFLite leaves terms out."""
    multiplier, shift, radius = scaled_input(scale, DIFFERENCE_BITS)
    below = np.arange(256)
    argument = multiply_by_quantized_multiplier(-np.minimum(below, radius), multiplier, shift)
    return np.where(below <= radius, exp_on_negative_values(argument, DIFFERENCE_BITS), 0)


def difference_rule(call: Call[SoftmaxAttrs]) -> tuple[int, int]:
    """(multiplier, shift) under which a difference of -10 becomes -65535."""
    return quantize_multiplier(call.input(0).q.scale * call.attrs.beta / (10.0 / 65535.0))


def in_int16(call: Call[SoftmaxAttrs], x: Array) -> Array:
    """SoftmaxInt16 of reference/softmax.h."""
    below = multiply_by_quantized_multiplier(x - x.max(axis=-1, keepdims=True), *difference_rule(call))
    exps = look_up_between(EXPS, np.clip(below + 32767, -32768, 32767))
    sums = exps.sum(axis=-1, keepdims=True)
    zeros = leading_zeros(sums)
    one_to_two = ((sums << (zeros - 1)) + (1 << 13)) >> 14
    reciprocals = look_up_between(RECIPROCALS, np.clip(one_to_two - (1 << 15) - (1 << 16), -32768, 32767))
    shift = 31 - zeros
    return np.asarray(np.clip((exps * reciprocals + (np.int64(1) << (shift - 1))) >> shift, 0, 32767))


def reference(call: Call[SoftmaxAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0]).astype(np.int64)
    if is_wide(call):
        return (in_int16(call, x).astype(np.int16),)
    exps = exp_table(call.attrs.beta * call.input(0).q.scale)[x.max(axis=-1, keepdims=True) - x]
    sums = rounding_divide_by_pot(exps, SUM_BITS).sum(axis=-1, keepdims=True)
    scale, exponent = reciprocal(sums, SUM_BITS)
    # where the exponent passes 31 (rows of more than 511 elements) TFLM stops; the quotient is below a half, thus 0
    product = saturating_rounding_doubling_high_mul(scale, exps)
    quotient = np.where(exponent > 8, 0, rounding_divide_by_pot(product, np.minimum(exponent + 23, 31)))
    return (np.minimum(quotient - 128, 127).astype(np.int8),)


def bound(call: Call[SoftmaxAttrs]) -> float:
    """Half a step, plus 256 steps times the relative error of the sum: 2^-20 of rounding and exp(-15.5) per element.

    Of int16, each exponential is off by up to 2 steps (interpolation, and exp(-10) for all that is less), their sum by
    as much for each, and the reciprocal by 2 steps.
    """
    if is_wide(call):
        return 4 + 2 * call.input(0).shape[-1]
    return 0.5 + 256 * (call.input(0).shape[-1] * (2.0**-20 + 2e-7) + 2e-6)


OP = Op(
    name="SOFTMAX",
    attrs=SoftmaxAttrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(integer_in_out, has_rows, output_of_probabilities, resolvable),
    quantize=QuantRule(Fixed(1 / 256, -128)),
    bound=bound,
    rows=by_pixel,
)

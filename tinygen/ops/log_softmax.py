# SPDX-License-Identifier: Apache-2.0
"""LOG_SOFTMAX over the last dimension: x - log(sum(exp x)), int8 or float32 (reference/log_softmax.h).

int8 output has scale 1/16 and zero point 127; the arithmetic is gemmlowp's (see softmax.py), with a logarithm in Q5.26.
Of floats, differences, exponentials, their sum and its logarithm are each rounded to float32, as in TFLM, whose expf
and logf are the C library's; here they are the nearest floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops import float_math
from tinygen.ops.base import Call, Fixed, Op, QuantRule, given
from tinygen.ops.fixedpoint import log_of_at_least_one, scaled_input
from tinygen.ops.numerics import (
    INT32_MIN,
    clamp,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from tinygen.ops.rows import by_pixel
from tinygen.ops.rules import int8_in_out, same_as_input
from tinygen.ops.softmax import DIFFERENCE_BITS, SUM_BITS, exp_table, has_rows

#: Integer bits of the output.
OUTPUT_BITS = 4


def is_float(call: Call[Any]) -> bool:
    return call.input(0).dtype is DType.FLOAT32 and call.output.dtype is DType.FLOAT32


def int8_or_float(call: Call[Any]) -> bool:
    """Input and output must be float32, or int8 with per-tensor scale and zero point."""
    return is_float(call) or int8_in_out(call)


def output_of_logarithms(call: Call[Any]) -> bool:
    """An int8 output must have scale 1/16 and zero point 127."""
    return is_float(call) or (call.output.q.scale == 1 / 16 and call.output.q.zero_point == 127)


def resolvable(call: Call[Any]) -> bool:
    """An int8 input's scale must be larger than 2^-26."""
    return is_float(call) or call.input(0).q.scale > 2.0**-26


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x = given(inputs[0])
    x = x - x.max(axis=-1, keepdims=True)
    return (x - np.log(np.exp(x).sum(axis=-1, keepdims=True)),)


def divisor(scale: float) -> tuple[int, int]:
    """(multiplier, shift) back from Q5.26 to input steps: PreprocessLogSoftmaxScalingExp of quantization_util.cc."""
    multiplier, shift, _ = scaled_input(scale, DIFFERENCE_BITS)
    return quantize_multiplier(2.0 ** (31 - shift) / multiplier)


def of_integers(call: Call[Attrs], x: Array) -> Array:
    scale = call.input(0).q.scale
    multiplier, shift, radius = scaled_input(scale, DIFFERENCE_BITS)
    below = x.max(axis=-1, keepdims=True) - x
    sums = rounding_divide_by_pot(exp_table(scale)[below], SUM_BITS).sum(axis=-1, keepdims=True)
    log_sum = log_of_at_least_one(sums, SUM_BITS, DIFFERENCE_BITS)
    lowest = np.maximum(multiply_by_quantized_multiplier(log_sum + INT32_MIN, *divisor(scale)), -radius - 1)
    difference = multiply_by_quantized_multiplier(-np.minimum(below, radius), multiplier, shift)
    result = rounding_divide_by_pot(difference - log_sum, 31 - DIFFERENCE_BITS - OUTPUT_BITS) + 127
    return clamp(np.where(-below > lowest, result, -128), call.output)


def of_floats(x: Array) -> Array:
    with np.errstate(all="ignore"):
        difference = x - np.fmax(x, np.finfo(np.float32).min).max(axis=-1, keepdims=True)
        powers = float_math.exp(difference.astype(np.float64)).astype(np.float32)
        # one after the other, as numpy's own sum does not do
        total = np.add.accumulate(powers, axis=-1, dtype=np.float32)[..., -1:]
        return np.asarray(difference - float_math.log(total.astype(np.float64)).astype(np.float32))


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0])
    return (of_floats(x) if is_float(call) else of_integers(call, x.astype(np.int64)),)


def bound(call: Call[Attrs]) -> float:
    """Half a step and the sum's rounding; or, next to the smallest output, what is cut off beyond the radius."""
    _, _, radius = scaled_input(call.input(0).q.scale, DIFFERENCE_BITS)
    cut = 255 - 16 * (radius + 1) * call.input(0).q.scale
    return max(0.5, cut) + 16 * (call.input(0).shape[-1] * (2.0**-20 + 2e-7) + 2e-6)


OP = Op(
    name="LOG_SOFTMAX",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_or_float, has_rows, output_of_logarithms, resolvable),
    quantize=QuantRule(Fixed(16 / 256, 127)),
    bound=bound,
    rows=by_pixel,
)

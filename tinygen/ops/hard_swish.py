# SPDX-License-Identifier: Apache-2.0
"""HARD_SWISH: x * clamp(x + 3, 0, 6) / 6, int8, in 16-bit fixed point (reference/hard_swish.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import clamp, quantize_multiplier
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input

INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1


def ratios(call: Call[Any]) -> tuple[float, float]:
    """128ths of an input step in output steps, and in 32768ths of 3 (a step that float32 holds exactly)."""
    fine = call.input(0).q.scale / 128
    return fine / call.output.q.scale, fine / (3 / 32768)


def moderate_scales(call: Call[Any]) -> bool:
    """The input's scale must be between 2^-9 and 2^7 times the output's, and between 2^-21 and 2^21."""
    to_output, _ = ratios(call)
    return 2.0**-16 < to_output < 1 and 2.0**-21 < call.input(0).q.scale < 2.0**21


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x = given(inputs[0])
    return (x * np.clip(x + 3, 0, 6) / 6,)


def short_multiplier(ratio: float) -> tuple[int, int]:
    """(16-bit multiplier, exponent): DownScaleInt32ToInt16Multiplier of common.h."""
    multiplier, exponent = quantize_multiplier(ratio)
    return min((multiplier + (1 << 15)) >> 16, INT16_MAX), exponent


def rounding_high_mul(a: Array, b: int) -> Array:
    """gemmlowp SaturatingRoundingDoublingHighMul of int16: a * b / 2^15, halves up."""
    return np.asarray((a * b + (1 << 14)) >> 15)


def shift_left(values: Array, bits: int) -> Array:
    """Saturated at int16."""
    return np.asarray(np.clip(values << bits, INT16_MIN, INT16_MAX))


def shift_right(values: Array, bits: int) -> Array:
    """Rounded, halves away from zero."""
    half = (1 << bits) >> 1
    return np.where(values >= 0, (values + half) >> bits, -((half - values) >> bits))


def relu_ish(values: Array, multiplier: int, exponent: int) -> Array:
    """clamp(x + 3, 0, 6) / 6 in Q0.15; the last bit of a left shift comes after the product, where it may saturate."""
    if exponent > 0:
        values = shift_left(values, exponent - 1)
    values = rounding_high_mul(values, multiplier)
    values = shift_left(values, 1) if exponent > 0 else shift_right(values, -exponent)
    return np.asarray((values + (1 << 15)) >> 1)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    to_output, to_three = (short_multiplier(r) for r in ratios(call))
    fine = (given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point) << 7
    product = relu_ish(fine, *to_three) * rounding_high_mul(fine, to_output[0])
    # C's division truncates
    preshift = np.where(product >= 0, product >> 15, -((-product) >> 15))
    result = shift_right(preshift, -to_output[1]) + call.output.q.zero_point
    return (clamp(result.astype(np.int16), call.output),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, plus three 16-bit roundings, which count by the final right shift."""
    return 0.5 + 4 * 2.0 ** quantize_multiplier(ratios(call)[0])[1]


OP = Op(
    name="HARD_SWISH",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, moderate_scales),
    bound=bound,
    pointwise=always_pointwise,
)

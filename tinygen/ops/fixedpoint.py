# SPDX-License-Identifier: Apache-2.0
"""gemmlowp's fixed-point functions in numpy, bit for bit, on raw integers.

A number in Qm.(31-m) is an int64 array `raw` that stands for raw / 2^(31-m); all values fit int32. Sources: gemmlowp's
fixedpoint/fixedpoint.h, and CalculateInputRadius and PreprocessSoftmaxScaling of TFLite's quantization_util.cc,
GetReciprocal, GetInvSqrtQuantizedMultiplierExp and log_x_for_x_greater_than_or_equal_to_1 of its common.h.
"""

from __future__ import annotations

import math

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops.numerics import (
    INT32_MAX,
    INT32_MIN,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)

#: One in Q0.31, which cannot hold it exactly.
ONE = INT32_MAX

_high_mul = saturating_rounding_doubling_high_mul

#: exp(-2^k) in Q0.31 for k from -2 to 4.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def saturating_shift_left(raw: Array, bits: int) -> Array:
    """SaturatingRoundingMultiplyByPOT with a positive exponent: raw * 2^bits, saturated at int32."""
    threshold = (1 << (31 - bits)) - 1
    shifted = np.where(raw > threshold, INT32_MAX, np.asarray(raw, np.int64) << bits)
    return np.where(raw < -threshold, INT32_MIN, shifted)


def rounding_half_sum(a: Array, b: Array | int) -> Array:
    """(a + b) / 2, halves away from zero."""
    total = np.asarray(a, np.int64) + b
    return np.where(total >= 0, (total + 1) >> 1, -((1 - total) >> 1))


def exp_on_negative_values(a: Array, integer_bits: int) -> Array:
    """exp of `a` <= 0 in Q(integer_bits), as Q0; integer_bits is at most 5."""
    a = np.asarray(a, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    part = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(saturating_shift_left(part, integer_bits))
    whole = part - a
    for exponent, factor in zip(range(-2, integer_bits), _EXP_OF_POWERS, strict=False):
        chosen = whole & (1 << (fraction_bits + exponent)) != 0
        result = np.where(chosen, _high_mul(result, factor), result)
    return np.where(a == 0, ONE, result)


def _exp_near_zero(a: Array) -> Array:
    """exp of `a` in [-1/4, 0), Q0 to Q0: a Taylor series around -1/8."""
    constant, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = _high_mul(x, x)
    x3, x4 = _high_mul(x2, x), _high_mul(x2, x2)
    tail = _high_mul(rounding_divide_by_pot(x4, 2) + x3, third) + x2
    return np.asarray(constant + _high_mul(x + rounding_divide_by_pot(tail, 1), constant))


def _reciprocal_of_half(a: Array) -> Array:
    """2 / (1 + a) in Q2 for `a` in [0, 1] as Q0: Newton-Raphson, three steps."""
    half = rounding_half_sum(a, ONE)
    x = 1515870810 + _high_mul(half, -1010580540)
    for _ in range(3):
        x = x + saturating_shift_left(_high_mul(x, (1 << 29) - _high_mul(half, x)), 2)
    return np.asarray(x)


def one_over_one_plus_x(a: Array) -> Array:
    """1 / (1 + a) for `a` in [0, 1], Q0 to Q0."""
    return saturating_shift_left(_reciprocal_of_half(a), 1)


def one_minus_x_over_one_plus_x(a: Array) -> Array:
    """(1 - a) / (1 + a) for `a` in [0, 1], Q0 to Q0."""
    return saturating_shift_left(_reciprocal_of_half(a) - (1 << 29), 2)


def logistic(a: Array, integer_bits: int) -> Array:
    """1 / (1 + exp(-a)) of `a` in Q(integer_bits), as Q0."""
    a = np.asarray(a, np.int64)
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, ONE - positive))


def tanh(a: Array, integer_bits: int) -> Array:
    """tanh of `a` in Q(integer_bits), as Q0."""
    a = np.asarray(a, np.int64)
    positive = one_minus_x_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits + 1))
    return np.where(a == 0, 0, np.where(a > 0, positive, -positive))


def scaled_input(scale: float, integer_bits: int) -> tuple[int, int, int]:
    """(multiplier, left shift, radius) that bring an integer of real step `scale` to Q(integer_bits).

    Inputs whose magnitude exceeds the radius saturate and must not be multiplied.
    """
    real = min(scale * 2.0 ** (31 - integer_bits), 2.0**31 - 1)
    # with a shift of 31 the radius is 0: nothing but zero is ever multiplied, by whatever
    multiplier, shift = quantize_multiplier(real) if real < 2**30 else (1 << 30, 31)
    radius = math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**shift)
    return multiplier, min(shift, 30), radius


def leading_zeros(values: Array) -> Array:
    """CountLeadingZeros of positive int32 values."""
    # frexp is exact: the exponent of 1 is 1, so 32 bits less it are the zeros before the first one
    return 32 - np.frexp(np.asarray(values, np.float64))[1].astype(np.int64)


def reciprocal(x: Array, integer_bits: int) -> tuple[Array, Array]:
    """GetReciprocal: (raw Q0, exponent) of 1 / `x` for `x` >= 1 in Q(integer_bits): raw / 2^31 / 2^exponent."""
    zeros = leading_zeros(x)
    return one_over_one_plus_x(wrap_int32((np.asarray(x, np.int64) << zeros) - (1 << 31))), integer_bits - zeros


def log_of_at_least_one(x: Array, input_bits: int, output_bits: int) -> Array:
    """log of `x` >= 1 in Q(input_bits), as Q(output_bits): log_x_for_x_greater_than_or_equal_to_1 of common.h.

    The exponent, adjusted to the nearer of two brackets, times log 2, plus a rational approximation around 2^-1/4.
    """
    sqrt_half, fourth_root, log_2 = 1518500250, 1805811301, 1488522236
    bits = output_bits + 1
    quarter = 1 << (29 - bits)
    zeros = leading_zeros(x)
    r_a = saturating_shift_left(_high_mul(np.asarray(x, np.int64) << (zeros - 1), sqrt_half), 1)
    power_a = ((input_bits - zeros) << (31 - bits)) + quarter
    zeros_b = leading_zeros(_high_mul(x, sqrt_half)) - 1
    r_b = np.minimum(np.asarray(x, np.int64) << zeros_b, INT32_MAX)
    power_b = ((input_bits - zeros_b) << (31 - bits)) - quarter
    r, power = np.minimum(r_a, r_b), np.maximum(power_a, power_b)
    p, q = rounding_half_sum(r, fourth_root), 2 * (r - fourth_root)
    square = _high_mul(q, q)
    numerator = _high_mul(q, r) + _high_mul(_high_mul(q, square), 117049297)
    denominator = _high_mul(p, 1057819769 + q + _high_mul(square, 127690142)) + _high_mul(q, 638450708)
    quotient = _high_mul(rounding_divide_by_pot(numerator, bits), one_over_one_plus_x(denominator))
    return saturating_shift_left(_high_mul(power, log_2) + quotient, 1)


def inverse_sqrt(x: Array) -> tuple[Array, Array]:
    """(multiplier, shift) of 1 / sqrt(x) for integers `x` >= 0: multiplier * 2^(shift - 31); 0 counts as 1.

    GetInvSqrtQuantizedMultiplierExp of common.h: five steps of Newton and Raphson in Q3, starting at 1.
    """
    x = np.asarray(x, np.int64)
    large = x >= 1 << 29
    scaled = np.where(large, x // 4, np.maximum(x, 2))
    pairs = (leading_zeros(scaled) - 1) // 2 - 1
    right = 11 + large - pairs
    value = (scaled << (2 * pairs)) >> 1
    half, three_halves = rounding_divide_by_pot(value, 1), (1 << 28) + (1 << 27)
    root = np.full_like(value, 1 << 28)
    for _ in range(5):
        cube = saturating_shift_left(_high_mul(_high_mul(root, root), root), 6)
        root = saturating_shift_left(_high_mul(root, three_halves) - _high_mul(cube, half), 3)
    multiplier = _high_mul(root, 1518500250) << np.maximum(-right, 0)
    return np.where(x <= 1, INT32_MAX, multiplier), np.where(x <= 1, 0, -np.maximum(right, 0))

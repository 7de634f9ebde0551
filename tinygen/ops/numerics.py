# SPDX-License-Identifier: Apache-2.0
"""TFLite's fixed-point arithmetic, in numpy, exact for every input.

Source: tensorflow/lite/kernels/internal/{common.cc,quantization_util.cc,common.h} and gemmlowp's fixedpoint.h, with
two roundings (TFLITE_SINGLE_ROUNDING off), which is what TFLM's reference kernels compute. All vectors are int64 unless
said otherwise; results fit the C types named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.types import Array, Quant, TensorType
from tinygen.ops.base import Activation

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """`real` as (multiplier, shift): multiplier * 2^(shift - 31), multiplier in [2^30, 2^31) or 0.

    QuantizeMultiplier of quantization_util.cc: frexp, round half away from zero, flush to zero below 2^-32.
    """
    multipliers, shifts = quantize_multipliers((real,))
    return int(multipliers[0]), int(shifts[0])


def quantize_multipliers(reals: Sequence[float]) -> tuple[Array, Array]:
    """`quantize_multiplier` of each of `reals`, as two arrays of int64."""
    fractions, exponents = np.frexp(np.asarray(reals, np.float64))
    multipliers = round_half_away(fractions * 2**31).astype(np.int64)
    carried = multipliers == 2**31
    multipliers, shifts = np.where(carried, 2**30, multipliers), exponents.astype(np.int64) + carried
    if shifts.max(initial=0) > 30:
        real = reals[int(shifts.argmax())]
        raise UnsupportedError(f"a scale ratio of {real:g} is too large for fixed-point arithmetic (at most 2^30)")
    flushed = shifts < -31
    return np.where(flushed, 0, multipliers), np.where(flushed, 0, shifts)


def round_half_away(values: Array | np.floating[Any]) -> Array:
    """C's round(): to the nearest integer, halves away from zero; keeps the float type.

    Not floor(|x| + 0.5): that sum itself rounds for 0.49999999999999994.
    """
    values = np.asarray(values)
    whole = np.trunc(values)
    return np.asarray(whole + np.copysign(np.abs(values - whole) >= 0.5, values), dtype=values.dtype)


def saturating_rounding_doubling_high_mul(a: Array, b: Array | int) -> Array:
    """gemmlowp SaturatingRoundingDoublingHighMul: (a * b + nudge) / 2^31 truncated, for int32 values."""
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    # C nudges negative products by 1 - 2^30 and truncates towards zero: the same as this, which floors
    high = np.asarray(a * b)
    high += 1 << 30
    high >>= 31
    return np.asarray(np.minimum(high, INT32_MAX))  # what saturates is -2^31 times itself alone


def rounding_divide_by_pot(x: Array, exponent: Array | int) -> Array:
    """gemmlowp RoundingDivideByPOT: x / 2^exponent, halves away from zero; exponent in 0..31."""
    x, exponent = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    return np.asarray((x >> exponent) + (remainder > threshold))


def multiply_by_quantized_multiplier(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """int32 x * multiplier * 2^(shift - 31) with TFLite's two roundings. Arguments broadcast.

    The left shift wraps as the int32 product of the reference does where it overflows.
    """
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    shifted = wrap_int32(np.asarray(x, np.int64) << left)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), right)


def wrap_int32(x: Array) -> Array:
    """`x` modulo 2^32, as the int32 it becomes."""
    return ((np.asarray(x, np.int64) + 2**31) & 0xFFFFFFFF) - 2**31


def activation_range(activation: Activation, output: TensorType) -> tuple[int, int]:
    """The integers that a fused activation clamps to: CalculateActivationRangeQuantized of kernel_util.cc."""
    low, high = output.dtype.limits
    real_low, real_high = activation.limits
    if math.isfinite(real_low):
        low = max(low, quantize_scalar(real_low, output.q))
    if math.isfinite(real_high):
        high = min(high, quantize_scalar(real_high, output.q))
    return low, high


def quantize_scalar(real: float, quant: Quant) -> int:
    """zero_point + round(real / scale), in float32 as kernel_util.cc's Quantize does; not clamped."""
    return quant.zero_point + int(round_half_away(np.float32(real) / np.float32(quant.scale)))


def clamp(values: Array, output: TensorType, limits: tuple[int, int] | None = None) -> Array:
    """`values` clipped to `limits` (default: the range of the type) and narrowed to the output's element type."""
    low, high = output.dtype.limits if limits is None else limits
    # min(max(v, low), high) in this order, as TFLite does, also where low > high
    held = np.asarray(np.maximum(values, low))
    np.minimum(held, high, out=held)
    return held.astype(output.dtype.numpy)


def table_from_float32(source: TensorType, target: TensorType, transform: Callable[[Array], Array]) -> Array:
    """A 256-entry int8 table of float function `transform`, entry i for q = i - 128.

    PopulateLookupTable of TFLM's elu.cc: everything in float32, rounded half away from zero.
    """
    q = np.arange(-128, 128, dtype=np.float32)
    dequantized = np.float32(source.q.scale) * (q - np.float32(source.q.zero_point))
    with np.errstate(all="ignore"):
        inverse = np.float32(1) / np.float32(target.q.scale)
        rescaled = round_half_away(np.asarray(transform(dequantized), np.float32) * inverse)
    wide = np.nan_to_num(rescaled, nan=0.0, posinf=1e9, neginf=-1e9).astype(np.float64) + target.q.zero_point
    return clamp(wide, target)


def look_up(table: Array, values: Array) -> Array:
    """`table[q + 128]` for each int8 q of `values`."""
    return np.asarray(table)[values.astype(np.int64) + 128]

# SPDX-License-Identifier: Apache-2.0
"""Sums of integer products in floating point, where that is exact, and their requantization: fast, and the same bits.

BLAS multiplies matrices of floats many times faster than numpy does integers; integers below 2^24 are exact in float32,
and below 2^53 in float64, in whatever order they are added.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call
from tinygen.ops.convolution import bias_of, channel_sums, input_of, limits_of, multipliers_of, rounds_once, weights_of
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier
from tinygen.ops.wide import multiply_wide

#: How far beyond int8 a result may lie, zero point and all, before its value does not matter.
FAR = 512
#: More than what float32 loses of a product, up to `FAR`: the relative error of two roundings is below 2^-22.
LOST = FAR * 2.0**-22


def kind_of(call: Call[Any], weights: Array) -> Any:
    """float32 or float64, whichever holds all sums exactly; `weights` are integers of the weights' shape, centred."""
    values = 1 << (8 * input_of(call).dtype.bytes)
    largest = channel_sums(call, np.abs(weights, dtype=np.int64)) * float(values) + np.abs(bias_of(call))
    return np.float32 if largest.max() < 2**24 else np.float64


def centred(call: Call[Any], values: Array, kind: Any) -> Real:
    """Input [N, H, W, C] less its zero point, padded with zeros, as floats of this `kind`."""
    (top, bottom, left, right), (batch, height, width, channels) = call.attrs.padding, values.shape
    padded = np.zeros((batch, top + height + bottom, left + width + right, channels), kind)
    inside = padded[:, top : top + height, left : left + width]
    np.subtract(values, kind(input_of(call).q.zero_point), out=inside, dtype=kind)
    return padded


def windows(call: Call[Any], padded: Real) -> Real:
    """The input's windows as a view [N, out_h, out_w, kh, kw, channels] of the padded input [N, H, W, channels]."""
    (stride_h, stride_w), (dilation_h, dilation_w) = call.attrs.stride, call.attrs.dilation
    (_, out_h, out_w, _), (_, kernel_h, kernel_w, _) = call.output.shape, weights_of(call).shape
    n, y, x, c = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (len(padded), out_h, out_w, kernel_h, kernel_w, padded.shape[3]),
        (n, y * stride_h, x * stride_w, y * dilation_h, x * dilation_w, c),
        writeable=False,
    )


def requantize(call: Call[Any], sums: Array) -> Array:
    """Sums [..., channels], bias included, to the output's type, with the fused activation's clamp.

    `sums` are integers, or floats that hold integers.
    """
    multipliers, shifts = multipliers_of(call)
    if rounds_once(call):
        scaled = multiply_wide(sums.astype(np.int64), multipliers, shifts)
    elif sums.dtype.kind == "f" and call.output.dtype is DType.INT8:
        scaled = rounded(np.ascontiguousarray(sums), multipliers, shifts)
    else:
        scaled = multiply_by_quantized_multiplier(sums.astype(np.int64), multipliers, shifts)
    scaled += call.output.q.zero_point
    return clamp(scaled, call.output, limits_of(call))


def rounded(sums: Real, multipliers: Array, shifts: Array) -> Real:
    """`multiply_by_quantized_multiplier` of integers in floats, for results within `FAR`; others only lie beyond it.

    The fixed-point product rounds twice: half a unit in front of the right shift, and once behind it. So what lies
    further than that from the middle between two integers is the nearest integer, and only the rest is computed so.
    """
    estimate = sums * np.ldexp(multipliers.astype(np.float64), shifts - 31).astype(sums.dtype)
    scaled: Real = np.rint(estimate)
    estimate -= scaled
    np.abs(estimate, out=estimate)
    sure = 0.5 - LOST - np.ldexp(0.5, shifts)
    near = np.flatnonzero((estimate >= sure.astype(sums.dtype)).ravel())
    channel = near % len(multipliers)
    exact = sums.reshape(-1)[near].astype(np.int64)
    scaled.reshape(-1)[near] = multiply_by_quantized_multiplier(exact, multipliers[channel], shifts[channel])
    return scaled

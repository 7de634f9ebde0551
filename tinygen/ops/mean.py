# SPDX-License-Identifier: Apache-2.0
"""MEAN along axes (micro/kernels/reduce_common.cc, QuantizedMeanOrSum of reference/reduce.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import quantize_multiplier
from tinygen.ops.reduction import ReducerAttrs, axes, constant_axes, count, infer, ratio, requantized_sum
from tinygen.ops.rules import integer_in_out
from tinygen.ops.wide import is_wide


def sums_fit(call: Call[Any]) -> bool:
    """Less than 2^23 elements may be averaged, and the input scale must be less than 2^15 times the output scale (of
    int16 2^15 elements and 2^14 times)."""
    elements, factor = (2**15, 2.0**14) if is_wide(call) else (2**23, 2.0**15)
    return count(call) < elements and ratio(call) < factor


def requantization(call: Call[Any]) -> tuple[int, int]:
    """(multiplier, shift) of the ratio of scales with the division by the number of elements folded in.

    The multiplier is divided as an integer, truncated, after as large a left shift as keeps it below 2^31.
    """
    multiplier, shift = quantize_multiplier(ratio(call))
    elements = count(call)
    left = min(elements.bit_length() - 1, 31 + shift)
    return (multiplier << left) // elements, shift - left


def real(call: Call[ReducerAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.mean(given(inputs[0]), axis=axes(call), keepdims=call.attrs.keep_dims),)


def reference(call: Call[ReducerAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (requantized_sum(call, inputs, requantization(call)),)


def bound(call: Call[ReducerAttrs]) -> float:
    """Half a step for the last rounding, and half a unit of what the right shift divides by 2^s for the one before it,
    where 2^-s is at most four times the real multiplier (which is 2^-2 or more of its fixed-point range)."""
    return 0.5 + (2e-4 if is_wide(call) else 1e-5) + min(2 * ratio(call) / count(call), 0.25)


OP = Op(
    name="MEAN",
    attrs=ReducerAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(constant_axes, integer_in_out, sums_fit),
    bound=bound,
)

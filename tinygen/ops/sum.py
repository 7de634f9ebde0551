# SPDX-License-Identifier: Apache-2.0
"""SUM along axes (micro/kernels/reduce_common.cc, QuantizedMeanOrSum of reference/reduce.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import quantize_multiplier
from tinygen.ops.reduction import ReducerAttrs, axes, constant_axes, count, infer, ratio, requantized_sum
from tinygen.ops.rules import int8_in_out


def sums_fit(call: Call[Any]) -> bool:
    """The number of elements summed, times the ratio of input to output scale if above 1, must be less than 2^22."""
    return count(call) * max(ratio(call), 1.0) < 2.0**22


def requantization(call: Call[Any]) -> tuple[int, int]:
    """(multiplier, shift) of the ratio of scales."""
    return quantize_multiplier(ratio(call))


def real(call: Call[ReducerAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.sum(given(inputs[0]), axis=axes(call), keepdims=call.attrs.keep_dims),)


def reference(call: Call[ReducerAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (requantized_sum(call, inputs, requantization(call)),)


def bound(call: Call[ReducerAttrs]) -> float:
    """Half a step for the last rounding, and half a unit of what the right shift divides by 2^s for the one before it,
    where 2^-s is at most twice the ratio of scales."""
    return 0.5 + 1e-5 + min(ratio(call), 0.25)


OP = Op(
    name="SUM",
    attrs=ReducerAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(constant_axes, int8_in_out, sums_fit),
    bound=bound,
)

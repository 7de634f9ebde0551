# SPDX-License-Identifier: Apache-2.0
"""QUANTIZE: floats to int8 or int16, or integers to another scale, zero point or type (micro/kernels/quantize.cc).

Sources: AffineQuantize of reference/quantize.h (division in float32, rounded half away from zero) and Requantize of
reference/requantize.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.numerics import clamp, round_half_away, wrap_int32
from tinygen.ops.rescaling import ratio, ratio_fits, rescaled, rounding_bound
from tinygen.ops.rules import always_pointwise, per_tensor

_PAIRS = {
    DType.FLOAT32: (DType.INT8, DType.INT16),
    DType.INT8: (DType.INT8, DType.UINT8, DType.INT16, DType.INT32),
    DType.UINT8: (DType.INT8,),
    DType.INT16: (DType.INT8, DType.INT16, DType.INT32),
    DType.INT32: (DType.INT8, DType.INT16),
}

#: Quotients are limited to +-LIMIT before they are rounded, far outside of every output's range.
LIMIT = np.float32(1 << 18)


@dataclass(frozen=True)
class Given(Attrs):
    """What a float QUANTIZE node out of a quantized model carries: how its output will be quantized, in int8."""

    scale: float
    zero_point: int


def known_types(call: Call[Any]) -> bool:
    """The types must be float32 to int8 or int16, int8 to any integer up to 32 bits, uint8 to int8, int16 to a signed
    integer up to 32 bits, or int32 to int8 or int16."""
    return call.output.dtype in _PAIRS.get(call.input(0).dtype, ())


def quantized_per_tensor(call: Call[Any]) -> bool:
    """The output, and an integer input, must have one scale and zero point."""
    return all(t.dtype is DType.FLOAT32 or per_tensor(t) for t in (call.input(0), call.output))


def integer_ratio_fits(call: Call[Any]) -> bool:
    """An integer input's scale must be less than 2^30 times the output's."""
    return call.input(0).dtype is DType.FLOAT32 or ratio_fits(call)


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return ((call.input(0).shape, call.output.dtype),)


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (given(inputs[0]),)


def from_float(call: Call[Attrs], values: Array) -> Array:
    with np.errstate(all="ignore"):
        scaled = values / np.float32(call.output.q.scale)
    # in this order, so that what is not a number becomes the smallest one
    limited = np.minimum(np.where(scaled > -LIMIT, scaled, -LIMIT), LIMIT)
    return clamp(round_half_away(limited).astype(np.int64) + call.output.q.zero_point, call.output)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    values = given(inputs[0])
    if values.dtype == np.float32:
        return (from_float(call, values),)
    centred = wrap_int32(values.astype(np.int64) - call.input(0).q.zero_point)
    return (clamp(rescaled(call, centred, ratio(call)), call.output),)


def bound(call: Call[Attrs]) -> float:
    """Of float input, the division's rounding; of integers, that of the two steps of the product."""
    low, high = call.output.dtype.limits
    if call.input(0).dtype is DType.FLOAT32:
        return 0.5 + (high - low) * 2.0**-23
    return rounding_bound(ratio(call), high - low)


OP = Op(
    name="QUANTIZE",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(known_types, quantized_per_tensor, integer_ratio_fits),
    bound=bound,
    pointwise=always_pointwise,
)

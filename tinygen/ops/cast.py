# SPDX-License-Identifier: Apache-2.0
"""CAST: one element type to another, as C converts them (micro/kernels/cast.cc).

Floats are truncated to int32 (saturating, as Arm cores do; 0 for what is not a number), then to the narrower type;
integers lose their upper bits; everything but 0 is true. TFLM has no uint8 and no bool output, LiteRT has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, Signature, given

_TYPES = (DType.BOOL, DType.INT8, DType.UINT8, DType.INT16, DType.INT32, DType.FLOAT32)


def known_types(call: Call[Any]) -> bool:
    """Input and output must be bool, int8, uint8, int16, int32 or float32, and not both float32."""
    pair = (call.input(0).dtype, call.output.dtype)
    return set(pair) <= set(_TYPES) and set(pair) != {DType.FLOAT32}


def plain_numbers(call: Call[Any]) -> bool:
    """Input and output must not be quantized, or have scale 1 and zero point 0: TFLite casts bare integers."""
    quants = [t.quant for t in (call.input(0), call.output)]
    return all(q is None or (set(q.scales), set(q.zero_points)) == ({1.0}, {0}) for q in quants)


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return ((call.input(0).shape, call.output.dtype),)


def wrapped(values: Real, dtype: DType) -> Real:
    """Whole numbers as the integer type `dtype` holds them: modulo its size."""
    low, high = dtype.limits
    return np.mod(values - low, high - low + 1.0) + low


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    values, target = given(inputs[0]), call.output.dtype
    if target is DType.FLOAT32:
        return (values,)
    if target is DType.BOOL:
        return ((values != 0).astype(np.float64),)
    return (wrapped(np.clip(np.trunc(values), *DType.INT32.limits), target),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    values, target = given(inputs[0]), call.output.dtype
    if values.dtype == np.float32 and target not in (DType.FLOAT32, DType.BOOL):
        whole = np.trunc(np.where(np.isnan(values), 0, values).astype(np.float64))
        values = np.clip(whole, *DType.INT32.limits).astype(np.int64)
    return (values.astype(target.numpy),)


OP = Op(
    name="CAST",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(known_types, plain_numbers),
)

# SPDX-License-Identifier: Apache-2.0
"""DEQUANTIZE: int8, uint8 or int16 to the float32 numbers they stand for (reference/dequantize.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.rules import always_pointwise, per_tensor


def integer_to_float(call: Call[Any]) -> bool:
    """The input must be int8, uint8 or int16 with one scale and zero point, the output float32."""
    source = call.input(0)
    narrow = source.dtype in (DType.INT8, DType.UINT8, DType.INT16)
    return narrow and per_tensor(source) and call.output.dtype is DType.FLOAT32


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return ((call.input(0).shape, DType.FLOAT32),)


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (given(inputs[0]),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """The product rounded once to float32: TFLM multiplies in double, which holds it exactly."""
    quant = call.input(0).q
    return ((given(inputs[0]).astype(np.int32) - quant.zero_point).astype(np.float32) * np.float32(quant.scale),)


OP = Op(
    name="DEQUANTIZE",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(integer_to_float,),
    pointwise=always_pointwise,
)

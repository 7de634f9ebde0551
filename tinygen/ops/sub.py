"""SUB: the difference of two tensors, with broadcasting and a fused activation (micro/kernels/sub_common.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType, Real
from tinygen.ops.add import LEFT_SHIFT, output_ratio, requantize_sum, scales_fit
from tinygen.ops.base import Call, Op, given
from tinygen.ops.binary import (
    LIMIT_NOISE,
    ActivationAttrs,
    Alignment,
    infer,
    int8_or_plain_int32,
    no_int32_activation,
    pointwise,
    two_inputs,
)
from tinygen.ops.numerics import quantize_multiplier, wrap_int32
from tinygen.ops.shapes import broadcastable


def alignment(call: Call[Any]) -> Alignment:
    """CalculateOpDataSub: as ADD's, but all ratios in float32."""
    first, second, output = (np.float32(t.q.scale) for t in (call.input(0), call.input(1), call.output))
    twice = np.float32(2) * max(first, second)
    return Alignment(
        LEFT_SHIFT,
        quantize_multiplier(float(first / twice)),
        quantize_multiplier(float(second / twice)),
        quantize_multiplier(float(twice / (np.float32(2**LEFT_SHIFT) * output))),
    )


def real(call: Call[ActivationAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.clip(given(inputs[0]) - given(inputs[1]), *call.attrs.activation.limits),)


def reference(call: Call[ActivationAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    a, b = given(inputs[0]), given(inputs[1])
    if call.output.dtype is DType.INT32:
        return (wrap_int32(a.astype(np.int64) - b).astype(np.int32),)
    rule = alignment(call)
    x, y = rule.aligned(call, (a, b))
    return (requantize_sum(call, x - y, rule.output),)


def bound(call: Call[ActivationAttrs]) -> float:
    """As ADD's, plus the float32 ratios: half an ulp of the smaller input, one of the output."""
    if call.output.dtype is DType.INT32:
        return 0.0
    smaller = 255 * min(call.input(0).q.scale, call.input(1).q.scale) / call.output.q.scale
    return 0.5 + LIMIT_NOISE + 2 * output_ratio(call) + (smaller + 2 * 256) * 2.0**-24


OP = Op(
    name="SUB",
    attrs=ActivationAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(two_inputs, int8_or_plain_int32, no_int32_activation, broadcastable, scales_fit),
    bound=bound,
    pointwise=pointwise,
)

# SPDX-License-Identifier: Apache-2.0
"""MUL: the product of two tensors, with broadcasting and a fused activation (micro/kernels/mul_common.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.binary import (
    ActivationAttrs,
    infer,
    integers_or_plain_int32,
    limit_noise,
    no_int32_activation,
    pointwise,
    two_inputs,
)
from tinygen.ops.numerics import (
    activation_range,
    clamp,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    wrap_int32,
)
from tinygen.ops.rows import by_element
from tinygen.ops.shapes import broadcastable
from tinygen.ops.wide import is_wide


def scales_fit(call: Call[Any]) -> bool:
    """The product of the input scales must be less than 2^15 times the output scale, or less than the output scale with
    int16 (products are 32 bits wide)."""
    return call.output.dtype is DType.INT32 or output_ratio(call) < (1.0 if is_wide(call) else 2.0**15)


def output_ratio(call: Call[Any]) -> float:
    """Output steps in one unit of the product of the integers."""
    return call.input(0).q.scale * call.input(1).q.scale / call.output.q.scale


def real(call: Call[ActivationAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.clip(given(inputs[0]) * given(inputs[1]), *call.attrs.activation.limits),)


def reference(call: Call[ActivationAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    a, b = (given(v).astype(np.int64) for v in inputs)
    if call.output.dtype is DType.INT32:
        return (wrap_int32(a * b).astype(np.int32),)
    product = (a - call.input(0).q.zero_point) * (b - call.input(1).q.zero_point)
    scaled = multiply_by_quantized_multiplier(product, *quantize_multiplier(output_ratio(call)))
    limits = activation_range(call.attrs.activation, call.output)
    return (clamp(scaled + call.output.q.zero_point, call.output, limits),)


def bound(call: Call[ActivationAttrs]) -> float:
    """Half a step for the last rounding, and the rounding of the high product before it: half a unit of what the right
    shift divides by 2^s, where 2^-s is at most twice the ratio of scales."""
    return 0.5 + limit_noise(call) + (min(output_ratio(call), 0.5) if call.output.dtype is not DType.INT32 else 0)


OP = Op(
    name="MUL",
    attrs=ActivationAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(two_inputs, integers_or_plain_int32, no_int32_activation, broadcastable, scales_fit),
    bound=bound,
    pointwise=pointwise,
    rows=by_element,
)

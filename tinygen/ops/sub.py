# SPDX-License-Identifier: Apache-2.0
"""SUB: the difference of two tensors, with broadcasting and a fused activation (micro/kernels/sub_common.cc, sub.h).

Ratios of scales are float64, as ADD's and LiteRT's. TFLM up to August 2026 computed them in float32, which with some
scales gives another result for a few of the 65 536 pairs of values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.types import Array, DType, Real
from tinygen.ops.add import alignment, bound, requantize_sum, scales_fit
from tinygen.ops.base import Call, Op, given
from tinygen.ops.binary import (
    ActivationAttrs,
    infer,
    integers_or_plain_int32,
    no_int32_activation,
    pointwise,
    two_inputs,
)
from tinygen.ops.numerics import wrap_int32
from tinygen.ops.rows import by_element
from tinygen.ops.shapes import broadcastable


def real(call: Call[ActivationAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.clip(given(inputs[0]) - given(inputs[1]), *call.attrs.activation.limits),)


def reference(call: Call[ActivationAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    a, b = given(inputs[0]), given(inputs[1])
    if call.output.dtype is DType.INT32:
        return (wrap_int32(a.astype(np.int64) - b).astype(np.int32),)
    rule = alignment(call)
    x, y = rule.aligned(call, (a, b))
    return (requantize_sum(call, x - y, rule.output),)


OP = Op(
    name="SUB",
    attrs=ActivationAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(two_inputs, integers_or_plain_int32, no_int32_activation, broadcastable, scales_fit),
    bound=bound,
    pointwise=pointwise,
    rows=by_element,
)

# SPDX-License-Identifier: Apache-2.0
"""MAX_POOL_2D: the largest of each window's cells (reference/integer_ops/pooling.h)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.ops.base import SAME, Activation, Call, Op, given
from tinygen.ops.binary import limit_noise
from tinygen.ops.numerics import activation_range, clamp
from tinygen.ops.pooling import PoolAttrs, four_dimensions, infer, pooled, same_scale, scale_noise, touches_input
from tinygen.ops.rows import pool_windows
from tinygen.ops.rules import integer_in_out


def real(call: Call[PoolAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    largest, _ = pooled(call, given(inputs[0]), np.max)
    return (np.clip(largest, *call.attrs.activation.limits),)


def reference(call: Call[PoolAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    largest, _ = pooled(call, given(inputs[0]), np.max)
    return (clamp(largest, call.output, activation_range(call.attrs.activation, call.output)),)


def bound(call: Call[PoolAttrs]) -> float:
    """Exact, but for the activation's limit, which is rounded to a step."""
    return scale_noise(call) + (1e-6 if call.attrs.activation is Activation.NONE else 0.5 + limit_noise(call))


OP = Op(
    name="MAX_POOL_2D",
    attrs=PoolAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(four_dimensions, integer_in_out, same_scale, touches_input),
    quantize=SAME,
    bound=bound,
    rows=pool_windows,
)

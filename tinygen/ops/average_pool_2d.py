# SPDX-License-Identifier: Apache-2.0
"""AVERAGE_POOL_2D: the mean of each window's cells, rounded half away from zero (reference/integer_ops/pooling.h)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.ops.base import SAME, Call, Op, given
from tinygen.ops.binary import limit_noise
from tinygen.ops.numerics import activation_range, clamp
from tinygen.ops.pooling import (
    PoolAttrs,
    four_dimensions,
    infer,
    pooled,
    same_scale,
    scale_noise,
    sums_fit,
    touches_input,
)
from tinygen.ops.rows import pool_windows
from tinygen.ops.rules import integer_in_out


def real(call: Call[PoolAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    total, cells = pooled(call, given(inputs[0]), np.sum)
    return (np.clip(total / cells, *call.attrs.activation.limits),)


def reference(call: Call[PoolAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    total, cells = pooled(call, given(inputs[0]).astype(np.int64), np.sum)
    mean = np.sign(total) * ((np.abs(total) + cells // 2) // cells)
    return (clamp(mean, call.output, activation_range(call.attrs.activation, call.output)),)


def bound(call: Call[PoolAttrs]) -> float:
    """Half a step: one rounding."""
    return 0.5 + limit_noise(call) + scale_noise(call)


OP = Op(
    name="AVERAGE_POOL_2D",
    attrs=PoolAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(four_dimensions, integer_in_out, same_scale, touches_input, sums_fit),
    quantize=SAME,
    bound=bound,
    rows=pool_windows,
)

# SPDX-License-Identifier: Apache-2.0
"""SQRT: the square root; of negative numbers 0. int8: LiteRT's table in float32 (TFLM has none); float32 folds away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import look_up, table_from_float32
from tinygen.ops.rules import always_pointwise, int8_or_float32, same_as_input


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.sqrt(np.maximum(given(inputs[0]), 0)),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0])
    if x.dtype == np.float32:
        return (root(x),)
    return (look_up(table_from_float32(call.input(0), call.output, root), x),)


def root(x: Array) -> Array:
    """The square root of float32 values, of negative ones 0."""
    return np.sqrt(np.maximum(x, np.float32(0)))


def bound(call: Call[Attrs]) -> float:
    """Half a step, plus float32 noise of four operations."""
    return 0.5 + 256 * 2.0**-22


OP = Op(
    name="SQRT",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_or_float32,),
    bound=bound,
    pointwise=always_pointwise,
)

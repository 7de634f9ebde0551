# SPDX-License-Identifier: Apache-2.0
"""ELU: x where x >= 0, exp(x) - 1 below. int8: a 256-entry table in TFLM (micro/kernels/elu.cc); float32 folds away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import look_up, table_from_float32
from tinygen.ops.rules import always_pointwise, int8_or_float32, same_as_input


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x = given(inputs[0])
    return (np.where(x < 0, np.expm1(np.minimum(x, 0)), x),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0])
    if x.dtype == np.float32:
        return (np.where(x < 0, np.expm1(np.minimum(x, 0)), x),)
    table = table_from_float32(call.input(0), call.output, lambda x: np.where(x < 0, np.exp(x) - np.float32(1), x))
    return (look_up(table, x),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, plus float32 noise of the table: a few ulp of the largest value in output steps."""
    return 0.5 + 1e-3


OP = Op(
    name="ELU",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_or_float32,),
    bound=bound,
    pointwise=always_pointwise,
)

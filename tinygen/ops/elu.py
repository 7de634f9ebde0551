"""ELU: x where x >= 0, exp(x) - 1 below. A 256-entry table in TFLM (micro/kernels/elu.cc)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import look_up, table_from_float32
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x = given(inputs[0])
    return (np.where(x < 0, np.expm1(np.minimum(x, 0)), x),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    table = table_from_float32(call.input(0), call.output, lambda x: np.where(x < 0, np.exp(x) - np.float32(1), x))
    return (look_up(table, given(inputs[0])),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, plus float32 noise of the table: a few ulp of the largest value in output steps."""
    return 0.5 + 1e-3


OP = Op(
    name="ELU",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out,),
    bound=bound,
    pointwise=always_pointwise,
)

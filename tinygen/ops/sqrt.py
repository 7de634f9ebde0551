"""SQRT: the square root, int8, by LiteRT's table in float32 (TFLM has floats only). Of negative numbers: 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import look_up, table_from_float32
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.sqrt(np.maximum(given(inputs[0]), 0)),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    table = table_from_float32(call.input(0), call.output, lambda x: np.sqrt(np.maximum(x, np.float32(0))))
    return (look_up(table, given(inputs[0])),)


def bound(call: Call[Attrs]) -> float:
    """Half a step, plus float32 noise of four operations."""
    return 0.5 + 256 * 2.0**-22


OP = Op(
    name="SQRT",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out,),
    bound=bound,
    pointwise=always_pointwise,
)

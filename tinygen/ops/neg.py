# SPDX-License-Identifier: Apache-2.0
"""NEG: -x. int8: rounded halves away from zero (TFLM has none, LiteRT's ignores the scales); float32 folds away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import clamp, round_half_away
from tinygen.ops.rules import always_pointwise, int8_or_float32, same_as_input


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.negative(given(inputs[0])),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """The product with the 24-bit scale is exact in float64, and no quotient of two of them rounds to a half."""
    if given(inputs[0]).dtype == np.float32:
        return (-given(inputs[0]),)
    steps = (call.input(0).q.zero_point - given(inputs[0]).astype(np.float64)) * call.input(0).q.scale
    return (clamp(round_half_away(steps / call.output.q.scale) + call.output.q.zero_point, call.output),)


OP = Op(
    name="NEG",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_or_float32,),
    pointwise=always_pointwise,
)

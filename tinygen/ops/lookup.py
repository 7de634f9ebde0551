# SPDX-License-Identifier: Apache-2.0
"""LOOKUP: a function of one int8 value, as a table. No model file has it: passes make it out of chains of operators.

Input 1 is the table, int8 [256] for inputs -128..127, in the output's quantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import look_up
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input


def constant_table(call: Call[Any]) -> bool:
    """The table must be a constant of 256 int8 values, quantized as the output is."""
    return (
        call.constants[1] is not None
        and call.input(1).shape == (256,)
        and call.input(1).dtype is DType.INT8
        and call.input(1).quant == call.output.quant
    )


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x, quant = given(inputs[0]), call.input(0).q
    index = np.clip(np.rint(x / quant.scale) + quant.zero_point + 128, 0, 255).astype(np.int64)
    return (given(inputs[1])[index],)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (look_up(given(inputs[1]), given(inputs[0])),)


OP = Op(
    name="LOOKUP",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, constant_table),
    pointwise=always_pointwise,
)

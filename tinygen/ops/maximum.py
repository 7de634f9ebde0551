# SPDX-License-Identifier: Apache-2.0
"""MAXIMUM: the larger of two tensors, element by element, with broadcasting (reference/maximum_minimum.h)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import SAME, Call, Op, given
from tinygen.ops.binary import exact, infer, integers_or_plain_int32, one_quant, pointwise, two_inputs
from tinygen.ops.rows import by_element
from tinygen.ops.shapes import broadcastable


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.maximum(given(inputs[0]), given(inputs[1])),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.maximum(given(inputs[0]), given(inputs[1])),)


OP = Op(
    name="MAXIMUM",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(two_inputs, integers_or_plain_int32, one_quant, broadcastable),
    quantize=SAME,
    bound=exact,
    pointwise=pointwise,
    rows=by_element,
)

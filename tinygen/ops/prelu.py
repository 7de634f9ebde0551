# SPDX-License-Identifier: Apache-2.0
"""PRELU: x where it is positive, else alpha x, with a tensor alpha that broadcasts, int8 (reference/prelu.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.binary import infer, pointwise, two_inputs
from tinygen.ops.numerics import clamp
from tinygen.ops.rescaling import ratio, ratio_fits, rescaled, rescaling_bound, rounding_bound
from tinygen.ops.rows import by_element
from tinygen.ops.rules import int8_pair
from tinygen.ops.shapes import broadcastable


def product_ratio(call: Call[Any]) -> float:
    """Output steps per product of an input step and an alpha step."""
    return call.input(0).q.scale * call.input(1).q.scale / call.output.q.scale


def product_fits(call: Call[Any]) -> bool:
    """The input's scale times alpha's must be less than 2^30 times the output's."""
    return product_ratio(call) < 2**30


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x, alpha = given(inputs[0]), given(inputs[1])
    return (np.where(x >= 0, x, alpha * x),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x, alpha = (given(v).astype(np.int64) - call.input(i).q.zero_point for i, v in enumerate(inputs))
    positive = rescaled(call, x, ratio(call))
    return (clamp(np.where(x >= 0, positive, rescaled(call, x * alpha, product_ratio(call))), call.output),)


def bound(call: Call[Attrs]) -> float:
    """The larger of both sides' bounds."""
    return max(rescaling_bound(call), rounding_bound(product_ratio(call)))


OP = Op(
    name="PRELU",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(two_inputs, int8_pair, broadcastable, ratio_fits, product_fits),
    bound=bound,
    pointwise=pointwise,
    rows=by_element,
)

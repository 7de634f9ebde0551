# SPDX-License-Identifier: Apache-2.0
"""POW: x to the power of a constant (input 1, one element). int8: correctly rounded (tinygen/ops/pointwise.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Real
from tinygen.ops.base import Call
from tinygen.ops.pointwise import pointwise_op


def constant_exponent(call: Call[Any]) -> bool:
    """The exponent must be a constant of one element."""
    return call.constants[1] is not None and call.input(1).elements == 1


def power(call: Call[Attrs], x: Real) -> Real:
    exponent = call.input(1).dequantize(call.constant(1))
    return np.asarray(np.power(x, exponent.reshape(())))


OP = pointwise_op("POW", power, constraints=(constant_exponent,), pointwise=constant_exponent)

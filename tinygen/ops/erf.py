# SPDX-License-Identifier: Apache-2.0
"""ERF: the error function, of ONNX. int8: correctly rounded (tinygen/ops/pointwise.py)."""

from __future__ import annotations

import math

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Real
from tinygen.ops.base import Op
from tinygen.ops.pointwise import pointwise_op


def erf(x: Real) -> Real:
    """The error function, with the C library's accuracy."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), dtype=np.float64)


OP: Op[Attrs] = pointwise_op("ERF", lambda call, x: erf(x))

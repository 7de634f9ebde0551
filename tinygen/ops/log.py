# SPDX-License-Identifier: Apache-2.0
"""LOG: the natural logarithm. int8: correctly rounded (tinygen/ops/pointwise.py), of 0 the smallest output."""

from __future__ import annotations

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ops.base import Op
from tinygen.ops.pointwise import pointwise_op

OP: Op[Attrs] = pointwise_op("LOG", lambda call, x: np.log(x))

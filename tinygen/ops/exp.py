# SPDX-License-Identifier: Apache-2.0
"""EXP: e to the power of x. int8: correctly rounded (tinygen/ops/pointwise.py); float32 folds away."""

from __future__ import annotations

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ops.base import Op
from tinygen.ops.pointwise import pointwise_op

OP: Op[Attrs] = pointwise_op("EXP", lambda call, x: np.exp(x))

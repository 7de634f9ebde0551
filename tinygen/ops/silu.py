# SPDX-License-Identifier: Apache-2.0
"""SILU: x times the logistic function of x, also called swish, of ONNX. int8: correctly rounded (ops/pointwise.py)."""

from __future__ import annotations

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ops.base import Op
from tinygen.ops.pointwise import pointwise_op

OP: Op[Attrs] = pointwise_op("SILU", lambda call, x: x / (1 + np.exp(-x)))

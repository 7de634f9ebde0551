# SPDX-License-Identifier: Apache-2.0
"""HARD_SIGMOID: alpha * x + beta, clamped to 0..1, of ONNX. int8: correctly rounded (tinygen/ops/pointwise.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Real
from tinygen.ops.base import Call
from tinygen.ops.pointwise import pointwise_op


@dataclass(frozen=True)
class HardSigmoidAttrs(Attrs):
    """Slope, and value at 0."""

    alpha: float = 0.2
    beta: float = 0.5


def hard_sigmoid(call: Call[HardSigmoidAttrs], x: Real) -> Real:
    return np.asarray(np.clip(call.attrs.alpha * x + call.attrs.beta, 0, 1))


OP = pointwise_op("HARD_SIGMOID", hard_sigmoid, HardSigmoidAttrs)

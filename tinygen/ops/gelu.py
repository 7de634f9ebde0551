# SPDX-License-Identifier: Apache-2.0
"""GELU: x times the normal distribution function of x, or its approximation by tanh.

int8: correctly rounded (tinygen/ops/pointwise.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Real
from tinygen.ops.base import Call
from tinygen.ops.erf import erf
from tinygen.ops.pointwise import pointwise_op


@dataclass(frozen=True)
class GeluAttrs(Attrs):
    """Whether to compute the approximation."""

    approximate: bool = False


def gelu(call: Call[GeluAttrs], x: Real) -> Real:
    """Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016."""
    if call.attrs.approximate:
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + erf(x / math.sqrt(2))))


OP = pointwise_op("GELU", gelu, GeluAttrs)

# SPDX-License-Identifier: Apache-2.0
"""RSQRT: 1 / sqrt(x), int8, in fixed point (RsqrtEvalQuantized of micro/kernels/elementwise.cc).

0 gives the largest output. So do negative numbers here, at which TFLM stops with an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.fixedpoint import inverse_sqrt
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier, quantize_multiplier
from tinygen.ops.rescaling import rounding_bound
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input

#: Fractional bits of the root's reciprocal.
FRACTION_BITS = 20


def factor(call: Call[Any]) -> float:
    """The output, in steps, for an input of one step."""
    return 1 / (math.sqrt(call.input(0).q.scale) * call.output.q.scale)


def factor_fits(call: Call[Any]) -> bool:
    """1 / (output scale * square root of the input scale) must be between 2^-11 and 2^30."""
    return 2.0**-11 < factor(call) < 2.0**30


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    with np.errstate(divide="ignore"):
        return (1 / np.sqrt(np.maximum(given(inputs[0]), 0)),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
    root_multiplier, root_shift = inverse_sqrt(np.maximum(x, 0))
    root = multiply_by_quantized_multiplier(np.ones_like(x), root_multiplier, root_shift + FRACTION_BITS)
    multiplier, shift = quantize_multiplier(factor(call))
    scaled = multiply_by_quantized_multiplier(root, multiplier, shift - FRACTION_BITS)
    return (clamp(np.where(x <= 0, 127, scaled + call.output.q.zero_point), call.output),)


def bound(call: Call[Attrs]) -> float:
    """The roundings of the last product, the root's relative error, and its rounding to 20 bits."""
    return rounding_bound(factor(call) * 2.0**-FRACTION_BITS) + 256 * (2e-6 + 16 * 2.0**-21)


OP = Op(
    name="RSQRT",
    attrs=Attrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, factor_fits),
    bound=bound,
    pointwise=always_pointwise,
)

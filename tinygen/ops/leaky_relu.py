# SPDX-License-Identifier: Apache-2.0
"""LEAKY_RELU: x where it is positive, else alpha x, int8 (reference/leaky_relu.h, micro/kernels/leaky_relu.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, given
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier, quantize_multiplier
from tinygen.ops.rescaling import ratio, ratio_fits, rescaled, rescaling_bound, rounding_bound
from tinygen.ops.rules import always_pointwise, int8_in_out, same_as_input


@dataclass(frozen=True)
class LeakyReluAttrs(Attrs):
    """The slope of the negative side; it may itself be negative."""

    alpha: float = 0.0


def alpha_ratio(call: Call[Any]) -> float:
    """Output steps per input step on the negative side."""
    return float(call.input(0).q.scale * call.attrs.alpha / call.output.q.scale)


def alpha_fits(call: Call[Any]) -> bool:
    """alpha times the input's scale must be a number of magnitude less than 2^30 times the output's scale."""
    return abs(alpha_ratio(call)) < 2**30


def real(call: Call[LeakyReluAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x = given(inputs[0])
    return (np.where(x >= 0, x, call.attrs.alpha * x),)


def reference(call: Call[LeakyReluAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """A negative alpha's sign is applied after the product with its magnitude."""
    x, slope = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point, alpha_ratio(call)
    scaled = multiply_by_quantized_multiplier(x, *quantize_multiplier(abs(slope)))
    leaked = call.output.q.zero_point + (scaled if slope >= 0 else -scaled)
    return (clamp(np.where(x >= 0, rescaled(call, x, ratio(call)), leaked), call.output),)


def bound(call: Call[LeakyReluAttrs]) -> float:
    """The larger of both sides' bounds."""
    return max(rescaling_bound(call), rounding_bound(abs(alpha_ratio(call))))


OP = Op(
    name="LEAKY_RELU",
    attrs=LeakyReluAttrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, ratio_fits, alpha_fits),
    bound=bound,
    pointwise=always_pointwise,
)

# SPDX-License-Identifier: Apache-2.0
"""L2_NORMALIZATION: each row (last dimension) by its Euclidean norm, int8 (reference/integer_ops/l2normalization.h).

The output has scale 1/128 and zero point 0. Rows of zeros stay zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Activation, Call, Fixed, Op, QuantRule, given
from tinygen.ops.fixedpoint import inverse_sqrt
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier
from tinygen.ops.rows import by_pixel
from tinygen.ops.rules import int8_in_out, same_as_input

#: Fractional bits of the output.
OUTPUT_BITS = 7


@dataclass(frozen=True)
class L2NormalizationAttrs(Attrs):
    """TFLite's options."""

    activation: Activation = Activation.NONE


def has_rows(call: Call[Any]) -> bool:
    """The input must have 1 to 4 dimensions, and rows (the last dimension) of at most 33025 elements."""
    shape = call.input(0).shape
    return 1 <= len(shape) <= 4 and shape[-1] * 255**2 < 2**31


def output_in_one(call: Call[Any]) -> bool:
    """The output must have scale 1/128 and zero point 0."""
    return call.output.q.scale == 1 / 128 and call.output.q.zero_point == 0


def no_activation(call: Call[Any]) -> bool:
    """There must be no fused activation."""
    return call.attrs.activation is Activation.NONE


def real(call: Call[L2NormalizationAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x = given(inputs[0])
    norm = np.sqrt(np.sum(x * x, axis=-1, keepdims=True))
    return (x / np.where(norm == 0, 1, norm),)


def reference(call: Call[L2NormalizationAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    x = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
    multiplier, shift = inverse_sqrt(np.sum(x * x, axis=-1, keepdims=True))
    return (clamp(multiply_by_quantized_multiplier(x, multiplier, shift + OUTPUT_BITS), call.output),)


def bound(call: Call[L2NormalizationAttrs]) -> float:
    """Two roundings, of which the first is to half a step or less, and the norm's relative error."""
    return 0.75 + 128 * 2e-6


OP = Op(
    name="L2_NORMALIZATION",
    attrs=L2NormalizationAttrs,
    infer=same_as_input,
    real=real,
    reference=reference,
    constraints=(int8_in_out, has_rows, output_in_one, no_activation),
    quantize=QuantRule(Fixed(1 / 128, 0)),
    bound=bound,
    rows=by_pixel,
)

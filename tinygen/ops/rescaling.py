# SPDX-License-Identifier: Apache-2.0
"""What operators share that bring integers from the input's scale to the output's: the ratio of scales, its rounding.

Ratios are computed in float64, as TFLM does since 2026; before, some operators divided in float32 first, which differs
only in the rounding of exact ties (scales such as 1/2 and 1/3).
"""

from __future__ import annotations

from typing import Any

from tinygen.ir.types import Array
from tinygen.ops.base import Call
from tinygen.ops.numerics import multiply_by_quantized_multiplier, quantize_multiplier, wrap_int32


def ratio(call: Call[Any]) -> float:
    """Output steps per input step."""
    return call.input(0).q.scale / call.output.q.scale


def ratio_fits(call: Call[Any]) -> bool:
    """The input's scale must be less than 2^30 times the output's."""
    return ratio(call) < 2**30


def rescaled(call: Call[Any], centred: Array, factor: float) -> Array:
    """`centred`, int32 steps from zero, times `factor`, from the output's zero point on; not clamped."""
    scaled = multiply_by_quantized_multiplier(centred, *quantize_multiplier(factor))
    return wrap_int32(scaled + call.output.q.zero_point)


def rounding_bound(factor: float, steps: float = 256) -> float:
    """How far, in output steps, x * `factor` with two roundings lies from its real value, for results up to `steps`.

    Half a step at the end; half a step before the right shift, if there is one; half a unit of the 31-bit multiplier.
    """
    _, shift = quantize_multiplier(factor)
    return 0.5 + (2.0 ** (shift - 1) if shift < 0 else 0.0) + steps * 2.0**-31 + 1e-6


def rescaling_bound(call: Call[Any]) -> float:
    """`Op.bound` of operators that round nowhere else."""
    low, high = call.output.dtype.limits
    return rounding_bound(ratio(call), high - low + 1)

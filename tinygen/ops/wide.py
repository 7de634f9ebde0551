# SPDX-License-Identifier: Apache-2.0
"""TFLite's 16x8 quantization: int16 activations with zero point 0, int8 weights, sums in 64 bits, one rounding.

Sources: MultiplyByQuantizedMultiplier for int64 of kernels/internal/common.cc, and TFLite's 16x8 specification.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType
from tinygen.ops.base import Call

#: How far a fused activation's limit may lie from its real value, in steps of int16, where it is rounded in float32.
LIMIT_NOISE = 5e-3


def is_wide(call: Call[Any]) -> bool:
    """Whether the node computes an int16 output."""
    return bool(call.outputs) and call.output.dtype is DType.INT16


def reduced(multipliers: Array) -> Array:
    """Multipliers of 31 bits rounded to 15, halves up, the largest cut off; int64."""
    wide = np.asarray(multipliers, np.int64)
    return np.where(wide < 0x7FFF0000, (wide + (1 << 15)) >> 16, 0x7FFF)


def multiply_wide(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """x * multiplier * 2^(shift - 31) with the multiplier reduced to 16 bits and one rounding, halves up.

    x within 2^47, multiplier and shift of `quantize_multiplier`, shift at most 7; the result must fit int32.
    """
    total = 15 - np.asarray(shift, np.int64)
    product = np.asarray(x, np.int64) * reduced(np.asarray(multiplier))
    return np.asarray((product + (np.int64(1) << (total - 1))) >> total)


def reduction_error(scale: float, multiplier: int, shift: int) -> float:
    """How much the reduced multiplier is off `scale`, as a share of it."""
    if scale == 0:
        return 0.0
    return abs(float(reduced(np.asarray(multiplier))) * 2.0 ** (shift - 15) / scale - 1)

# SPDX-License-Identifier: Apache-2.0
"""Shape rules that several operators share: broadcasting, axes, windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ops.base import Call


def broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape numpy (and TFLite) broadcast `a` and `b` to, or None where they do not fit."""
    try:
        return tuple(int(n) for n in np.broadcast_shapes(a, b))
    except ValueError:
        return None


def broadcastable(call: Call[Any]) -> bool:
    """The two inputs' shapes must broadcast against each other (equal, or 1, counted from the last dimension)."""
    return broadcast_shape(call.input(0).shape, call.input(1).shape) is not None


def window_output(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """How many positions a window has along one axis, with explicit padding."""
    return (size + before + after - ((kernel - 1) * dilation + 1)) // stride + 1


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis as (before, after): the odd element goes after."""
    span = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def axes_of(values: Any, rank: int) -> tuple[int, ...]:
    """Axes as sorted, distinct, non-negative integers."""
    return tuple(sorted({int(v) % rank for v in np.atleast_1d(values)}))

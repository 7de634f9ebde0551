# SPDX-License-Identifier: Apache-2.0
"""What AVERAGE_POOL_2D and MAX_POOL_2D share: a window slides over NHWC; cells outside the input do not count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import Activation, Call, Signature
from tinygen.ops.shapes import window_output
from tinygen.ops.wide import is_wide

#: TFLM's tolerance when it compares the scales of input and output (pooling_common.cc).
SCALE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class PoolAttrs(Attrs):
    """Window and strides as (height, width); padding as (top, bottom, left, right)."""

    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: Activation = Activation.NONE


def four_dimensions(call: Call[Any]) -> bool:
    """Input and output must have 4 dimensions (NHWC)."""
    return len(call.input(0).shape) == len(call.output.shape) == 4


def same_scale(call: Call[Any]) -> bool:
    """Input and output must have the same zero point, and scales at most 1e-6 apart (TFLite pools the integers)."""
    source, target = call.input(0).q, call.output.q
    return source.zero_point == target.zero_point and abs(source.scale - target.scale) <= SCALE_TOLERANCE


def touches_input(call: Call[Any]) -> bool:
    """The padding must be smaller than the window, and the padded input at least as large."""
    attrs: PoolAttrs = call.attrs
    top, bottom, left, right = attrs.padding
    small = max(top, bottom) < attrs.window[0] and max(left, right) < attrs.window[1]
    return small and min(output_size(call)) >= 1


def sums_fit(call: Call[Any]) -> bool:
    """The window must cover less than 2^23 cells of the input, or 2^15 of int16."""
    (_, height, width, _), attrs = call.input(0).shape, call.attrs
    cells: int = min(height, attrs.window[0]) * min(width, attrs.window[1])
    return cells < (2**15 if is_wide(call) else 2**23)


def output_size(call: Call[PoolAttrs]) -> tuple[int, int]:
    """Output height and width, from the attributes."""
    (_, height, width, _), attrs = call.input(0).shape, call.attrs
    top, bottom, left, right = attrs.padding
    return (
        window_output(height, attrs.window[0], attrs.stride[0], 1, top, bottom),
        window_output(width, attrs.window[1], attrs.stride[1], 1, left, right),
    )


def infer(call: Call[PoolAttrs]) -> Sequence[Signature]:
    batch, _, _, channels = call.input(0).shape
    return (((batch, *output_size(call), channels), call.input(0).dtype),)


def spans(size: int, window: int, stride: int, before: int, count: int) -> list[tuple[int, int]]:
    """[first, end) of the cells that each of `count` window positions covers along an axis of `size` cells."""
    starts = [i * stride - before for i in range(count)]
    return [(max(s, 0), min(s + window, size)) for s in starts]


def pooled(call: Call[PoolAttrs], values: Array, reduce: Callable[..., Any]) -> tuple[Array, Array]:
    """`reduce` (np.sum, np.max) over each window of NHWC `values`, and how many cells each has, as [H, W, 1].

    Along height first, then along width, which is the same for sums and extremes.
    """
    (_, height, width, _), (out_h, out_w), attrs = values.shape, output_size(call), call.attrs
    ys = spans(height, attrs.window[0], attrs.stride[0], attrs.padding[0], out_h)
    xs = spans(width, attrs.window[1], attrs.stride[1], attrs.padding[2], out_w)
    rows = np.stack([reduce(values[:, a:b], axis=1) for a, b in ys], axis=1)
    result = np.stack([reduce(rows[:, :, a:b], axis=2) for a, b in xs], axis=2)
    counts = np.outer([b - a for a, b in ys], [b - a for a, b in xs])
    return result, counts[:, :, None]


def scale_noise(call: Call[PoolAttrs]) -> float:
    """Steps by which slightly different scales of input and output put the output off its meaning."""
    return (65535 if is_wide(call) else 255) * abs(call.input(0).q.scale - call.output.q.scale) / call.output.q.scale

# SPDX-License-Identifier: Apache-2.0
"""Weights of few bits: whole steps from a lowest value, with a grid for each group of output channels.

4-bit, 2-bit, ternary and binary weights are such grids: {-8 … 7}, {-2 … 1}, {-a, 0, a}, {-a, a}. Three, five or six
levels are stored as digits to that base (five trits in a byte), others as bits.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels import indices
from tinygen.kernels.decoding import indexed
from tinygen.kernels.stored import Fields, Form, unpacked

#: The most steps of a grid, which is as many as the C decoder has room for.
LEVELS = 32


def pack(rows: Array) -> Fields | None:
    """The fields of ``packed_t`` with the number of grids that takes fewest bytes."""
    wide = rows.astype(np.int64)
    best: tuple[int, int, Array, Array] | None = None
    for size in indices.group_sizes(len(rows)):
        low, step, levels = grids(wide, size)
        total = indices.stream_bytes(levels, rows.size) + 2 * len(low)
        if levels <= LEVELS and (best is None or total < best[0]):
            best = total, size, low, step
    return _fields(wide, *best[1:]) if best else None


def grids(rows: Array, size: int) -> tuple[Array, Array, int]:
    """Lowest value and step for each `size` rows, and the number of levels that is enough for all of them."""
    starts = np.arange(0, len(rows), size)
    low = np.minimum.reduceat(rows.min(axis=1), starts)
    above = rows - np.repeat(low, size)[: len(rows), None]
    step = np.maximum(np.gcd.reduceat(np.gcd.reduce(above, axis=1), starts), 1)
    high = np.maximum.reduceat(rows.max(axis=1), starts)
    return low, step, int(((high - low) // step).max()) + 1


def _fields(rows: Array, group: int, low: Array, step: Array) -> Fields:
    _, _, levels = grids(rows, group)
    of_row = np.arange(len(rows)) // group
    numbers = (rows - low[of_row, None]) // step[of_row, None]
    stream = indices.pack(numbers.ravel(), levels)
    return {
        **{f"indices.{name}": value for name, value in stream.items()},
        "low": low.astype(np.int8),
        "step": step.astype(np.uint8),
        "levels": levels,
        "group": group,
    }


FORM = Form(
    name="packed",
    pack=pack,
    uses=("common/indices",),
    code={
        "conv_2d": 200,
        "fully_connected": 250,
        "fully_connected_dot": 170,
        "depthwise_conv_2d": 140,
        "transpose_conv": 250,
    },
)
KERNELS = (*unpacked(FORM), *indexed(FORM))

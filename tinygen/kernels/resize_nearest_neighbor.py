# SPDX-License-Identifier: Apache-2.0
"""RESIZE_NEAREST_NEIGHBOR: repeated pixels where each is shown equally often, or else a table of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int32
from tinygen.kernels.moves import Move, contiguous, move_kernels
from tinygen.ops.base import Call
from tinygen.ops.resize_nearest_neighbor import ResizeAttrs, axes


def repeats(call: Call[ResizeAttrs]) -> bool:
    """Whether every row and every column is shown a fixed number of times, one after the other."""
    sizes = call.input(0).shape[1:3]
    return all(np.array_equal(a, np.repeat(np.arange(n), len(a) // n)) for a, n in zip(axes(call), sizes, strict=True))


def repeated(call: Call[ResizeAttrs]) -> Sequence[Move]:
    """Pixels `down` times below each other and `across` times side by side: loops that stand still in the input."""
    batch, height, width, depth = call.input(0).shape
    down, across = call.output.shape[1] // height, call.output.shape[2] // width
    dims = (batch * height, down, width, across, depth)
    return (Move(dims, (width * depth, 0, depth, 0, 1), contiguous(dims)),)


def launch(call: Call[ResizeAttrs]) -> Sequence[Launch]:
    (batch, height, width, depth), size = call.input(0).shape, call.input(0).dtype.bytes
    rows, columns = axes(call)
    params: dict[str, int | Array] = {
        "batches": batch,
        "image": height * width * depth * size,
        "height": len(rows),
        "width": len(columns),
        "run": depth * size,
        "rows": int32(rows * (width * depth * size)),
        "columns": int32(columns * (depth * size)),
    }
    return (Launch((0,), (0,), params),)


KERNELS = (
    *move_kernels(("RESIZE_NEAREST_NEIGHBOR",), repeated, repeats),
    Kernel(
        op=("RESIZE_NEAREST_NEIGHBOR",),
        template="resize_nearest_neighbor/table",
        launch=launch,
        wide=None,
        speed=3.0,
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""BATCH_MATMUL in plain C: with one constant matrix on the right it is a FULLY_CONNECTED, which packs that matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import collapse
from tinygen.kernels.fully_connected import USES, matrix_launch
from tinygen.ops.base import Call
from tinygen.ops.batch_matmul import BatchMatMulAttrs, sizes
from tinygen.ops.convolution import limits_of, multipliers_of

#: Dimensions of batches that the template has loops for.
BATCHES = 3


def one_constant_matrix(call: Call[BatchMatMulAttrs]) -> bool:
    """Whether every row of the left side meets the same constant matrix."""
    return call.constants[1] is not None and math.prod(call.input(1).shape[:-2]) == 1 and not call.attrs.adj_x


def packed_launch(call: Call[BatchMatMulAttrs]) -> Sequence[Launch]:
    matrix = call.constant(1).reshape(call.input(1).shape[-2:])
    return matrix_launch(call, matrix if call.attrs.adj_y else matrix.T)


def product_params(call: Call[Any], rows: int, depth: int, columns: int) -> dict[str, int | float | Array]:
    """The fields for one product of inputs 0 [rows, depth] and 1 [columns, depth], both contiguous."""
    (multiplier,), (shift,) = multipliers_of(call)
    low, high = limits_of(call)
    return {
        **{name: 1 for name in ("d0", "d1", "d2")},
        **{name: 0 for name in ("a0", "a1", "a2", "b0", "b1", "b2")},
        "rows": rows, "columns": columns, "depth": depth,
        "a_row": depth, "a_step": 1, "b_column": depth, "b_step": 1,
        "a_zero_point": call.input(0).q.zero_point, "b_zero_point": call.input(1).q.zero_point,
        "multiplier": int(multiplier), "shift": int(shift), "output_offset": call.output.q.zero_point,
        "low": low, "high": high,
    }  # fmt: skip


def launch(call: Call[BatchMatMulAttrs]) -> Sequence[Launch]:
    rows, depth, _, columns = sizes(call)
    dims, strides = collapse(call.output.shape[:-2], call.input(0).shape[:-2], call.input(1).shape[:-2])
    params = product_params(call, rows, depth, columns)
    matrices = zip("ab", strides, (rows * depth, depth * columns), strict=True)
    first = BATCHES - len(dims)
    params |= {f"d{first + i}": dim for i, dim in enumerate(dims)}
    params |= {f"{side}{first + i}": step * size for side, steps, size in matrices for i, step in enumerate(steps)}
    if call.attrs.adj_x:
        params |= {"a_row": 1, "a_step": rows}
    if not call.attrs.adj_y:
        params |= {"b_column": 1, "b_step": columns}
    return (Launch((0, 1), (0,), params),)


def run_time_weights(call: Call[Any]) -> bool:
    return call.constants[1] is None


def fully_connected_launch(call: Call[Any]) -> Sequence[Launch]:
    units, depth = call.input(1).shape
    return (Launch((0, 1), (0,), product_params(call, call.input(0).elements // depth, depth, units)),)


KERNELS = (
    Kernel(
        op=("BATCH_MATMUL",),
        template="fully_connected/portable",
        launch=packed_launch,
        accepts=one_constant_matrix,
        uses=USES,
        speed=4.0,
    ),
    Kernel(
        op=("BATCH_MATMUL",),
        template="batch_matmul/portable",
        launch=launch,
        uses=("common/requantize",),
        speed=8.0,
    ),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="batch_matmul/portable",
        launch=fully_connected_launch,
        accepts=run_time_weights,
        uses=("common/requantize",),
        speed=8.0,
    ),
)

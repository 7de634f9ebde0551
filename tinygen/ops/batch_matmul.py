# SPDX-License-Identifier: Apache-2.0
"""BATCH_MATMUL: products of matrices, with broadcasting over the other dimensions (reference/batch_matmul.h).

Inputs int8 [..., rows, depth] and [..., depth, columns], per tensor, with any zero points; `adj_x` and `adj_y` say that
the first or the second is stored transposed. Output int8 [..., rows, columns].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.convolution import bound, fits_int32
from tinygen.ops.rules import int8_pair
from tinygen.ops.shapes import broadcast_shape
from tinygen.ops.sums import requantize


@dataclass(frozen=True)
class BatchMatMulAttrs(Attrs):
    """Whether each input is stored transposed."""

    adj_x: bool = False
    adj_y: bool = False


def two_matrices(call: Call[Any]) -> bool:
    """There must be two inputs, of 2 to 5 dimensions each."""
    return len(call.inputs) == 2 and all(2 <= len(call.input(i).shape) <= 5 for i in (0, 1))


def sizes(call: Call[Any]) -> tuple[int, int, int, int]:
    """Rows and depth of the left matrix, depth and columns of the right one."""
    (a, b), (c, d) = call.input(0).shape[-2:], call.input(1).shape[-2:]
    return (*((b, a) if call.attrs.adj_x else (a, b)), *((d, c) if call.attrs.adj_y else (c, d)))


def same_depth(call: Call[Any]) -> bool:
    """The first matrix must have as many columns as the second one has rows."""
    _, depth, other, _ = sizes(call)
    return depth == other


def batches_broadcast(call: Call[Any]) -> bool:
    """The dimensions before the last two must broadcast (equal, or 1, counted from the last)."""
    return broadcast_shape(call.input(0).shape[:-2], call.input(1).shape[:-2]) is not None


def sums_fit(call: Call[Any]) -> bool:
    """The sum of products, times the scale ratio where that is above 1, must fit 32 bits for every input."""
    return fits_int32(call, sizes(call)[1] * 255 * 255)


def infer(call: Call[BatchMatMulAttrs]) -> Sequence[Signature]:
    rows, _, _, columns = sizes(call)
    batch = broadcast_shape(call.input(0).shape[:-2], call.input(1).shape[:-2]) or ()
    return (((*batch, rows, columns), call.input(0).dtype),)


def real(call: Call[BatchMatMulAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    left, right = "ni" if call.attrs.adj_x else "in", "jn" if call.attrs.adj_y else "nj"
    return (np.einsum(f"...{left},...{right}->...ij", given(inputs[0]), given(inputs[1])),)


def reference(call: Call[BatchMatMulAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """Matrix products in float64, which are exact below 2^53."""
    a = given(inputs[0]).astype(np.float64) - call.input(0).q.zero_point
    b = given(inputs[1]).astype(np.float64) - call.input(1).q.zero_point
    a = a.swapaxes(-1, -2) if call.attrs.adj_x else a
    b = b.swapaxes(-1, -2) if call.attrs.adj_y else b
    return (requantize(call, a @ b),)


def macs(call: Call[BatchMatMulAttrs]) -> int:
    return call.output.elements * sizes(call)[1]


OP = Op(
    name="BATCH_MATMUL",
    attrs=BatchMatMulAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(int8_pair, two_matrices, same_depth, batches_broadcast, sums_fit),
    macs=macs,
    bound=bound,
)

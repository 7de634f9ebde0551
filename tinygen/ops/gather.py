# SPDX-License-Identifier: Apache-2.0
"""GATHER: the slices of an axis that the indices (input 1) name (micro/kernels/gather.cc).

An index computed at run time may lie outside the axis. TFLM then reads memory that is not the tensor's; here the
nearest index inside is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import exact, normal_axis
from tinygen.ops.rules import same_quant


@dataclass(frozen=True)
class GatherAttrs(Attrs):
    """`axis` of the input that is indexed; the first `batch_dims` dimensions of input and indices go together.

    Negative ones count from the end: of the input's dimensions, and of the indices'.
    """

    axis: int = 0
    batch_dims: int = 0


def int32_indices(call: Call[Any]) -> bool:
    """Indices must be int32."""
    return call.input(1).dtype is DType.INT32


def batches_fit(call: Call[Any]) -> bool:
    """The first batch_dims dimensions of input and indices must be the same, and lie before the axis."""
    axis, batch = places(call)
    return 0 <= batch <= axis and call.input(0).shape[:batch] == call.input(1).shape[:batch]


def indices_inside(call: Call[Any]) -> bool:
    """Constant indices must lie inside the axis, counted from 0."""
    indices = call.constants[1]
    if indices is None:
        return True
    return bool(np.all((indices >= 0) & (indices < call.input(0).shape[places(call)[0]])))


def places(call: Call[Any]) -> tuple[int, int]:
    """(axis, batch_dims), counted from the front."""
    batch = int(call.attrs.batch_dims)
    batch += len(call.input(1).shape) if batch < 0 else 0
    return normal_axis(call.attrs.axis, len(call.input(0).shape)), batch


def infer(call: Call[GatherAttrs]) -> Sequence[Signature]:
    (axis, batch), shape = places(call), call.input(0).shape
    return (((*shape[:axis], *call.input(1).shape[batch:], *shape[axis + 1 :]), call.input(0).dtype),)


def gather(call: Call[GatherAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    (axis, batch), shape = places(call), call.input(0).shape
    indices = np.clip(given(inputs[1]).astype(np.int64), 0, shape[axis] - 1)
    groups = int(np.prod(shape[:batch], dtype=np.int64))
    data = given(inputs[0]).reshape(groups, *shape[batch:])
    pairs = zip(data, indices.reshape(groups, -1), strict=True)
    return (np.stack([np.take(d, i, axis=axis - batch) for d, i in pairs]).reshape(call.output.shape),)


OP = Op(
    name="GATHER",
    attrs=GatherAttrs,
    infer=infer,
    real=gather,
    reference=gather,
    constraints=(int32_indices, same_quant, batches_fit, indices_inside),
    quantize=SAME,
    bound=exact,
)

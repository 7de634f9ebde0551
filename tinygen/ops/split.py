# SPDX-License-Identifier: Apache-2.0
"""SPLIT: a tensor (input 1) cut into equal parts along an axis (input 0) (micro/kernels/split.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import exact, normal_axis, scalar


@dataclass(frozen=True)
class SplitAttrs(Attrs):
    """How many parts there are."""

    num_splits: int = 0


def constant_axis(call: Call[Any]) -> bool:
    """The axis (input 0) must be a constant."""
    return call.constants[0] is not None


def same_type(call: Call[Any]) -> bool:
    """Input 1 and all outputs must have the same element type, scale and zero point (values are moved as they are)."""
    data = call.input(1)
    return all((t.dtype, t.quant) == (data.dtype, data.quant) for t in call.outputs)


def equal_parts(call: Call[Any]) -> bool:
    """The number of outputs must be the option num_splits, and divide the axis."""
    parts = len(call.outputs)
    return int(call.attrs.num_splits) == parts and call.input(1).shape[axis_of(call)] % parts == 0


def axis_of(call: Call[Any]) -> int:
    """The axis, counted from the front."""
    return normal_axis(scalar(call, 0), len(call.input(1).shape))


def infer(call: Call[SplitAttrs]) -> Sequence[Signature]:
    axis, shape = axis_of(call), list(call.input(1).shape)
    shape[axis] //= len(call.outputs)
    return ((tuple(shape), call.input(1).dtype),) * len(call.outputs)


def split(call: Call[SplitAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return np.split(given(inputs[1]), len(call.outputs), axis=axis_of(call))


OP = Op(
    name="SPLIT",
    attrs=SplitAttrs,
    infer=infer,
    real=split,
    reference=split,
    constraints=(constant_axis, same_type, equal_parts),
    quantize=SAME,
    bound=exact,
)

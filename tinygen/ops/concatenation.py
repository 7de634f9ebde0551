# SPDX-License-Identifier: Apache-2.0
"""CONCATENATION: tensors joined along an axis (reference/concatenation.h).

TFLM copies bytes and refuses int8 inputs of another scale or zero point than the output's, and so does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Activation, Call, Op, Signature
from tinygen.ops.movement import alike, exact, normal_axis, required
from tinygen.ops.rows import Access, Span


@dataclass(frozen=True)
class ConcatenationAttrs(Attrs):
    """The axis along which the inputs lie in the output; negative counts from the end."""

    axis: int = 0
    activation: Activation = Activation.NONE


def no_activation(call: Call[Any]) -> bool:
    """There must be no fused activation."""
    return call.attrs.activation is Activation.NONE


def shapes_fit(call: Call[Any]) -> bool:
    """All inputs must have the same shape but for the axis along which they are joined."""
    axis = axis_of(call)
    rests = [call.input(i).shape[:axis] + call.input(i).shape[axis + 1 :] for i in range(len(call.inputs))]
    ranks = {len(call.input(i).shape) for i in range(len(call.inputs))}
    return len(set(rests)) == len(ranks) == 1


def axis_of(call: Call[Any]) -> int:
    """The axis, counted from the front."""
    return normal_axis(call.attrs.axis, len(call.input(0).shape))


def infer(call: Call[ConcatenationAttrs]) -> Sequence[Signature]:
    axis, shape = axis_of(call), list(call.input(0).shape)
    shape[axis] = sum(call.input(i).shape[axis] for i in range(len(call.inputs)))
    return ((tuple(shape), call.input(0).dtype),)


def concatenate(call: Call[ConcatenationAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.concatenate(required(inputs), axis=axis_of(call)),)


def rows(call: Call[ConcatenationAttrs]) -> Access | None:
    """Of each input the row at the same place; or, of images below each other, the row that is there, or none."""
    if any(value is not None for value in call.constants) or axis_of(call) == 0:
        return None
    heights = [call.input(i).shape[1] for i in range(len(call.inputs))]
    starts = [sum(heights[:i]) if axis_of(call) == 1 else 0 for i in range(len(heights))]

    def spans(first: int, end: int) -> tuple[Span, ...]:
        places = zip(starts, heights, strict=True)
        return tuple((_within(first - start, height), _within(end - start, height)) for start, height in places)

    return Access(spans)


def _within(row: int, height: int) -> int:
    return min(max(row, 0), height)


OP = Op(
    name="CONCATENATION",
    attrs=ConcatenationAttrs,
    infer=infer,
    real=concatenate,
    reference=concatenate,
    constraints=(no_activation, alike, shapes_fit),
    quantize=SAME,
    bound=exact,
    rows=rows,
)

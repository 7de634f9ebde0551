# SPDX-License-Identifier: Apache-2.0
"""UNPACK: a tensor taken apart along an axis, which the outputs lack (micro/kernels/unpack.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import exact, normal_axis
from tinygen.ops.rules import same_quant


@dataclass(frozen=True)
class UnpackAttrs(Attrs):
    """The axis (negative counts from the end) and its size."""

    axis: int = 0
    num: int = 0


def count_agrees(call: Call[Any]) -> bool:
    """The option num and the number of outputs must be the size of the axis."""
    return int(call.attrs.num) == len(call.outputs) == call.input(0).shape[axis_of(call)]


def axis_of(call: Call[Any]) -> int:
    """The axis, counted from the front."""
    return normal_axis(call.attrs.axis, len(call.input(0).shape))


def infer(call: Call[UnpackAttrs]) -> Sequence[Signature]:
    axis, shape = axis_of(call), call.input(0).shape
    return ((shape[:axis] + shape[axis + 1 :], call.input(0).dtype),) * len(call.outputs)


def unpack(call: Call[UnpackAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return tuple(np.moveaxis(given(inputs[0]), axis_of(call), 0))


OP = Op(
    name="UNPACK",
    attrs=UnpackAttrs,
    infer=infer,
    real=unpack,
    reference=unpack,
    constraints=(same_quant, count_agrees),
    quantize=SAME,
    bound=exact,
)

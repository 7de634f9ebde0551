# SPDX-License-Identifier: Apache-2.0
"""PACK: tensors of one shape stacked along a new axis (micro/kernels/pack.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature
from tinygen.ops.movement import alike, exact, normal_axis, required


@dataclass(frozen=True)
class PackAttrs(Attrs):
    """The new axis (negative counts from the end of the output's) and how many inputs there are."""

    axis: int = 0
    values_count: int = 0


def count_agrees(call: Call[Any]) -> bool:
    """The option values_count must be the number of inputs."""
    return int(call.attrs.values_count) == len(call.inputs)


def one_shape(call: Call[Any]) -> bool:
    """All inputs must have the same shape."""
    return len({call.input(i).shape for i in range(len(call.inputs))}) == 1


def axis_of(call: Call[Any]) -> int:
    """The new axis, counted from the front."""
    return normal_axis(call.attrs.axis, len(call.input(0).shape) + 1)


def infer(call: Call[PackAttrs]) -> Sequence[Signature]:
    axis, shape = axis_of(call), call.input(0).shape
    return (((*shape[:axis], len(call.inputs), *shape[axis:]), call.input(0).dtype),)


def pack(call: Call[PackAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.stack(required(inputs), axis=axis_of(call)),)


OP = Op(
    name="PACK",
    attrs=PackAttrs,
    infer=infer,
    real=pack,
    reference=pack,
    constraints=(count_agrees, alike, one_shape),
    quantize=SAME,
    bound=exact,
)

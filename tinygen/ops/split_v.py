# SPDX-License-Identifier: Apache-2.0
"""SPLIT_V: a tensor cut into parts of given sizes (input 1) along an axis (input 2) (micro/kernels/split_v.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import constant_parameters, exact, integers, normal_axis, scalar
from tinygen.ops.rules import same_quant


@dataclass(frozen=True)
class SplitVAttrs(Attrs):
    """How many parts there are."""

    num_splits: int = 0


def count_agrees(call: Call[Any]) -> bool:
    """The option num_splits and the number of sizes must be the number of outputs."""
    return int(call.attrs.num_splits) == len(integers(call, 1)) == len(call.outputs)


def sizes_fit(call: Call[Any]) -> bool:
    """The sizes must be positive and add up to the axis; one of them may be -1 (whatever is left)."""
    return min(sizes(call)) > 0 and sum(sizes(call)) == call.input(0).shape[axis_of(call)]


def axis_of(call: Call[Any]) -> int:
    """The axis, counted from the front."""
    return normal_axis(scalar(call, 2), len(call.input(0).shape))


def sizes(call: Call[Any]) -> tuple[int, ...]:
    """The parts' sizes along the axis, with the first -1 resolved."""
    asked = integers(call, 1)
    if -1 not in asked:
        return asked
    at = asked.index(-1)
    rest = call.input(0).shape[axis_of(call)] - (sum(asked) + 1)
    return (*asked[:at], rest, *asked[at + 1 :])


def infer(call: Call[SplitVAttrs]) -> Sequence[Signature]:
    axis, shape, dtype = axis_of(call), call.input(0).shape, call.input(0).dtype
    return tuple(((*shape[:axis], size, *shape[axis + 1 :]), dtype) for size in sizes(call))


def split(call: Call[SplitVAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return np.split(given(inputs[0]), np.cumsum(sizes(call))[:-1], axis=axis_of(call))


OP = Op(
    name="SPLIT_V",
    attrs=SplitVAttrs,
    infer=infer,
    real=split,
    reference=split,
    constraints=(constant_parameters, same_quant, count_agrees, sizes_fit),
    quantize=SAME,
    bound=exact,
)

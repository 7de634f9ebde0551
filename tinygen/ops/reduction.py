# SPDX-License-Identifier: Apache-2.0
"""What operators that reduce along constant axes share: MEAN, SUM, REDUCE_MAX, REDUCE_MIN (reference/reduce.h)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType
from tinygen.ops.base import Call, Signature, given
from tinygen.ops.numerics import clamp, multiply_by_quantized_multiplier
from tinygen.ops.shapes import axes_of


@dataclass(frozen=True)
class ReducerAttrs(Attrs):
    """Whether reduced dimensions stay, with size 1."""

    keep_dims: bool = False


def constant_axes(call: Call[Any]) -> bool:
    """The axes must be an int32 constant, each between -rank and rank - 1."""
    if not call.has(1) or call.constants[1] is None or call.input(1).dtype is not DType.INT32:
        return False
    rank = len(call.input(0).shape)
    return all(-rank <= axis < rank for axis in call.constant(1).ravel())


def axes(call: Call[Any]) -> tuple[int, ...]:
    """The reduced axes, sorted; may be empty."""
    return axes_of(call.constant(1).ravel(), len(call.input(0).shape))


def count(call: Call[Any]) -> int:
    """How many elements are reduced to one."""
    return math.prod(call.input(0).shape[axis] for axis in axes(call))


def ratio(call: Call[Any]) -> float:
    """Output steps in one input step."""
    return call.input(0).q.scale / call.output.q.scale


def infer(call: Call[ReducerAttrs]) -> Sequence[Signature]:
    reduced, shape = axes(call), call.input(0).shape
    kept = [1 if i in reduced else n for i, n in enumerate(shape) if call.attrs.keep_dims or i not in reduced]
    return ((tuple(kept), call.input(0).dtype),)


def requantized_sum(call: Call[ReducerAttrs], inputs: Sequence[Array | None], rule: tuple[int, int]) -> Array:
    """The zero-centred sum along the axes, times `rule` (multiplier, shift), clamped: QuantizedMeanOrSum."""
    total = given(inputs[0]).astype(np.int64).sum(axis=axes(call), keepdims=call.attrs.keep_dims)
    centred = total - call.input(0).q.zero_point * count(call)
    return clamp(multiply_by_quantized_multiplier(centred, *rule) + call.output.q.zero_point, call.output)

# SPDX-License-Identifier: Apache-2.0
"""SLICE: a box of the input, from `begin` (input 1) with `size` (input 2) (reference/slice.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import at_most_six_dimensions, constant_parameters, exact, integers
from tinygen.ops.rules import same_quant


def one_for_each(call: Call[Any]) -> bool:
    """There must be one begin and one size for each dimension."""
    return len(integers(call, 1)) == len(integers(call, 2)) == len(call.input(0).shape)


def inside(call: Call[Any]) -> bool:
    """The slice must lie inside the input: 0 <= begin, 0 < size, begin + size <= dimension."""
    return all(
        b >= 0 and n > 0 and b + n <= limit for (b, n), limit in zip(box(call), call.input(0).shape, strict=True)
    )


def box(call: Call[Any]) -> tuple[tuple[int, int], ...]:
    """(begin, size) along each axis; a size of -1 means up to the end."""
    sides = zip(integers(call, 1), integers(call, 2), call.input(0).shape, strict=True)
    return tuple((begin, limit - begin if size == -1 else size) for begin, size, limit in sides)


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return ((tuple(size for _, size in box(call)), call.input(0).dtype),)


def cut(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (given(inputs[0])[tuple(slice(begin, begin + size) for begin, size in box(call))],)


OP = Op(
    name="SLICE",
    attrs=Attrs,
    infer=infer,
    real=cut,
    reference=cut,
    constraints=(constant_parameters, same_quant, at_most_six_dimensions, one_for_each, inside),
    quantize=SAME,
    bound=exact,
)

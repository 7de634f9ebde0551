# SPDX-License-Identifier: Apache-2.0
"""PAD: a border of zeros (reference/pad.h). In quantized tensors zero is the zero point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import (
    at_most_five_dimensions,
    constant_parameters,
    exact,
    not_per_channel,
    pairs,
    zero_of,
)
from tinygen.ops.rows import Access, Span, with_constant
from tinygen.ops.rules import same_quant


def not_negative(call: Call[Any]) -> bool:
    """Paddings must not be negative."""
    return all(before >= 0 and after >= 0 for before, after in paddings(call))


def paddings(call: Call[Any]) -> tuple[tuple[int, int], ...]:
    """(before, after) for each dimension, in elements: input 1, shape [dimensions, 2]."""
    return pairs(call, 1, len(call.input(0).shape))


def infer(call: Call[Any]) -> Sequence[Signature]:
    sides = zip(call.input(0).shape, paddings(call), strict=True)
    return ((tuple(size + before + after for size, (before, after) in sides), call.input(0).dtype),)


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.pad(given(inputs[0]), paddings(call), constant_values=0.0),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.pad(given(inputs[0]), paddings(call), constant_values=zero_of(call.output)),)


def rows(call: Call[Attrs]) -> Access | None:
    """Rows of the input, and of the border none."""
    if any(paddings(call)[0]):
        return None
    height, (before, _) = call.input(0).shape[1], paddings(call)[1]

    def span(first: int, end: int) -> Span:
        return min(max(first - before, 0), height), min(max(end - before, 0), height)

    def cut(part: Call[Attrs], first: int, end: int) -> Call[Attrs]:
        above = min(max(before - first, 0), end - first)
        below = end - first - above - part.input(0).shape[1]
        sides = [*paddings(call)]
        sides[1] = above, below
        return with_constant(part, 1, sides)

    return Access(lambda first, end: (span(first, end),), cut)


OP = Op(
    name="PAD",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(constant_parameters, same_quant, not_per_channel, at_most_five_dimensions, not_negative),
    quantize=SAME,
    bound=exact,
    rows=rows,
)

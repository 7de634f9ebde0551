# SPDX-License-Identifier: Apache-2.0
"""STRIDED_SLICE: numpy's x[begin:end:stride, …] with masks (reference/strided_slice.h).

Inputs 1, 2 and 3 (begin, end, strides) hold one entry for each item between the brackets. TFLM wants one for each
dimension and ignores ellipsis_mask and new_axis_mask; here they mean what TensorFlow says, and fewer entries leave the
last dimensions whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import at_most_six_dimensions, constant_parameters, exact, integers
from tinygen.ops.rules import same_quant


@dataclass(frozen=True)
class StridedSliceAttrs(Attrs):
    """Masks: bit i stands for item i. A masked begin or end is the first or last element in the stride's direction."""

    begin_mask: int = 0
    end_mask: int = 0
    ellipsis_mask: int = 0
    new_axis_mask: int = 0
    shrink_axis_mask: int = 0
    offset: bool = False


@dataclass(frozen=True)
class Span:
    """`count` indices from `start` on every `stride`, along the input's next axis; `new`: along no axis of the input.

    The output has a dimension of `count`, unless the span is a single index (`dropped`).
    """

    start: int
    count: int
    stride: int = 1
    new: bool = False
    dropped: bool = False


def no_offset(call: Call[Any]) -> bool:
    """The option offset (ends relative to begins) must not be set: TensorFlow Lite Micro ignores it."""
    return not call.attrs.offset


def same_lengths(call: Call[Any]) -> bool:
    """Begin, end and strides must have the same number of entries, and no stride be 0."""
    begins, ends, strides = (integers(call, i) for i in (1, 2, 3))
    return len(begins) == len(ends) == len(strides) and 0 not in strides


def one_ellipsis(call: Call[Any]) -> bool:
    """At most one item can be an ellipsis, and the others cannot be more than the input has dimensions."""
    ellipses = [i for i in range(len(integers(call, 1))) if call.attrs.ellipsis_mask >> i & 1]
    return len(ellipses) <= 1 and left_whole(call) >= 0


def indices_inside(call: Call[Any]) -> bool:
    """A single index (shrink_axis_mask) must lie inside the input, and its stride be positive."""
    used = [span for span in spans(call) if not span.new]
    return all(
        not s.dropped or (s.stride > 0 and 0 <= s.start < n) for s, n in zip(used, call.input(0).shape, strict=True)
    )


def left_whole(call: Call[Any]) -> int:
    """How many dimensions of the input no item stands for: those of the ellipsis, or the last ones."""
    masked = call.attrs.ellipsis_mask | call.attrs.new_axis_mask
    return len(call.input(0).shape) - sum(not masked >> i & 1 for i in range(len(integers(call, 1))))


def spans(call: Call[Any]) -> list[Span]:
    """What is taken along each axis of the input in order, with the new axes between them."""
    shape, attrs = list(call.input(0).shape), call.attrs
    result: list[Span] = []
    axes = iter(shape)

    def whole(count: int) -> Iterator[Span]:
        return (Span(0, next(axes)) for _ in range(count))

    items = list(zip(*(integers(call, i) for i in (1, 2, 3)), strict=True))
    for i, (begin, end, stride) in enumerate(items):
        if attrs.ellipsis_mask >> i & 1:
            result += whole(left_whole(call))
        elif attrs.new_axis_mask >> i & 1:
            result.append(Span(0, 1, new=True))
        else:
            result.append(_span(attrs, i, begin, end, stride, next(axes)))
    return [*result, *(Span(0, size) for size in axes)]


def _span(attrs: StridedSliceAttrs, item: int, begin: int, end: int, stride: int, size: int) -> Span:
    """Item number `item` along an axis of `size`: StartForAxis and StopForAxis of strided_slice_logic.h."""
    low, high = (0, size) if stride > 0 else (-1, size - 1)
    first, last = (low, high) if stride > 0 else (high, low)
    if attrs.shrink_axis_mask >> item & 1:
        return Span(0 if attrs.begin_mask >> item & 1 else begin + size * (begin < 0), 1, stride, dropped=True)
    start = first if attrs.begin_mask >> item & 1 else min(max(begin + size * (begin < 0), low), high)
    stop = last if attrs.end_mask >> item & 1 else min(max(end + size * (end < 0), low), high)
    return Span(start, len(range(start, stop, stride)), stride)


def infer(call: Call[StridedSliceAttrs]) -> Sequence[Signature]:
    return ((tuple(span.count for span in spans(call) if not span.dropped), call.input(0).dtype),)


def cut(call: Call[StridedSliceAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    picks = [span.start + span.stride * np.arange(span.count) for span in spans(call) if not span.new]
    return (given(inputs[0])[np.ix_(*picks)].reshape(call.output.shape),)


OP = Op(
    name="STRIDED_SLICE",
    attrs=StridedSliceAttrs,
    infer=infer,
    real=cut,
    reference=cut,
    constraints=(
        constant_parameters,
        same_quant,
        at_most_six_dimensions,
        no_offset,
        same_lengths,
        one_ellipsis,
        indices_inside,
    ),
    quantize=SAME,
    bound=exact,
)

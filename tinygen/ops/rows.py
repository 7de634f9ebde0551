# SPDX-License-Identifier: Apache-2.0
"""Which rows of its inputs an operator's rows come from, for operators that can be computed a few rows at a time.

`Op.rows` gives the `Access` of a node on one image (NHWC, N = 1), or None where it has to be computed as a whole. Some
rows of a layer are then a node of the same operator, on some rows of its inputs: any kernel computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array, TensorType
from tinygen.ops.base import Call, Op

#: Rows from the first up to the second number, exclusively.
Span = tuple[int, int]


def as_it_is(part: Call[Any], first: int, end: int) -> Call[Any]:
    """The default of `Access.cut`."""
    return part


@dataclass(frozen=True)
class Access:
    """How rows of an operator's output come from rows of its run-time inputs.

    - `spans(first, end)`: what output rows `first` up to `end` need of each run-time input, in the inputs' order.
    - `cut(part, first, end)`: the node of those rows; `part` has the shapes of the rows, but for them the attributes
      and constants of the whole.
    - `local`: each element of a row comes from elements at its place in the inputs' rows, or from its pixel.
    - `step`, `begin`: several rows at a time are a multiple of `step` and begin at `begin` plus such a multiple.
    - `blocks`: so are single rows.
    """

    spans: Callable[[int, int], tuple[Span, ...]]
    cut: Callable[[Call[Any], int, int], Call[Any]] = as_it_is
    local: bool = False
    step: int = 1
    begin: int = 0
    blocks: bool = False

    def bands(self, height: int, rows: int) -> list[Span]:
        """The `height` rows of the output in bands of about so many `rows`."""
        size = 1 if rows < self.step and not self.blocks else max(self.step, rows // self.step * self.step)
        lead = self.begin % self.step if size > 1 else 0
        starts = [*([0] if lead else []), *range(lead, height, size)]
        return list(zip(starts, [*starts[1:], height], strict=True))


def access_of(op: Op[Any], call: Call[Any]) -> Access | None:
    """The access of `call`, a node of operator `op`; None if it is not about single images."""
    images = [t for t, c in zip(call.inputs, call.constants, strict=True) if t is not None and c is None]
    if not images or len(call.outputs) != 1 or not all(map(is_image, (*images, call.output))):
        return None
    return by_pixel(call) if op.pointwise(call) else op.rows(call)


def is_image(t: TensorType) -> bool:
    """Whether `t` has four dimensions, of which the first is 1."""
    return len(t.shape) == 4 and t.shape[0] == 1


def part_of(call: Call[Any], access: Access, first: int, end: int) -> Call[Any]:
    """The node of output rows `first` up to `end` of `call`."""
    spans, inputs = iter(access.spans(first, end)), list(call.inputs)
    for i, t in enumerate(call.inputs):
        if t is not None and call.constants[i] is None:
            top, bottom = next(spans)
            inputs[i] = rows_of(t, bottom - top)
    return access.cut(replace(call, inputs=tuple(inputs), outputs=(rows_of(call.output, end - first),)), first, end)


def rows_of(t: TensorType, rows: int) -> TensorType:
    """The type of `rows` rows of an image of type `t`."""
    return replace(t, shape=(1, rows, *t.shape[2:]))


def with_constant(part: Call[Any], index: int, values: Sequence[Any] | Array) -> Call[Any]:
    """`part` with other `values` of the constant input `index`, of the same shape and type."""
    old = part.constant(index)
    constants = list(part.constants)
    constants[index] = np.asarray(values, old.dtype).reshape(old.shape)
    return replace(part, constants=tuple(constants))


def windows(call: Call[Any], taps: int, dilation: int = 1) -> Access | None:
    """A window of `taps` rows slides over the one input; parts at the edges have the padding that the layer has there.

    None if an output row needs no row of the input.
    """
    height, stride, before = call.input(0).shape[1], call.attrs.stride[0], call.attrs.padding[0]
    reach = (taps - 1) * dilation + 1 - before

    def span(first: int, end: int) -> Span:
        return max(0, first * stride - before), min(height, (end - 1) * stride + reach)

    def cut(part: Call[Any], first: int, end: int) -> Call[Any]:
        sides = max(0, before - first * stride), max(0, (end - 1) * stride + reach - height)
        return replace(part, attrs=replace(part.attrs, padding=(*sides, *part.attrs.padding[2:])))

    edges = [span(row, row + 1) for row in (0, call.output.shape[1] - 1)]
    return Access(lambda first, end: (span(first, end),), cut) if all(top < bottom for top, bottom in edges) else None


def pool_windows(call: Call[Any]) -> Access | None:
    """The window of a pool."""
    return windows(call, call.attrs.window[0])


def conv_windows(call: Call[Any]) -> Access | None:
    """The window of a convolution."""
    return windows(call, call.input(1).shape[1], call.attrs.dilation[0])


def by_element(call: Call[Any]) -> Access | None:
    """Each element from the elements at its place. Inputs of one row repeat it; constants are the same in every row."""
    heights = [_height(t) for t, c in zip(call.inputs, call.constants, strict=True) if t is not None and c is None]
    known = [_height(t) for t, c in zip(call.inputs, call.constants, strict=True) if t is not None and c is not None]
    made = call.output.shape[1]

    def spans(first: int, end: int) -> tuple[Span, ...]:
        return tuple((first, end) if height == made else (0, 1) for height in heights)

    return Access(spans, local=True) if all(height == 1 for height in known) else None


def _height(t: TensorType) -> int:
    return (1, 1, 1, *t.shape)[-3]


def by_pixel(call: Call[Any]) -> Access | None:
    """Each pixel from that at its place in the only run-time input."""
    (shape,) = [t.shape for t, c in zip(call.inputs, call.constants, strict=True) if t is not None and c is None]
    return Access(lambda first, end: ((first, end),), local=True) if shape == call.output.shape else None

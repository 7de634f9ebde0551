# SPDX-License-Identifier: Apache-2.0
"""RESIZE_NEAREST_NEIGHBOR: each output pixel is the nearest input pixel (reference/resize_nearest_neighbor.h). NHWC.

Which pixel is the nearest is part of the definition, float32 arithmetic included, so `real` moves the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import constant_parameters, exact, four_dimensions, integers
from tinygen.ops.numerics import round_half_away
from tinygen.ops.rows import Access, with_constant
from tinygen.ops.rules import same_quant


@dataclass(frozen=True)
class ResizeAttrs(Attrs):
    """Whether the corners' centres of input and output coincide, and whether pixels have their centres at .5."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class PartAttrs(ResizeAttrs):
    """Of some rows of an image: the input row that each shows."""

    rows: tuple[int, ...] = ()


def height_and_width(call: Call[Any]) -> bool:
    """The size (input 1) must be two positive numbers: height and width."""
    size = integers(call, 1)
    return len(size) == 2 and min(size) > 0


def sources(before: int, after: int, attrs: ResizeAttrs) -> Array:
    """The input index that each of the `after` output indices along an axis shows, as int64 [after].

    GetNearestNeighbor of the reference, in float32: floor, or round halves away from zero, of (i + offset) * scale.
    """
    aligned = attrs.align_corners and after > 1
    scale = np.float32(before - 1) / np.float32(after - 1) if aligned else np.float32(before) / np.float32(after)
    offset = np.float32(0.5 if attrs.half_pixel_centers else 0.0)
    where = (np.arange(after, dtype=np.float32) + offset) * scale
    nearest = round_half_away(where) if attrs.align_corners else np.floor(where)
    return np.clip(nearest.astype(np.int64), 0, before - 1)


def infer(call: Call[ResizeAttrs]) -> Sequence[Signature]:
    (batch, _, _, channels), (height, width) = call.input(0).shape, integers(call, 1)
    return (((batch, height, width, channels), call.input(0).dtype),)


def resize(call: Call[ResizeAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    rows, columns = axes(call)
    return (given(inputs[0])[:, rows][:, :, columns],)


def axes(call: Call[ResizeAttrs]) -> tuple[Array, Array]:
    """The input row of each output row, and the input column of each output column."""
    before, after = call.input(0).shape, call.output.shape
    columns = sources(before[2], after[2], call.attrs)
    if isinstance(call.attrs, PartAttrs):
        return np.array(call.attrs.rows), columns
    return sources(before[1], after[1], call.attrs), columns


def rows(call: Call[ResizeAttrs]) -> Access:
    """The row that a row shows."""
    shown, width = axes(call)[0], call.output.shape[2]

    def cut(part: Call[ResizeAttrs], first: int, end: int) -> Call[ResizeAttrs]:
        attrs = PartAttrs(**vars(part.attrs), rows=tuple(int(r) for r in shown[first:end] - shown[first]))
        return with_constant(replace(part, attrs=attrs), 1, [end - first, width])

    step, rest = divmod(len(shown), call.input(0).shape[1])
    return Access(lambda first, end: ((int(shown[first]), int(shown[end - 1]) + 1),), cut, step=1 if rest else step)


OP = Op(
    name="RESIZE_NEAREST_NEIGHBOR",
    attrs=ResizeAttrs,
    infer=infer,
    real=resize,
    reference=resize,
    constraints=(constant_parameters, same_quant, four_dimensions, height_and_width),
    quantize=SAME,
    bound=exact,
    rows=rows,
)

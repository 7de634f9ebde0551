# SPDX-License-Identifier: Apache-2.0
"""RESIZE_BILINEAR: NHWC images interpolated to another size, in 10-bit fixed point (reference/resize_bilinear.h)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.numerics import clamp
from tinygen.ops.rows import Access, Span, with_constant
from tinygen.ops.rules import int8_in_out, same_quant

ONE = 1 << 10


@dataclass(frozen=True)
class ResizeAttrs(Attrs):
    """Which points of the two images coincide: the corner pixels' centres (align_corners), the images' edges
    (half_pixel_centers), or, with neither, the first pixels' centres, the step being the ratio of sizes."""

    align_corners: bool = False
    half_pixel_centers: bool = False


def four_dimensions(call: Call[Any]) -> bool:
    """Input and output must have 4 dimensions (NHWC)."""
    return len(call.input(0).shape) == len(call.output.shape) == 4


def constant_size(call: Call[Any]) -> bool:
    """The size must be an int32 constant of two positive numbers, height and width, below 2^16."""
    if not call.has(1) or call.constants[1] is None or call.input(1).dtype is not DType.INT32:
        return False
    return call.input(1).shape == (2,) and all(0 < n < 2**16 for n in call.constant(1))


def one_convention(call: Call[Any]) -> bool:
    """align_corners and half_pixel_centers must not both be set."""
    return not (call.attrs.align_corners and call.attrs.half_pixel_centers)


def modest_input(call: Call[Any]) -> bool:
    """The input's height and width must be below 2^16."""
    return max(call.input(0).shape[1:3]) < 2**16


def stays_inside(call: Call[Any]) -> bool:
    """The size must not be so large that TFLite's steps, rounded to 1/1024 pixel, lead beyond the input."""
    steps = [step(call, dim) for dim in (0, 1)]
    return all(s.at(int(n) - 1) < s.size * ONE for s, n in zip(steps, call.constant(1), strict=True))


@dataclass(frozen=True)
class Step:
    """Where along one dimension of `size` input pixels each output pixel lies: scale * i + offset, in 1/1024 pixels."""

    size: int
    scale: int
    offset: int

    def at(self, index: int) -> int:
        return self.scale * index + self.offset

    def taps(self, count: int) -> tuple[Array, Array, Array]:
        """For each of `count` outputs: the pixels before and after, and the 1024ths it lies beyond the former."""
        position = self.at(0) + self.scale * np.arange(count, dtype=np.int64)
        # C's division truncates towards zero, which matters below it only, where 0 is the result in any case
        lower = np.maximum(position // ONE, 0)
        upper = np.minimum(np.maximum(position + ONE - 1, 0) // ONE, self.size - 1)
        return lower, upper, position - ONE * lower


@dataclass(frozen=True)
class PartAttrs(ResizeAttrs):
    """Of some rows of an image: where they lie in the rows of the input that they need."""

    vertical: Step | None = None


def step(call: Call[ResizeAttrs], dim: int) -> Step:
    """The step along height (0) or width (1), in TFLite's integers."""
    if dim == 0 and isinstance(call.attrs, PartAttrs) and call.attrs.vertical is not None:
        return call.attrs.vertical
    source, target = call.input(0).shape[1 + dim], int(call.constant(1)[dim])
    if call.attrs.align_corners and target > 1:
        source, target = source - 1, target - 1
    scale = (ONE * source + target // 2) // target
    return Step(call.input(0).shape[1 + dim], scale, scale // 2 - ONE // 2 if call.attrs.half_pixel_centers else 0)


def infer(call: Call[ResizeAttrs]) -> Sequence[Signature]:
    batch, _, _, channels = call.input(0).shape
    height, width = (int(n) for n in call.constant(1))
    return (((batch, height, width, channels), call.input(0).dtype),)


def reference(call: Call[ResizeAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    values = given(inputs[0]).astype(np.int64)
    # nothing is rounded between the two, so the order is free: what shrinks goes first, and takes less memory
    for dim in sorted((0, 1), key=lambda d: call.output.shape[1 + d] / call.input(0).shape[1 + d]):
        lower, upper, weight = step(call, dim).taps(int(call.constant(1)[dim]))
        weight = weight.reshape((-1, 1, 1) if dim == 0 else (-1, 1))
        below, above = np.take(values, lower, axis=1 + dim), np.take(values, upper, axis=1 + dim)
        values = below * (ONE - weight) + above * weight
    half = ONE * ONE // 2
    # rounded half away from zero: C's division truncates
    return (clamp(np.sign(values) * ((np.abs(values) + half) // (ONE * ONE)), call.output),)


def positions(call: Call[ResizeAttrs], dim: int) -> Real:
    """Where each output pixel lies along one dimension, in input pixels, clamped to the outermost centres."""
    source, target = call.input(0).shape[1 + dim], call.output.shape[1 + dim]
    index = np.arange(target, dtype=np.float64)
    if call.attrs.align_corners and target > 1:
        exact = index * (source - 1) / (target - 1)
    elif call.attrs.half_pixel_centers:
        exact = (index + 0.5) * source / target - 0.5
    else:
        exact = index * source / target
    return np.clip(exact, 0, source - 1)


def real(call: Call[ResizeAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    x = given(inputs[0])
    for axis in (1, 2):
        where = positions(call, axis - 1)
        before = np.floor(where).astype(np.int64)
        after = np.minimum(before + 1, x.shape[axis] - 1)
        weight = (where - before).reshape((-1, 1, 1) if axis == 1 else (-1, 1))
        x = np.take(x, before, axis=axis) * (1 - weight) + np.take(x, after, axis=axis) * weight
    return (x,)


def bound(call: Call[ResizeAttrs]) -> float:
    """Half a step, plus up to 255 steps for each pixel by which a position in 10-bit fixed point is off."""
    off = 0.0
    for dim in (0, 1):
        rule, exact = step(call, dim), positions(call, dim)
        fixed = (rule.offset + rule.scale * np.arange(len(exact))) / ONE
        off += float(np.max(np.abs(np.clip(fixed, 0, rule.size - 1) - exact)))
    return 0.5 + 1e-6 + 255 * off


def rows(call: Call[ResizeAttrs]) -> Access:
    """The rows above and below a row; one where the other does not count."""
    whole, (made, width) = step(call, 0), call.output.shape[1:3]
    above, below, _ = whole.taps(made)
    times, rest = divmod(made, whole.size)

    def span(first: int, end: int) -> Span:
        return int(above[first]), int(below[end - 1]) + 1

    def cut(part: Call[ResizeAttrs], first: int, end: int) -> Call[ResizeAttrs]:
        top, bottom = span(first, end)
        attrs = PartAttrs(**vars(part.attrs), vertical=Step(bottom - top, whole.scale, whole.at(first) - ONE * top))
        return with_constant(replace(part, attrs=attrs), 1, [end - first, width])

    begin = times // 2 if call.attrs.half_pixel_centers else 0
    return Access(lambda first, end: (span(first, end),), cut, step=1 if rest else times, begin=begin)


OP = Op(
    name="RESIZE_BILINEAR",
    attrs=ResizeAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(four_dimensions, int8_in_out, same_quant, constant_size, one_convention, modest_input, stays_inside),
    quantize=SAME,
    bound=bound,
    rows=rows,
)

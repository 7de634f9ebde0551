# SPDX-License-Identifier: Apache-2.0
"""CONV_2D: 2-D convolution (reference/integer_ops/conv.h).

Input NHWC int8, weights OHWI int8 (symmetric), bias int32 or absent, output NHWC int8. Groups are implied where the
weights' input channels divide the input's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.convolution import (
    ConvAttrs,
    activated,
    bias_of,
    bound,
    constant_weights,
    four_dimensions,
    int8_weights,
    int32_bias,
    real_taps,
    rule_of,
    scales_by_channel,
    sums_fit,
    symmetric_weights,
    window_fits,
    window_shape,
)
from tinygen.ops.rows import conv_windows
from tinygen.ops.sums import centred, kind_of, requantize, windows

#: Elements of the windows that the reference copies at a time: what fits a cache.
PIECE = 1 << 18


def whole_groups(call: Call[Any]) -> bool:
    """The weights' input channels must divide the input's channels, and the groups the output channels."""
    (*_, channels), (filters, *_, depth) = call.input(0).shape, call.input(1).shape
    return channels % depth == 0 and filters % (channels // depth) == 0


def infer(call: Call[ConvAttrs]) -> Sequence[Signature]:
    return (((call.input(0).shape[0], *window_shape(call), call.input(1).shape[0]), call.input(0).dtype),)


def real(call: Call[ConvAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    values, weights = given(inputs[0]), given(inputs[1])
    filters, _, _, depth = weights.shape
    groups = values.shape[-1] // depth
    sums = np.zeros((*call.output.shape[:3], groups, filters // groups))
    for (ky, kx), tap in real_taps(call, values).items():
        matrices = weights[:, ky, kx].reshape(groups, filters // groups, depth)
        sums += np.einsum("nyxgd,gfd->nyxgf", tap.reshape(*tap.shape[:3], groups, depth), matrices, optimize=True)
    return activated(call, inputs, sums.reshape(call.output.shape))


def reference(call: Call[ConvAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """Matrix products of pieces of the output, in floats that hold their sums exactly."""
    values, weights = given(inputs[0]), given(inputs[1])
    kind, depth = kind_of(call, weights), weights.shape[-1]
    taps, groups = windows(call, centred(call, values, kind)), values.shape[-1] // depth
    matrices = weights.astype(kind).reshape(groups, len(weights) // groups, -1)
    sums = np.empty((*call.output.shape[:3], groups, len(weights) // groups), kind)
    for piece, g in product(_pieces(call.output.shape, matrices.shape[2]), range(groups)):
        rows = taps[piece][..., g * depth : (g + 1) * depth].reshape(-1, matrices.shape[2])
        block = sums[piece][..., g, :]
        block[...] = (rows @ matrices[g].T).reshape(block.shape)
    sums = sums.reshape(call.output.shape)
    sums += bias_of(call).astype(kind)
    return (requantize(call, sums),)


def _pieces(shape: tuple[int, ...], depth: int) -> Iterator[tuple[slice, ...]]:
    """Pieces of an output [N, H, W, C] whose windows, of `depth` values each, have about `PIECE` elements."""
    steps, left = [], max(1, PIECE // depth)
    for size in (shape[2], shape[1], shape[0]):
        steps.append(min(size, left))
        left = max(1, left // size)
    ranges = (range(0, size, step) for size, step in zip(shape, reversed(steps), strict=False))
    for start in product(*ranges):
        yield tuple(slice(at, at + step) for at, step in zip(start, reversed(steps), strict=True))


def macs(call: Call[ConvAttrs]) -> int:
    return call.output.elements * (call.input(1).elements // call.input(1).shape[0])


OP = Op(
    name="CONV_2D",
    attrs=ConvAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(
        four_dimensions,
        int8_weights,
        constant_weights,
        scales_by_channel,
        symmetric_weights,
        int32_bias,
        whole_groups,
        window_fits,
        sums_fit,
    ),
    quantize=rule_of("CONV_2D"),
    macs=macs,
    bound=bound,
    rows=conv_windows,
)

# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE_CONV: the transpose of a 2-D convolution (reference/integer_ops/transpose_conv.h).

Inputs: the output's shape (int32 [4]), weights OHWI int8 (symmetric), data NHWC int8, bias int32 or absent; output NHWC
int8. Input pixel (y, x) adds its products to the outputs from (y * stride - top, x * stride - left) on. As in TFLM, the
output's size is what the file says, even where no convolution would make the input's size of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Activation, Call, Op, Signature, given
from tinygen.ops.convolution import (
    activated,
    bias_of,
    bound,
    constant_weights,
    four_dimensions,
    int8_weights,
    int32_bias,
    rule_of,
    scales_by_channel,
    sums_fit,
    symmetric_weights,
)
from tinygen.ops.rows import Access, Span, with_constant
from tinygen.ops.sums import requantize


@dataclass(frozen=True)
class TransposeConvAttrs(Attrs):
    """Strides as (height, width); padding of the output as (top, bottom, left, right)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: Activation = Activation.NONE


def same_depth(call: Call[Any]) -> bool:
    """The weights' input channels must be the input's."""
    return call.input(1).shape[3] == call.input(2).shape[3]


def infer(call: Call[TransposeConvAttrs]) -> Sequence[Signature]:
    # a shape that is computed at run time can only be the declared one
    wanted = call.output.shape if call.constants[0] is None else call.constants[0].ravel().tolist()
    (batch, *_), (filters, *_) = call.input(2).shape, call.input(1).shape
    return (((batch, *(int(n) for n in wanted[1:3]), filters), call.input(2).dtype),)


def real(call: Call[TransposeConvAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    """Zeros between the input's pixels, then a convolution with the weights turned by half a turn."""
    weights, values = given(inputs[1]), given(inputs[2])
    (batch, height, width, depth), (_, kernel_h, kernel_w, _) = values.shape, weights.shape
    (_, out_h, out_w, _), (stride_h, stride_w) = call.output.shape, call.attrs.stride
    top, left = kernel_h - 1 - call.attrs.padding[0], kernel_w - 1 - call.attrs.padding[2]
    y, x = np.arange(height) * stride_h + top, np.arange(width) * stride_w + left
    rows, columns = (y >= 0) & (y < out_h + kernel_h - 1), (x >= 0) & (x < out_w + kernel_w - 1)
    spread = np.zeros((batch, out_h + kernel_h - 1, out_w + kernel_w - 1, depth))
    spread[np.ix_(range(batch), y[rows], x[columns])] = values[:, rows][:, :, columns]
    taps = np.lib.stride_tricks.sliding_window_view(spread, (kernel_h, kernel_w), axis=(1, 2))
    return activated(call, inputs, np.einsum("nyxdhw,ohwd->nyxo", taps, weights[:, ::-1, ::-1], optimize=True))


def reference(call: Call[TransposeConvAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    """Each tap's products are added to the outputs they belong to, in float64, which is exact below 2^53."""
    weights, values = given(inputs[1]).astype(np.float64), given(inputs[2]).astype(np.float64)
    (batch, height, width, _), (filters, kernel_h, kernel_w, _) = values.shape, weights.shape
    (_, out_h, out_w, _), (stride_h, stride_w) = call.output.shape, call.attrs.stride
    top, _, left, _ = call.attrs.padding
    sums = np.zeros((batch, out_h, out_w, filters))
    for ky, kx in product(range(kernel_h), range(kernel_w)):
        rows, columns = np.arange(height) * stride_h + ky - top, np.arange(width) * stride_w + kx - left
        y, x = (rows >= 0) & (rows < out_h), (columns >= 0) & (columns < out_w)
        products = (values[:, y][:, :, x] - call.input(2).q.zero_point) @ weights[:, ky, kx].T
        sums[:, rows[y, None], columns[x]] += products
    return (requantize(call, sums + bias_of(call)),)


def macs(call: Call[TransposeConvAttrs]) -> int:
    return call.input(2).elements * (call.input(1).elements // call.input(1).shape[3])


def rows(call: Call[TransposeConvAttrs]) -> Access | None:
    """As many rows as the stride come from the same rows of the input, if they begin where a row's last tap does.

    None if a row may have no tap.
    """
    height, taps = call.input(2).shape[1], call.input(1).shape[1]
    stride, before = call.attrs.stride[0], call.attrs.padding[0]
    if taps < stride or call.constants[0] is None or (call.output.shape[1] - 1 + before - taps) // stride + 1 >= height:
        return None

    def span(first: int, end: int) -> Span:
        return max(0, (first + before - taps) // stride + 1), min(height, (end - 1 + before) // stride + 1)

    def cut(part: Call[TransposeConvAttrs], first: int, end: int) -> Call[TransposeConvAttrs]:
        padding = (before + first - stride * span(first, end)[0], 0, *part.attrs.padding[2:])
        part = replace(part, attrs=replace(part.attrs, padding=padding))
        return with_constant(part, 0, part.output.shape)

    return Access(lambda first, end: (span(first, end),), cut, step=stride, begin=(taps - before) % stride)


OP = Op(
    name="TRANSPOSE_CONV",
    attrs=TransposeConvAttrs,
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
        same_depth,
        sums_fit,
    ),
    quantize=rule_of("TRANSPOSE_CONV"),
    macs=macs,
    bound=bound,
    rows=rows,
)

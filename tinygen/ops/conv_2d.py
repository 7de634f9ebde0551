"""CONV_2D: 2-D convolution with per-channel weights (reference/integer_ops/conv.h).

Input NHWC int8, weights OHWI int8 (symmetric), bias int32 or absent, output NHWC int8. Groups are implied where the
weights' input channels divide the input's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Activation, Call, Op, Signature, given
from tinygen.ops.numerics import (
    activation_range,
    clamp,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    wrap_int32,
)
from tinygen.ops.shapes import window_output


@dataclass(frozen=True)
class ConvAttrs(Attrs):
    """Strides and dilations as (height, width); padding as (top, bottom, left, right)."""

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: Activation = Activation.NONE


def int8_tensors(call: Call[Any]) -> bool:
    """Input, weights and output must be int8 and quantized, the input and output per tensor."""
    tensors = (call.input(0), call.input(1), call.output)
    return all(t.dtype is DType.INT8 and t.quant is not None for t in tensors) and all(
        len(t.q.scales) == 1 for t in (call.input(0), call.output)
    )


def constant_weights(call: Call[Any]) -> bool:
    """Weights and bias must be constants."""
    return call.constants[1] is not None and (not call.has(2) or call.constants[2] is not None)


def symmetric_weights(call: Call[Any]) -> bool:
    """Weights must be symmetric (every zero point 0), per tensor or per output channel."""
    quant = call.input(1).q
    return not any(quant.zero_points) and len(quant.scales) in (1, call.output.shape[-1])


def int32_bias(call: Call[Any]) -> bool:
    """The bias must be int32 with one value for each output channel."""
    return not call.has(2) or (
        call.input(2).dtype is DType.INT32 and call.input(2).elements == call.output.shape[-1]
    )


def sums_fit(call: Call[Any]) -> bool:
    """The sum of products and bias must fit 32 bits for every possible input."""
    weights = np.abs(call.constant(1).astype(np.int64)).reshape(call.input(1).shape[0], -1)
    bias = np.abs(call.constant(2).astype(np.int64)) if call.has(2) else 0
    return bool(np.all(weights.sum(axis=1) * 383 + bias < 2**31))


def four_dimensions(call: Call[Any]) -> bool:
    """Input, weights and output must have 4 dimensions (NHWC, OHWI)."""
    return all(len(t.shape) == 4 for t in (call.input(0), call.input(1), call.output))


def whole_groups(call: Call[Any]) -> bool:
    """The weights' input channels must divide the input's channels, and the groups the output channels."""
    (*_, channels), (filters, *_, depth) = call.input(0).shape, call.input(1).shape
    return channels % depth == 0 and filters % (channels // depth) == 0


def nothing_empty(call: Call[Any]) -> bool:
    """The padded input must be at least as large as the dilated window."""
    return min(*window_shape(call), 1) >= 1


def window_shape(call: Call[Any]) -> tuple[int, int]:
    """Output height and width, from the attributes."""
    attrs: ConvAttrs = call.attrs
    _, height, width, _ = call.input(0).shape
    _, kernel_h, kernel_w, _ = call.input(1).shape
    top, bottom, left, right = attrs.padding
    return (
        window_output(height, kernel_h, attrs.stride[0], attrs.dilation[0], top, bottom),
        window_output(width, kernel_w, attrs.stride[1], attrs.dilation[1], left, right),
    )


def infer(call: Call[ConvAttrs]) -> Sequence[Signature]:
    return (((call.input(0).shape[0], *window_shape(call), call.input(1).shape[0]), DType.INT8),)


def patches(call: Call[ConvAttrs], padded: Array, row: int) -> Array:
    """The input windows of output row `row`, as [N, out_w, kh, kw, channels]; a view of the padded input."""
    (stride_h, stride_w), (dilation_h, dilation_w) = call.attrs.stride, call.attrs.dilation
    _, kernel_h, kernel_w, _ = call.input(1).shape
    span_w = (kernel_w - 1) * dilation_w + 1
    rows = padded[:, row * stride_h : row * stride_h + (kernel_h - 1) * dilation_h + 1 : dilation_h]
    windows = np.lib.stride_tricks.sliding_window_view(rows, span_w, axis=2)[:, :, ::stride_w, :, ::dilation_w]
    return windows.transpose(0, 2, 1, 4, 3)


def correlate(call: Call[ConvAttrs], values: Array, weights: Array) -> Real:
    """Cross-correlation in float64, which is exact for integers below 2^53: values NHWC (zero-centred), weights OHWI.

    One output row at a time, so that memory stays small.
    """
    top, bottom, left, right = call.attrs.padding
    padded = np.pad(values.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    (batch, out_h, out_w, filters), depth = call.output.shape, weights.shape[-1]
    groups = values.shape[-1] // depth
    matrices = weights.astype(np.float64).reshape(groups, filters // groups, -1)
    result = np.empty((batch, out_h, out_w, filters))
    for row in range(out_h):
        windows = patches(call, padded, row)
        for g in range(groups):
            block = windows[..., g * depth : (g + 1) * depth].reshape(batch * out_w, -1) @ matrices[g].T
            per = filters // groups
            result[:, row, :, g * per : (g + 1) * per] = block.reshape(batch, out_w, per)
    return result


def real(call: Call[ConvAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    bias = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.float64(0)
    return (np.clip(correlate(call, given(inputs[0]), given(inputs[1])) + bias, *call.attrs.activation.limits),)


def channel_multipliers(call: Call[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(multipliers, shifts) for each output channel: PopulateConvolutionQuantizationParams of kernel_util.cc."""
    scales = call.input(1).q.scales
    pairs = [quantize_multiplier(call.input(0).q.scale * s / call.output.q.scale) for s in scales]
    pairs *= call.output.shape[-1] // len(pairs) if len(pairs) == 1 else 1
    return tuple(m for m, _ in pairs), tuple(s for _, s in pairs)


def requantize(call: Call[Any], accumulators: Array) -> Array:
    """int32 sums [..., channels] to the output's int8, with the fused activation's clamp."""
    multipliers, shifts = (np.array(v, np.int64) for v in channel_multipliers(call))
    scaled = multiply_by_quantized_multiplier(wrap_int32(accumulators), multipliers, shifts)
    return clamp(
        scaled + call.output.q.zero_point, call.output, activation_range(call.attrs.activation, call.output)
    )


def reference(call: Call[ConvAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    centred = given(inputs[0]).astype(np.int64) - call.input(0).q.zero_point
    sums = correlate(call, centred, given(inputs[1])).astype(np.int64)
    bias = given(inputs[2]).astype(np.int64) if call.has(2) else 0
    return (requantize(call, sums + bias),)


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
        int8_tensors,
        constant_weights,
        symmetric_weights,
        int32_bias,
        whole_groups,
        nothing_empty,
        sums_fit,
    ),
    macs=macs,
)

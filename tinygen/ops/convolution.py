# SPDX-License-Identifier: Apache-2.0
"""What CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, FULLY_CONNECTED and BATCH_MATMUL share.

All of them are int32 sums of int8 products, plus a bias, requantized per output channel or per tensor. TFLite's 8-bit
quantization specification: the bias has the scale input_scale * weights_scale and the zero point 0, whatever the file
says of it; TFLM does not read it either. With int16 activations (16x8), sums and bias have 64 bits and are requantized
by `tinygen.ops.wide`, unless a bias of int32 asks for the 32 bits of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real, TensorType
from tinygen.ops.base import Activation, Call, QuantRule, given
from tinygen.ops.numerics import activation_range, quantize_multipliers
from tinygen.ops.rules import centred_int16, per_tensor
from tinygen.ops.shapes import window_output
from tinygen.ops.wide import LIMIT_NOISE, is_wide, reduction_error


@dataclass(frozen=True)
class ConvAttrs(Attrs):
    """Strides and dilations as (height, width); padding as (top, bottom, left, right)."""

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Operands:
    """Where an operator keeps its tensors.

    `input`, `weights`, `bias` are indices of node inputs; `channel` is the weights' axis of output channels.
    """

    input: int = 0
    weights: int = 1
    bias: int = 2
    channel: int = 0


OPERANDS = {
    "CONV_2D": Operands(),
    "DEPTHWISE_CONV_2D": Operands(channel=3),
    "TRANSPOSE_CONV": Operands(input=2, weights=1, bias=3),
    "FULLY_CONNECTED": Operands(),
    "BATCH_MATMUL": Operands(),
}

#: Operators whose int16 form takes a bias of int32, too, and then sums in 32 bits.
_SUMS_OF_32_BITS = frozenset({"CONV_2D", "FULLY_CONNECTED"})


def rule_of(op: str) -> QuantRule:
    """How a float node `op` becomes an int8 one."""
    where = OPERANDS[op]
    return QuantRule(weights=where.weights, channel=where.channel, bias=where.bias)


def input_of(call: Call[Any]) -> TensorType:
    return call.input(OPERANDS[call.op].input)


def weights_of(call: Call[Any]) -> TensorType:
    return call.input(OPERANDS[call.op].weights)


def constant_weights_of(call: Call[Any]) -> Array:
    """The weights' values, int8, read-only."""
    return call.constant(OPERANDS[call.op].weights)


def bias_of(call: Call[Any]) -> Array:
    """The bias as int64 [output channels]; a single 0 where there is none."""
    index = OPERANDS[call.op].bias
    return call.constant(index).astype(np.int64).ravel() if call.has(index) else np.zeros(1, np.int64)


def channel_sums(call: Call[Any], values: Array) -> Array:
    """`values` (of the weights' shape) summed for each output channel, int64."""
    axes = tuple(a for a in range(values.ndim) if a != OPERANDS[call.op].channel)
    return np.asarray(values.sum(axis=axes, dtype=np.int64))


def rounds_once(call: Call[Any]) -> bool:
    """Whether sums have 64 bits and `tinygen.ops.wide` requantizes them: int16 activations without a bias of int32."""
    index = OPERANDS[call.op].bias
    return is_wide(call) and not (call.has(index) and call.input(index).dtype is DType.INT32)


# --- Constraints -------------------------------------------------------------------------------------------------


def int8_weights(call: Call[Any]) -> bool:
    """Input, weights and output must be int8 and quantized, the input and output per tensor; or int16 with zero point 0
    for input and output."""
    if weights_of(call).dtype is not DType.INT8 or weights_of(call).quant is None:
        return False
    ends = (input_of(call), call.output)
    return all(t.dtype is DType.INT8 and per_tensor(t) for t in ends) or all(centred_int16(t) for t in ends)


def four_dimensions(call: Call[Any]) -> bool:
    """Input, weights and output must have 4 dimensions."""
    return all(len(t.shape) == 4 for t in (input_of(call), weights_of(call), call.output))


def constant_weights(call: Call[Any]) -> bool:
    """The weights must be constant."""
    return call.constants[OPERANDS[call.op].weights] is not None


def int32_bias(call: Call[Any]) -> bool:
    """The bias, if there is one, must be a constant of int32 with one value for each output channel (of int64 where the
    activations are int16, or int32 there for CONV_2D and FULLY_CONNECTED)."""
    index = OPERANDS[call.op].bias
    if not call.has(index):
        return True
    bias, channels = call.input(index), weights_of(call).shape[OPERANDS[call.op].channel]
    known: tuple[DType, ...] = (DType.INT32,)
    if is_wide(call):
        known = (DType.INT64, DType.INT32) if call.op in _SUMS_OF_32_BITS else (DType.INT64,)
    return call.constants[index] is not None and bias.dtype in known and bias.elements == channels


def scales_by_channel(call: Call[Any]) -> bool:
    """The weights' scales must be one for the tensor or one for each output channel."""
    return weights_of(call).q.axis in (None, OPERANDS[call.op].channel)


def symmetric_weights(call: Call[Any]) -> bool:
    """The weights must be symmetric (every zero point 0)."""
    return not any(weights_of(call).q.zero_points)


def sums_fit(call: Call[Any]) -> bool:
    """The sum of products and bias, times the scale ratio where that is above 1, must fit 32 bits for every input (with
    int16 activations: 47 bits before, 32 bits after, and the ratio must be less than 64)."""
    if is_wide(call):
        return _wide_sums_fit(call)
    weights, zero_point = constant_weights_of(call).astype(np.int64), weights_of(call).q.zero_points[0]
    # kernels sum the products with the stored weights and those with the weights' zero point apart;
    # 256: an input lies within 128 of 0, and so does the zero point whose product with the weights goes into the bias
    magnitudes = np.abs(weights - zero_point) + abs(zero_point)
    return fits_int32(call, channel_sums(call, magnitudes) * 256 + np.abs(bias_of(call)))


def _wide_sums_fit(call: Call[Any]) -> bool:
    largest = np.abs(constant_weights_of(call).astype(np.int64))
    magnitudes = channel_sums(call, largest) * 2.0**15 + np.abs(bias_of(call).astype(np.float64))
    if not rounds_once(call):
        return fits_int32(call, magnitudes)
    scales = np.array(effective_scales(call)) * (1 + 1e-4)
    return bool(np.all(magnitudes < 2.0**47) and np.all(scales < 64) and np.all(magnitudes * scales < 2.0**31))


def fits_int32(call: Call[Any], magnitudes: Array | int) -> bool:
    """Whether sums of at most `magnitudes` survive the left shift of the requantization."""
    _, exponents = np.frexp(np.array(effective_scales(call)) * (1 + 1e-9))
    return bool(np.all(np.ldexp(np.asarray(magnitudes, np.float64), np.maximum(exponents, 0)) < 2.0**31))


def window_fits(call: Call[Any]) -> bool:
    """The padded input must be at least as large as the dilated window."""
    return min(*window_shape(call)) >= 1


def window_shape(call: Call[Any]) -> tuple[int, int]:
    """Output height and width of a convolution, from the attributes."""
    attrs: ConvAttrs = call.attrs
    (_, height, width, _), (_, kernel_h, kernel_w, _) = input_of(call).shape, weights_of(call).shape
    top, bottom, left, right = attrs.padding
    return (
        window_output(height, kernel_h, attrs.stride[0], attrs.dilation[0], top, bottom),
        window_output(width, kernel_w, attrs.stride[1], attrs.dilation[1], left, right),
    )


# --- Integers ----------------------------------------------------------------------------------------------------


def effective_scales(call: Call[Any]) -> tuple[float, ...]:
    """input_scale * weights_scale / output_scale, one or one for each output channel.

    In double, from left to right (PopulateConvolutionQuantizationParams of kernel_util.cc). For FULLY_CONNECTED and
    BATCH_MATMUL per tensor, TFLM's sources of August 2026 multiply the first two in float32
    (GetQuantizedConvolutionMultipler), but its package of October 2026 answers as in double: measured on sums that the
    two rules round differently.
    """
    scales = np.asarray(weights_of(call).q.scales, np.float64)
    return tuple((input_of(call).q.scale * scales / call.output.q.scale).tolist())


def multipliers_of(call: Call[Any]) -> tuple[Array, Array]:
    """Fixed-point multipliers and shifts (int64), one or one for each output channel."""
    return quantize_multipliers(effective_scales(call))


def limits_of(call: Call[Any]) -> tuple[int, int]:
    """The integers that the output is clamped to."""
    return activation_range(getattr(call.attrs, "activation", Activation.NONE), call.output)


def bound(call: Call[Any]) -> float:
    """Half a step for the rounding right shift, plus the doubling high multiply's half unit in front of that shift.

    1e-4: the fixed-point multipliers and the float32 activation limits, times at most 384 steps. Of int16, all 32768
    steps may be off by what the multiplier lost when it was reduced to 16 bits.
    """
    multipliers, shifts = multipliers_of(call)
    if rounds_once(call):
        pairs = zip(effective_scales(call), multipliers.tolist(), shifts.tolist(), strict=True)
        return 0.5 + LIMIT_NOISE + (2**15 + 1) * max(reduction_error(*pair) for pair in pairs)
    noise = LIMIT_NOISE if is_wide(call) else 1e-4
    return 0.5 + max((0.5 * 2.0**s for s in shifts.tolist() if s < 0), default=0.0) + noise


# --- Real numbers ------------------------------------------------------------------------------------------------


def real_bias(call: Call[Any], inputs: Sequence[Real | None]) -> Real:
    """The bias in real numbers: an integer one has the scale that the quantization specification gives it."""
    index = OPERANDS[call.op].bias
    if not call.has(index):
        return np.zeros(1)
    if call.input(index).dtype is DType.FLOAT32:
        return given(inputs[index])
    scale = np.asarray(weights_of(call).q.scales, np.float64) * input_of(call).q.scale
    return np.asarray(call.constant(index).ravel() * scale, np.float64)


def activated(call: Call[Any], inputs: Sequence[Real | None], sums: Real) -> Sequence[Real]:
    """`sums` [..., channels] plus bias, through the fused activation."""
    return (np.clip(sums + real_bias(call, inputs), *call.attrs.activation.limits),)


def real_taps(call: Call[Any], values: Real) -> dict[tuple[int, int], Real]:
    """For each tap (ky, kx) of the window, the inputs [N, out_h, out_w, channels] that it multiplies; padding is 0."""
    (stride_h, stride_w), (dilation_h, dilation_w) = call.attrs.stride, call.attrs.dilation
    _, out_h, out_w, _ = call.output.shape
    _, kernel_h, kernel_w, _ = weights_of(call).shape
    top, bottom, left, right = call.attrs.padding
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right), (0, 0)))
    rows = [np.arange(out_h) * stride_h + ky * dilation_h for ky in range(kernel_h)]
    columns = [np.arange(out_w) * stride_w + kx * dilation_w for kx in range(kernel_w)]
    return {(ky, kx): padded[:, y][:, :, x] for ky, y in enumerate(rows) for kx, x in enumerate(columns)}

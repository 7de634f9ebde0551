# SPDX-License-Identifier: Apache-2.0
"""Convolutions and matrix products with the vectors of Armv8.1-M (MVE).

Sixteen int8 products in each instruction (VMLADAVA): two rows of inputs times two filters share their loads, so that 64
products take nine instructions. Where the inputs of an output pixel are not neighbours, its window is copied first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType
from tinygen.kernels.base import Kernel, Launch, int8, int32
from tinygen.kernels.broadcast import aligned_params, fits
from tinygen.kernels.channels import folded_bias
from tinygen.kernels.conv_2d import is_matrix_product, spatial_params
from tinygen.kernels.overlap import broadcast, in_bands, rows_of_vectors, whole_rows
from tinygen.ops.add import alignment
from tinygen.ops.base import Call
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.convolution import ConvAttrs, input_of, limits_of, multipliers_of, weights_of
from tinygen.ops.mul import output_ratio
from tinygen.ops.numerics import activation_range, quantize_multiplier

#: Bytes of copied windows, roughly: the more there are, the more share what is done once for each filter.
BAND_BYTES = 2304
VECTORS = ("common/requantize", "common/mve", "common/mve_output")
USES = (*VECTORS, "common/mve_channels", "common/mve_products", "common/mve_rows")

Params = dict[str, int | float | Array]


def rounds_down(call: Call[Any]) -> bool:
    """Whether all multipliers scale down, so that requantization ends with a right shift."""
    multipliers, shifts = multipliers_of(call)
    return bool(np.all((shifts < 0) | (multipliers == 0)))


def requantization(call: Call[Any]) -> tuple[Array, Array]:
    """Multipliers and shifts below 0; a multiplier 0 comes with any."""
    multipliers, shifts = multipliers_of(call)
    return multipliers, np.minimum(shifts, -1)


def output_params(call: Call[Any], bias: Array, field: str) -> Params:
    """The fields of `mve_output_t`, for a member called `field`."""
    multipliers, shifts = requantization(call)
    low, high = limits_of(call)
    return {
        f"{field}.zero_point": call.output.q.zero_point,
        f"{field}.low": low,
        f"{field}.high": high,
        f"{field}.clamped": int((low, high) != (-128, 127)),
        f"{field}.channel_step": int(len(multipliers) > 1),
        f"{field}.bias": int32(bias),
        f"{field}.multipliers": int32(multipliers),
        f"{field}.shifts": int8(shifts),
    }


def rows_params(call: Call[Any], weights: Array) -> Params:
    """The fields of `mve_rows_t`, for `weights` int8 [filters, size]."""
    filters, size = weights.shape
    bias = folded_bias(call, weights.astype(np.int64))
    return {
        "matrix.filters": filters,
        "matrix.size": size,
        "matrix.weights": int8(weights),
        **output_params(call, bias, "matrix.output"),
    }


def matrix_launch(call: Call[Any]) -> Sequence[Launch]:
    weights = call.constant(1).reshape(-1, call.input(1).shape[-1])
    rows = call.input(0).elements // weights.shape[1]
    return (Launch((0,), (0,), {"rows": rows, **rows_params(call, weights)}),)


def dense_accepts(call: Call[Any]) -> bool:
    return call.constants[1] is not None and not any(weights_of(call).q.zero_points) and rounds_down(call)


def pointwise_accepts(call: Call[Any]) -> bool:
    return is_matrix_product(call) and rounds_down(call)


def accepts(call: Call[Any]) -> bool:
    return call.input(1).shape[3] == call.input(0).shape[3] and rounds_down(call)


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    weights = call.constant(1).reshape(len(call.constant(1)), -1)
    windows = windows_params(call)
    scratch = int(windows["band"]) * weights.shape[1]
    return (Launch((0,), (0,), {**windows, **rows_params(call, weights)}, scratch=scratch),)


def windows_params(call: Call[ConvAttrs], at_once: int = 2) -> Params:
    """The fields of a convolution by bands of windows, a multiple of `at_once` or all, and those of `mve_windows_t`."""
    _, kernel_h, kernel_w, depth = call.input(1).shape
    (batch, *image), (_, out_h, out_w, _) = call.input(0).shape, call.output.shape
    size, pixels = kernel_h * kernel_w * depth, out_h * out_w
    beside = call.attrs.dilation[1] == 1 or kernel_w == 1
    spatial = spatial_params(call, kernel_h, kernel_w)
    windows = {
        **{name: value for name, value in spatial.items() if name not in ("batch", "out_h")},
        "depth": depth,
        "zero_point": input_of(call).q.zero_point,
        "runs": 1 if beside else kernel_w,
        "taps": kernel_w if beside else 1,
        "size": size,
        "whole": int(is_matrix_product(call)),
    }
    return {
        **{f"windows.{name}": value for name, value in windows.items()},
        "batch": batch,
        "in_size": int(np.prod(image)),
        "pixels": pixels,
        "band": min(max(at_once, BAND_BYTES // size // at_once * at_once), pixels),
    }


def fold_of(call: Call[ConvAttrs]) -> int:
    """How many neighbouring output pixels sixteen lanes hold."""
    channels = call.output.shape[3]
    return max(1, 16 // channels) if call.attrs.stride[1] == 1 else 1


def widened(values: Array, fold: int) -> Array:
    """`values` [channels] for `fold` pixels, filled up to 16 and more, in the order of `sixteen_t`."""
    lanes = np.tile(values, fold)
    lanes = np.concatenate([lanes, np.repeat(lanes[-1:], -len(lanes) % 16)])
    return lanes.reshape(-1, 4, 2, 2).transpose(0, 3, 2, 1).ravel()


def depthwise_params(call: Call[ConvAttrs], fold: int) -> Params:
    """Weights, biases and requantization in the order of lanes."""
    channels, weights = call.output.shape[3], call.constant(1).reshape(-1, call.output.shape[3])
    multipliers, shifts = (np.broadcast_to(v, (channels,)) for v in requantization(call))
    lanes = np.tile(weights, (1, fold))
    lanes = np.pad(lanes, ((0, 0), (0, -lanes.shape[1] % 16)))
    return {
        "weights": int8(lanes.reshape(len(weights), -1, 16).transpose(1, 0, 2)),
        **output_params(call, folded_bias(call, weights.T.astype(np.int64)), "output"),
        "output.channel_step": 1,
        "output.bias": int32(widened(folded_bias(call, weights.T.astype(np.int64)), fold)),
        "output.multipliers": int32(widened(multipliers, fold)),
        "output.shifts": int8(widened(shifts, fold)),
    }


def depthwise_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    _, kernel_h, kernel_w, channels = call.input(1).shape
    (_, _, in_w, _), (_, _, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    fold = fold_of(call)
    groups, rows = -(-fold * channels // 16), (kernel_h - 1) * attrs.dilation[0] + 1
    width = (-(-out_w // fold) * fold - 1) * attrs.stride[1] + (kernel_w - 1) * attrs.dilation[1] + 1
    line = (width + fold) * channels + 16 if fold > 1 else 0
    params: Params = {
        **spatial_params(call, kernel_h, kernel_w),
        "kernel_w": kernel_w,
        "channels": channels,
        "zero_point": input_of(call).q.zero_point,
        "columns": min(in_w, width - attrs.padding[2]),
        "rows": rows,
        "width": width,
        "groups": groups,
        "fold": fold,
        "line": line,
        **depthwise_params(call, fold),
    }
    return (Launch((0,), (0,), params, scratch=8 * kernel_h + groups * rows * width * 16 + line),)


def depthwise_accepts(call: Call[Any]) -> bool:
    channels = call.output.shape[3]
    return call.input(0).shape[3] == channels >= 4 and rounds_down(call) and not overflows(call.constant(1))


def unfolded(kernel: Kernel) -> Kernel:
    """`kernel`, of depthwise convolutions, where sixteen lanes do not hold several pixels."""
    return replace(kernel, accepts=lambda call: kernel.accepts(call) and fold_of(call) == 1)


def overflows(weights: Array) -> bool:
    """Whether two taps whose products are added in int16 both have the weight -128."""
    lowest = weights.reshape(-1, weights.shape[3]) == -128
    return bool(np.any(lowest[: len(lowest) // 2 * 2 : 2] & lowest[1::2]))


def matrix_speed(call: Call[Any]) -> float:
    """Instructions per MAC: nine for four times sixteen products, and what each four outputs take."""
    size = call.input(1).shape[-1]
    return (9 * -(-size // 16) + 25) / (4 * size)


def speed(call: Call[ConvAttrs]) -> float:
    filters, *window = call.input(1).shape
    size = int(np.prod(window))
    return (9 * -(-size // 16) + 25) / (4 * size) + (12 * window[0] + size / 5) / (size * filters)


def add_accepts(call: Call[Any]) -> bool:
    _, shift = alignment(call).output
    return fits(call) and call.input(0).shape == call.input(1).shape and shift <= 0


def add_launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    rule = alignment(call)
    multiplier, shift = rule.output
    low, high = activation_range(call.attrs.activation, call.output)
    params: Params = {
        "n": call.output.elements,
        "subtract": int(call.op == "SUB"),
        **aligned_params(call, rule),
        "multiplier": multiplier,
        "right": -shift,
        "output_offset": call.output.q.zero_point,
        "low": low,
        "high": high,
    }
    return (Launch((0, 1), (0,), params),)


def mul_accepts(call: Call[Any]) -> bool:
    """Tensors of one shape, whose products are scaled down."""
    same = call.output.dtype is DType.INT8 and call.input(0).shape == call.input(1).shape
    return same and quantize_multiplier(output_ratio(call))[1] <= 0


def mul_launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    multiplier, shift = quantize_multiplier(output_ratio(call))
    low, high = activation_range(call.attrs.activation, call.output)
    zeros = {f"{side}_zero": call.input(i).q.zero_point for i, side in enumerate("ab")}
    params = {"n": call.output.elements, **zeros, "multiplier": multiplier, "right": -shift, "low": low, "high": high}
    return (Launch((0, 1), (0,), {**params, "output_offset": call.output.q.zero_point}),)


KERNELS = (
    Kernel(
        op=("MUL",),
        template="mul/mve",
        function="mul_mve",
        launch=mul_launch,
        accepts=mul_accepts,
        uses=("common/requantize", "common/mve"),
        requires=frozenset({"mve"}),
        overlap=broadcast,
        speed=4.0,
    ),
    Kernel(
        op=("ADD", "SUB"),
        template="add/mve",
        function="add_mve",
        launch=add_launch,
        accepts=add_accepts,
        uses=("common/requantize", "common/rescale", "common/mve"),
        requires=frozenset({"mve"}),
        overlap=broadcast,
        speed=6.0,
    ),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/mve",
        function="fully_connected_mve",
        launch=matrix_launch,
        accepts=dense_accepts,
        uses=USES,
        requires=frozenset({"mve"}),
        overlap=rows_of_vectors,
        speed=matrix_speed,
    ),
    Kernel(
        op=("CONV_2D",),
        template="fully_connected/mve",
        function="fully_connected_mve",
        launch=matrix_launch,
        accepts=pointwise_accepts,
        uses=USES,
        requires=frozenset({"mve"}),
        overlap=rows_of_vectors,
        speed=matrix_speed,
    ),
    Kernel(
        op=("CONV_2D",),
        template="conv_2d/mve",
        function="conv_2d_mve",
        launch=launch,
        accepts=accepts,
        uses=(*USES, "common/mve_copy", "common/mve_windows"),
        requires=frozenset({"mve"}),
        overlap=in_bands,
        speed=speed,
    ),
    Kernel(
        op=("DEPTHWISE_CONV_2D",),
        template="depthwise_conv_2d/mve",
        function="depthwise_conv_2d_mve",
        launch=depthwise_launch,
        accepts=depthwise_accepts,
        uses=(
            *VECTORS,
            "common/mve_copy",
            "common/mve_sixteen",
            "common/mve_sixteen_output",
            "depthwise_conv_2d/mve_ring",
        ),
        requires=frozenset({"mve"}),
        overlap=whole_rows,
        speed=1.0,
    ),
)

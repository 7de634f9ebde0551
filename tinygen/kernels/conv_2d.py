# SPDX-License-Identifier: Apache-2.0
"""CONV_2D in plain C, which also computes the depthwise convolutions whose multiplier is not 1, as grouped ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import folded_bias, output_params, wide_params
from tinygen.kernels.fully_connected import USES, WIDE_USES, matrix_launch, wide_matrix_launch
from tinygen.kernels.overlap import filter_by_filter, unit_by_unit
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs, input_of


def spatial_params(call: Call[ConvAttrs], kernel_h: int, kernel_w: int) -> dict[str, int]:
    """Sizes, strides, dilations and the padding before the image."""
    (batch, in_h, in_w, _), (_, out_h, out_w, _), attrs = input_of(call).shape, call.output.shape, call.attrs
    dilation_h, dilation_w = (1, 1) if kernel_h == kernel_w == 1 else attrs.dilation
    return {
        "batch": batch, "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w, "kernel_h": kernel_h,
        "stride_h": attrs.stride[0], "stride_w": attrs.stride[1], "dilation_h": dilation_h, "dilation_w": dilation_w,
        "pad_top": attrs.padding[0], "pad_left": attrs.padding[2],
    }  # fmt: skip


def grouped_params(call: Call[Any], weights: Array) -> dict[str, int | float | Array]:
    """The shapes, and `weights` [filters, kernel_h, kernel_w, depth], groups implied by the input's channels."""
    filters, kernel_h, kernel_w, depth = weights.shape
    groups = input_of(call).shape[3] // depth
    contiguous = groups == 1 and call.attrs.dilation[1] == 1
    return {
        **spatial_params(call, kernel_h, kernel_w),
        "groups": groups,
        "depth": depth,
        "filters": filters // groups,
        "runs": 1 if contiguous else kernel_w,
        "taps": kernel_w if contiguous else 1,
        "weights": int8(weights),
    }


def grouped_launch(call: Call[Any], weights: Array) -> Sequence[Launch]:
    """The C call of int8."""
    params = {
        **grouped_params(call, weights),
        "padded": int(any(call.attrs.padding)),
        "zero_point": input_of(call).q.zero_point,
        **output_params(call, folded_bias(call, weights)),
    }
    return (Launch((0,), (0,), params),)


def wide_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    """The C call of int16, also for depthwise convolutions."""
    weights = call.constant(1)
    weights = weights.transpose(3, 1, 2, 0) if call.op == "DEPTHWISE_CONV_2D" else weights
    return (Launch((0,), (0,), {**grouped_params(call, weights), **wide_params(call, len(weights))}),)


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    return grouped_launch(call, call.constant(1))


def depthwise_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    return grouped_launch(call, call.constant(1).transpose(3, 1, 2, 0))


def is_matrix_product(call: Call[ConvAttrs]) -> bool:
    """A 1x1 window that visits every pixel once: each pixel's channels times a matrix."""
    (_, kernel_h, kernel_w, depth), channels = call.input(1).shape, call.input(0).shape[3]
    return (
        (kernel_h, kernel_w, depth) == (1, 1, channels)
        and call.input(0).shape[:3] == call.output.shape[:3]
        and (call.attrs.stride == (1, 1) and not any(call.attrs.padding))
    )


def pointwise_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    return matrix_launch(call, call.constant(1).reshape(call.output.shape[3], -1))


def wide_pointwise_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    return wide_matrix_launch(call, call.constant(1).reshape(call.output.shape[3], -1))


KERNELS = (
    Kernel(
        op=("CONV_2D",),
        template="fully_connected/portable",
        launch=pointwise_launch,
        accepts=is_matrix_product,
        uses=USES,
        overlap=unit_by_unit,
        speed=4.0,
    ),
    Kernel(
        op=("CONV_2D",),
        template="conv_2d/portable",
        launch=launch,
        uses=USES,
        overlap=filter_by_filter,
        speed=5.0,
    ),
    Kernel(
        op=("DEPTHWISE_CONV_2D",),
        template="conv_2d/portable",
        launch=depthwise_launch,
        uses=USES,
        overlap=filter_by_filter,
        speed=20.0,
    ),
    Kernel(
        op=("CONV_2D",),
        template="fully_connected/wide",
        launch=wide_pointwise_launch,
        accepts=is_matrix_product,
        uses=WIDE_USES,
        wide=True,
        overlap=unit_by_unit,
        speed=5.0,
    ),
    Kernel(
        op=("CONV_2D", "DEPTHWISE_CONV_2D"),
        template="conv_2d/wide",
        launch=wide_launch,
        uses=WIDE_USES,
        wide=True,
        overlap=filter_by_filter,
        speed=8.0,
    ),
)

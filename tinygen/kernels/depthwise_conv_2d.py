# SPDX-License-Identifier: Apache-2.0
"""DEPTHWISE_CONV_2D in plain C, four channels at a time. Other multipliers than 1, and fewer channels: see conv_2d."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import output_params, plain_bias, wide_params
from tinygen.kernels.conv_2d import spatial_params
from tinygen.kernels.fully_connected import WIDE_USES
from tinygen.kernels.overlap import four_by_four
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs


def accepts(call: Call[Any]) -> bool:
    return call.input(0).shape[3] == call.output.shape[3] >= 4


def few_taps(call: Call[Any]) -> bool:
    """Whether the products of int16 and int8 add up in 32 bits."""
    return accepts(call) and math.prod(call.input(1).shape[1:3]) <= 256


def shapes(call: Call[ConvAttrs]) -> dict[str, int | float | Array]:
    _, kernel_h, kernel_w, channels = call.input(1).shape
    return {
        **spatial_params(call, kernel_h, kernel_w),
        "channels": channels,
        "kernel_w": kernel_w,
        "weights": int8(call.constant(1)),
    }


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    output = output_params(call, plain_bias(call, call.output.shape[3]))
    return (Launch((0,), (0,), {**shapes(call), "zero_point": call.input(0).q.zero_point, **output}),)


def wide_launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    return (Launch((0,), (0,), {**shapes(call), **wide_params(call, call.output.shape[3])}),)


KERNELS = (
    Kernel(
        op=("DEPTHWISE_CONV_2D",),
        template="depthwise_conv_2d/portable",
        launch=launch,
        accepts=accepts,
        uses=("common/requantize",),
        overlap=four_by_four,
        speed=6.0,
    ),
    Kernel(
        op=("DEPTHWISE_CONV_2D",),
        template="depthwise_conv_2d/wide",
        launch=wide_launch,
        accepts=few_taps,
        uses=WIDE_USES,
        wide=True,
        overlap=four_by_four,
        speed=7.0,
    ),
)

"""DEPTHWISE_CONV_2D in plain C, four channels at a time. Other multipliers than 1, and fewer channels: see conv_2d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import output_params, plain_bias
from tinygen.kernels.conv_2d import spatial_params
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs


def accepts(call: Call[Any]) -> bool:
    return call.input(0).shape[3] == call.output.shape[3] >= 4


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    _, kernel_h, kernel_w, channels = call.input(1).shape
    params: dict[str, int | float | Array] = {
        **spatial_params(call, kernel_h, kernel_w),
        "channels": channels,
        "kernel_w": kernel_w,
        "weights": int8(call.constant(1)),
        **output_params(call, plain_bias(call, channels)),
    }
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("DEPTHWISE_CONV_2D",),
        template="depthwise_conv_2d/portable",
        function="depthwise_conv_2d",
        launch=launch,
        accepts=accepts,
        uses=("common/requantize",),
        speed=6.0,
    ),
)

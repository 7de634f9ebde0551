# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE_CONV in plain C, output by output, without memory for sums."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import output_params, plain_bias, wide_params
from tinygen.kernels.fully_connected import WIDE_USES
from tinygen.ops.base import Call
from tinygen.ops.transpose_conv import TransposeConvAttrs


def shapes(call: Call[TransposeConvAttrs]) -> dict[str, int | float | Array]:
    (batch, in_h, in_w, depth), (_, out_h, out_w, filters) = call.input(2).shape, call.output.shape
    (stride_h, stride_w), (top, _, left, _) = call.attrs.stride, call.attrs.padding
    return {
        "batch": batch, "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w, "depth": depth, "filters": filters,
        "kernel_h": call.input(1).shape[1], "kernel_w": call.input(1).shape[2],
        "stride_h": stride_h, "stride_w": stride_w,
        "top": top // stride_h, "top_tap": top % stride_h, "left": left // stride_w, "left_tap": left % stride_w,
        "weights": int8(call.constant(1)),
    }  # fmt: skip


def launch(call: Call[TransposeConvAttrs]) -> Sequence[Launch]:
    output = output_params(call, plain_bias(call, call.output.shape[3]))
    return (Launch((2,), (0,), {**shapes(call), "zero_point": call.input(2).q.zero_point, **output}),)


def wide_launch(call: Call[TransposeConvAttrs]) -> Sequence[Launch]:
    return (Launch((2,), (0,), {**shapes(call), **wide_params(call, call.output.shape[3])}),)


KERNELS = (
    Kernel(
        op=("TRANSPOSE_CONV",),
        template="transpose_conv/portable",
        launch=launch,
        uses=("common/requantize",),
        speed=7.0,
    ),
    Kernel(
        op=("TRANSPOSE_CONV",),
        template="transpose_conv/wide",
        launch=wide_launch,
        uses=WIDE_USES,
        wide=True,
        speed=9.0,
    ),
)

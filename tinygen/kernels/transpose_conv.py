"""TRANSPOSE_CONV in plain C, output by output, without memory for sums."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import output_params, plain_bias
from tinygen.ops.base import Call
from tinygen.ops.transpose_conv import TransposeConvAttrs


def launch(call: Call[TransposeConvAttrs]) -> Sequence[Launch]:
    (batch, in_h, in_w, depth), (_, out_h, out_w, filters) = call.input(2).shape, call.output.shape
    (stride_h, stride_w), (top, _, left, _) = call.attrs.stride, call.attrs.padding
    params: dict[str, int | float | Array] = {
        "batch": batch, "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w, "depth": depth, "filters": filters,
        "kernel_h": call.input(1).shape[1], "kernel_w": call.input(1).shape[2],
        "stride_h": stride_h, "stride_w": stride_w,
        "top": top // stride_h, "top_tap": top % stride_h, "left": left // stride_w, "left_tap": left % stride_w,
        "zero_point": call.input(2).q.zero_point,
        "weights": int8(call.constant(1)),
        **output_params(call, plain_bias(call, filters)),
    }  # fmt: skip
    return (Launch((2,), (0,), params),)


KERNELS = (
    Kernel(
        op=("TRANSPOSE_CONV",),
        template="transpose_conv/portable",
        function="transpose_conv",
        launch=launch,
        uses=("common/requantize",),
        speed=7.0,
    ),
)

"""CONV_2D in plain C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8, int32
from tinygen.ops.base import Call
from tinygen.ops.conv_2d import ConvAttrs, channel_multipliers
from tinygen.ops.numerics import activation_range, wrap_int32


def requantize_params(call: Call[Any]) -> dict[str, int | Array]:
    """Output side of a convolution-like kernel: per-channel multipliers and shifts, offset, clamp."""
    multipliers, shifts = channel_multipliers(call)
    low, high = activation_range(call.attrs.activation, call.output)
    return {
        "output_offset": call.output.q.zero_point,
        "low": low,
        "high": high,
        "multipliers": int32(multipliers),
        "shifts": int8(shifts),
    }


def folded_bias(call: Call[Any], weight_sums: Array) -> Array:
    """bias - zero_point * (sum of each channel's weights), int32 with the wrap-around of the C sum."""
    bias = call.constant(2).astype(np.int64) if call.has(2) else np.int64(0)
    return int32(wrap_int32(bias - call.input(0).q.zero_point * weight_sums.astype(np.int64)))


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    batch, in_h, in_w, channels = call.input(0).shape
    _, out_h, out_w, filters = call.output.shape
    _, kernel_h, kernel_w, depth = call.input(1).shape
    weights, attrs = call.constant(1), call.attrs
    groups = channels // depth
    params: dict[str, int | float | Array] = {
        "batch": batch, "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w,
        "groups": groups, "depth": depth, "filters": filters // groups,
        "kernel_h": kernel_h, "kernel_w": kernel_w,
        "stride_h": attrs.stride[0], "stride_w": attrs.stride[1],
        "dilation_h": attrs.dilation[0], "dilation_w": attrs.dilation[1],
        "pad_top": attrs.padding[0], "pad_left": attrs.padding[2],
        "zero_point": call.input(0).q.zero_point,
        "weights": int8(weights),
        "bias": folded_bias(call, weights.sum(axis=(1, 2, 3), dtype=np.int64)),
        **requantize_params(call),
    }  # fmt: skip
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("CONV_2D",),
        template="conv_2d/portable",
        function="conv_2d",
        launch=launch,
        uses=("common/requantize",),
        speed=6.0,
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions for Armv6-M: two outputs of a row share each product, as their activations lie 16 bits apart.

A channel at a time, so that its weights and what requantizes its sums are unpacked once for the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, Rooms, int8
from tinygen.kernels.channels import plain_bias
from tinygen.kernels.overlap import ring_rows
from tinygen.kernels.split import split_params
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

#: Taps, at most: their order is stored once for each row of a window.
TAPS = 25
#: How many times the instructions of the kernel in plain C on a Cortex-M4 it takes on Armv6-M, roughly.
PLAIN_C = 2.7


def accepts(call: Call[Any]) -> bool:
    _, kernel_h, kernel_w, channels = call.input(1).shape
    if call.input(0).shape[3] != channels or kernel_h * kernel_w > TAPS:
        return False
    near = (kernel_h == 1 or call.attrs.dilation[0] == 1) and (kernel_w == 1 or call.attrs.dilation[1] == 1)
    return near and requantization(call) is not None


def requantization(call: Call[ConvAttrs]) -> dict[str, int | Array] | None:
    """The fields of `split_t`, for sums of products with activations of which each is 128 more than it is."""
    weights, zero = call.constant(1).astype(np.int64).reshape(-1, call.output.shape[3]), call.input(0).q.zero_point
    positive, negative = np.maximum(weights, 0).sum(axis=0), np.minimum(weights, 0).sum(axis=0)
    bias = plain_bias(call, weights.shape[1])
    least = bias + positive * (-128 - zero) + negative * (127 - zero)
    most = bias + positive * (127 - zero) + negative * (-128 - zero)
    folded = bias - (positive + negative) * (zero + 128)
    return split_params(call, least, most, folded + 255 * negative)


def columns_params(call: Call[ConvAttrs]) -> dict[str, int]:
    """Where the pixels of a row lie among pairs: a pair is a column and that which is `apart` further."""
    in_w, out_w, kernel_w = call.input(0).shape[2], call.output.shape[2], call.input(1).shape[2]
    stride, left, half = call.attrs.stride[1], call.attrs.padding[2], -(-out_w // 2)
    columns, apart = (half - 1) * stride + kernel_w, (out_w - half) * stride
    high_from = max(0, apart - left)
    high_to = high_from + left - apart
    return {
        "columns": columns,
        "half": half,
        "low_count": max(0, min(in_w, columns - left)),
        "high_from": high_from,
        "high_to": high_to,
        "high_count": max(0, min(in_w - high_from, columns - high_to)),
    }


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    _, kernel_h, kernel_w, channels = call.input(1).shape
    (batch, in_h, in_w, _), (_, out_h, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    split = requantization(call)
    assert split is not None, "only what is accepted is launched"
    columns, pairs = columns_params(call), -(-kernel_h * kernel_w // 2)
    params: dict[str, int | float | Array] = {
        "batch": batch, "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w, "channels": channels,
        "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": attrs.stride[0], "stride_w": attrs.stride[1],
        "pad_top": attrs.padding[0], "pad_left": attrs.padding[2],
        **columns,
        "blank": call.input(0).q.zero_point + 128,
        "pairs": pairs,
        "weights": int8(call.constant(1)),
        **split,
    }  # fmt: skip
    scratch = 4 * (columns["columns"] * kernel_h + 1) + 4 * kernel_h * (3 * pairs + 10)
    return (Launch((0,), (0,), params, scratch=scratch),)


def speed(call: Call[ConvAttrs]) -> float:
    """Instructions per MAC: two outputs at a time, pixels that are packed, starts of rows and of channels."""
    _, kernel_h, kernel_w, _ = call.input(1).shape
    (_, in_h, in_w, _), (_, out_h, out_w, _) = call.input(0).shape, call.output.shape
    taps, half = kernel_h * kernel_w, -(-out_w // 2)
    each = (40 + 4.5 * taps if taps == 9 else 60 + 8 * taps) * half + 70
    pixels = (in_h * (9 * in_w + 60) + kernel_h * (20 * taps + 80)) / out_h
    return (each + pixels) / (taps * out_w) / PLAIN_C


def one_channel(call: Call[Any], launched: Launch) -> Rooms:
    """`ring_rows` for one channel of the whole image after the other: they stay apart a number of pixels apart."""
    return ring_rows(call, step=call.output.shape[3])


KERNELS = (
    Kernel(
        op=("DEPTHWISE_CONV_2D",),
        template="depthwise_conv_2d/v6m",
        launch=launch,
        accepts=accepts,
        uses=("common/split", "common/v6m_taps", "depthwise_conv_2d/v6m_ring"),
        requires=frozenset({"v6m"}),
        overlap=one_channel,
        speed=speed,
    ),
)

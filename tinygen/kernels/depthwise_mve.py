# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions with the vectors of Armv8.1-M (MVE): sixteen channels, or pixels of fewer channels, at a time.

Rows of the image are copied with padding around them; the channels of a pixel lie side by side in sixteen lanes, with
those of neighbouring pixels where there are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8, int32
from tinygen.kernels.channels import folded_bias
from tinygen.kernels.conv_2d import spatial_params
from tinygen.kernels.mve import VECTORS, Params, output_params, requantization, rounds_down
from tinygen.kernels.overlap import whole_rows
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs, input_of


def fold_of(call: Call[ConvAttrs]) -> int:
    """How many neighbouring output pixels sixteen lanes hold."""
    channels = call.output.shape[3]
    return max(1, 16 // channels) if call.attrs.stride[1] == 1 else 1


def widened(values: Array, fold: int) -> Array:
    """`values` [channels] for `fold` pixels, filled up to 16 and more, in the order of `sixteen_t`."""
    lanes = np.tile(values, fold)
    lanes = np.concatenate([lanes, np.repeat(lanes[-1:], -len(lanes) % 16)])
    return lanes.reshape(-1, 4, 2, 2).transpose(0, 3, 2, 1).ravel()


def lanes_params(call: Call[ConvAttrs], fold: int) -> Params:
    """Weights, biases and requantization in the order of lanes."""
    channels, weights = call.output.shape[3], call.constant(1).reshape(-1, call.output.shape[3])
    multipliers, shifts = (np.broadcast_to(v, (channels,)) for v in requantization(call))
    bias, lanes = folded_bias(call, weights.T.astype(np.int64)), np.tile(weights, (1, fold))
    lanes = np.pad(lanes, ((0, 0), (0, -lanes.shape[1] % 16)))
    return {
        "weights": int8(lanes.reshape(len(weights), -1, 16).transpose(1, 0, 2)),
        **output_params(call, bias, "output"),
        "output.channel_step": 1,
        "output.bias": int32(widened(bias, fold)),
        "output.multipliers": int32(widened(multipliers, fold)),
        "output.shifts": int8(widened(shifts, fold)),
    }


def ring_rows(call: Call[ConvAttrs]) -> int:
    """Rows of the input that a row of the output needs."""
    return (call.input(1).shape[1] - 1) * call.attrs.dilation[0] + 1


def ring_row(call: Call[ConvAttrs], columns: int) -> tuple[int, int]:
    """Columns in a row of the ring for `columns` of the output, and bytes of a line of them where they are folded."""
    fold, attrs = fold_of(call), call.attrs
    width = (-(-columns // fold) * fold - 1) * attrs.stride[1] + (call.input(1).shape[2] - 1) * attrs.dilation[1] + 1
    return width, (width + fold) * call.output.shape[3] + 16 if fold > 1 else 0


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    _, kernel_h, kernel_w, channels = call.input(1).shape
    (_, _, in_w, _), (_, _, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    fold, (width, line) = fold_of(call), ring_row(call, out_w)
    groups, rows = -(-fold * channels // 16), ring_rows(call)
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
        **lanes_params(call, fold),
    }
    return (Launch((0,), (0,), params, scratch=8 * kernel_h + groups * rows * width * 16 + line),)


def accepts(call: Call[Any]) -> bool:
    channels = call.output.shape[3]
    return call.input(0).shape[3] == channels >= 4 and rounds_down(call) and not overflows(call.constant(1))


def unfolded(kernel: Kernel) -> Kernel:
    """`kernel`, of depthwise convolutions, where sixteen lanes do not hold several pixels."""
    return replace(kernel, accepts=lambda call: kernel.accepts(call) and fold_of(call) == 1)


def overflows(weights: Array) -> bool:
    """Whether two taps whose products are added in int16 both have the weight -128."""
    lowest = weights.reshape(-1, weights.shape[3]) == -128
    return bool(np.any(lowest[: len(lowest) // 2 * 2 : 2] & lowest[1::2]))


KERNEL = Kernel(
    op=("DEPTHWISE_CONV_2D",),
    template="depthwise_conv_2d/mve",
    launch=launch,
    accepts=accepts,
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
)
KERNELS = (KERNEL,)

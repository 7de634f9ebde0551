# SPDX-License-Identifier: Apache-2.0
"""Convolutions and dense layers with the DSP extension: int8 values are widened to int16, two products an instruction.

In a convolution, two filters times three windows take 8 instructions for 12 products: loads of the filters' and the
windows' pairs, and six times SMLAD. Widening a filter or a window costs about an instruction for each value, which many
products share. In a depthwise convolution, rows of the image are widened once; in a dense layer, each input row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8, int32
from tinygen.kernels.channels import folded_bias, requantization
from tinygen.kernels.conv_2d import is_matrix_product
from tinygen.kernels.overlap import blocks_of_channels, four_units, in_bands, rows_widened
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs, input_of, limits_of, multipliers_of, weights_of

#: Bytes of widened windows, roughly: the more windows there are, the more share the widening of filters.
BANDS = (1024, 2048, 3072, 4096, 6144, 8192, 10240, 12288, 16384)
#: Bytes of widened rows in a depthwise convolution, roughly.
BAND_BYTES = 4096
#: Templates of whatever reads windows; of convolutions by bands of them.
WINDOWS = (
    "common/requantize",
    "common/dsp",
    "common/down",
    "common/dsp_widen",
    "common/dsp_widen_more",
    "common/dsp_windows",
)
USES = (*WINDOWS, "common/dsp_products")
Params = dict[str, int | float | Array]


def rounds_down(call: Call[Any]) -> bool:
    """Whether all multipliers scale down: what `down` (``templates/kernels/common/down.c.j2``) asks for."""
    multipliers, shifts = multipliers_of(call)
    return bool(np.all(shifts < 0) and np.all(multipliers > 0))


def down_params(call: Call[Any], weights: Array) -> Params:
    """The fields of `down_t`; `weights` are [channels, ...]."""
    multipliers, shifts = requantization(call)
    low, high = limits_of(call)
    return {
        "down.twice": 2 * call.output.q.zero_point + 1,
        "down.clamped": int((low, high) != (-128, 127)),
        "down.low": low,
        "down.high": high,
        "down.step": int(len(multipliers) > 1),
        "down.bias": int32(folded_bias(call, weights)),
        "down.doubled": int32(2 * multipliers.astype(np.int64) - 2**32),
        "down.halving": int8(-shifts - 1),
    }


def accepts(call: Call[Any]) -> bool:
    (filters, *_, depth), channels = call.input(1).shape, call.input(0).shape[3]
    return depth == channels and filters > 1 and rounds_down(call)


def windows_params(call: Call[ConvAttrs]) -> dict[str, int]:
    """The fields of `windows_t` without its prefix; an image whose every pixel is a window is a single row."""
    (_, in_h, in_w, depth), (_, _, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    _, kernel_h, kernel_w, _ = call.input(1).shape
    if is_matrix_product(call):
        in_h, in_w, out_w = 1, in_h * in_w, in_h * in_w
    runs, taps = (1, kernel_w) if attrs.dilation[1] == 1 else (kernel_w, 1)
    fours = -(-taps * depth // 4)
    return {
        "in_h": in_h, "in_w": in_w, "out_w": out_w, "depth": depth, "kernel_h": kernel_h,
        "stride_h": attrs.stride[0], "stride_w": attrs.stride[1],
        "dilation_h": attrs.dilation[0], "dilation_w": attrs.dilation[1],
        "pad_top": attrs.padding[0], "pad_left": attrs.padding[2], "zero_point": input_of(call).q.zero_point,
        "runs": runs, "taps": taps, "fours": fours, "excess": 4 * fours - taps * depth,
        "words": -(-kernel_h * runs * fours // 2) * 4,
    }  # fmt: skip


def band_of(call: Call[ConvAttrs], most: int, group: int = 3) -> int:
    """Output pixels at a time, a multiple of `group`, whose windows take `most` bytes at most, or `group`."""
    _, out_h, out_w, _ = call.output.shape
    return group * max(1, min(most // (4 * group * windows_params(call)["words"]), -(-out_h * out_w // group)))


def launch(call: Call[ConvAttrs], most: int, group: int = 3) -> Sequence[Launch]:
    """The C call with bands of about `most` bytes of widened windows, `group` of them interleaved."""
    (batch, *image), (_, out_h, out_w, filters) = call.input(0).shape, call.output.shape
    windows, weights = windows_params(call), call.constant(1).reshape(filters, -1)
    band = band_of(call, most, group)
    params: Params = {
        **{f"windows.{name}": value for name, value in windows.items()},
        "batch": batch,
        "in_size": int(np.prod(image)),
        "pixels": out_h * out_w,
        "band": band,
        "filters": filters,
        "size": weights.shape[1],
        "weights": int8(weights),
        **down_params(call, weights),
    }
    return (Launch((0,), (0,), params, scratch=4 * windows["words"] * (2 + band) + 4 * windows["fours"]),)


def passes(launched: Launch) -> int:
    """How often a call of the convolution reads its weights: once for each band."""
    pixels, band, batch = (launched.params[name] for name in ("pixels", "band", "batch"))
    return int(batch) * -(-int(pixels) // int(band))


def speed(call: Call[ConvAttrs], most: int, widens: bool = True) -> float:
    """Instructions per MAC: products, widened windows, passes of two filters over a band, and outputs.

    `widens`: whether each pass widens its filters.

    Fitted to networks on Cortex-M4, within a tenth for windows of 27 values and more.
    """
    filters, kernel_h, *_ = call.input(1).shape
    (_, out_h, out_w, _), windows = call.output.shape, windows_params(call)
    size, pixels, words = call.input(1).elements // filters, out_h * out_w, windows["words"]
    runs, bands = kernel_h * windows["runs"], -(-pixels // band_of(call, most))
    filled = 60 * runs if windows["excess"] else 0
    products = 1.46 * words / size * (-(-pixels // 3) * 3 / pixels)
    widened = (2.4 * words + 12 * runs) / (size * filters)
    passes = bands * (80 + widens * (40 + filled + 2 * size)) / (2 * size * pixels)
    return products + widened + passes + 11 / size


def kernel(most: int) -> Kernel:
    """CONV_2D with about `most` bytes of widened windows."""
    return Kernel(
        op=("CONV_2D",),
        template="conv_2d/dsp",
        launch=partial(launch, most=most),
        accepts=accepts,
        uses=USES,
        requires=frozenset({"dsp"}),
        overlap=in_bands,
        speed=partial(speed, most=most),
    )


def depthwise_accepts(call: Call[Any]) -> bool:
    channels = call.output.shape[3]
    return call.input(0).shape[3] == channels >= 4 and rounds_down(call)


def depthwise_launch(call: Call[ConvAttrs], most: int) -> Sequence[Launch]:
    _, kernel_h, kernel_w, channels = call.input(1).shape
    (batch, in_h, in_w, _), (_, out_h, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    rows = (kernel_h - 1) * attrs.dilation[0] + 1
    reach = (out_w - 1) * attrs.stride[1] + (kernel_w - 1) * attrs.dilation[1] + 1
    width = max(reach, attrs.padding[2] + in_w)
    each = 8 * (rows * width + kernel_h * kernel_w)
    groups = max(1, min(-(-channels // 4), most // each))
    params: Params = {
        "ring.in_h": in_h, "ring.in_w": in_w, "ring.channels": channels,
        "ring.pad_top": attrs.padding[0], "ring.pad_left": attrs.padding[2],
        "ring.zero_point": input_of(call).q.zero_point, "ring.rows": rows, "ring.width": width,
        "batch": batch, "out_h": out_h, "out_w": out_w, "kernel_h": kernel_h, "kernel_w": kernel_w,
        "stride_h": attrs.stride[0], "stride_w": attrs.stride[1],
        "dilation_h": attrs.dilation[0], "dilation_w": attrs.dilation[1],
        "groups": groups,
        "weights": int8(call.constant(1)),
        **down_params(call, call.constant(1).reshape(-1, channels).T),
    }  # fmt: skip
    return (Launch((0,), (0,), params, scratch=8 * kernel_h + groups * each),)


def depthwise_kernel(most: int) -> Kernel:
    """DEPTHWISE_CONV_2D with about `most` bytes of widened rows and weights."""
    return Kernel(
        op=("DEPTHWISE_CONV_2D",),
        template="depthwise_conv_2d/dsp",
        launch=partial(depthwise_launch, most=most),
        accepts=depthwise_accepts,
        uses=(
            "common/requantize",
            "common/dsp",
            "common/down",
            "common/dsp_taps",
            "common/dsp_row",
            "common/dsp_ring",
            "depthwise_conv_2d/dsp_four",
        ),
        requires=frozenset({"dsp"}),
        overlap=blocks_of_channels,
        speed=depthwise_speed,
    )


def depthwise_speed(call: Call[ConvAttrs]) -> float:
    """Instructions per MAC: outputs with their products, widened rows with padding around them, and starts of rows.

    Fitted to networks on Cortex-M4, within a tenth.
    """
    _, kernel_h, kernel_w, _ = call.input(1).shape
    (_, in_h, in_w, _), (_, out_h, out_w, _), attrs = call.input(0).shape, call.output.shape, call.attrs
    top, bottom, left, right = attrs.padding
    width, ring = in_w + left + right, (kernel_h - 1) * attrs.dilation[0] + 1
    widened = ((in_h + top + bottom + ring) * width + kernel_h * kernel_w) / (out_h * out_w)
    return (11 + 1.35 * kernel_h * kernel_w + 2.65 * widened + 22 / out_w) / (kernel_h * kernel_w)


def dense_accepts(call: Call[Any]) -> bool:
    if call.constants[1] is None or any(weights_of(call).q.zero_points):
        return False
    units, depth = call.input(1).shape
    return units >= 4 and depth >= 8 and rounds_down(call)


def raw_launch(call: Call[Any]) -> Sequence[Launch]:
    (one,) = dense_launch(call)
    return (replace(one, scratch=0),)


def dense_launch(call: Call[Any]) -> Sequence[Launch]:
    weights = call.constant(1)
    units, depth = weights.shape
    params: Params = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "weights": int8(weights),
        **down_params(call, weights),
    }
    return (Launch((0,), (0,), params, scratch=2 * (depth // 8 * 8)),)


KERNELS = (
    *map(kernel, BANDS),
    depthwise_kernel(BAND_BYTES),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/dsp",
        launch=dense_launch,
        accepts=dense_accepts,
        uses=("common/requantize", "common/dsp", "common/down", "common/dsp_rows"),
        requires=frozenset({"dsp"}),
        overlap=rows_widened,
        speed=1.5,
    ),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/dsp_raw",
        launch=raw_launch,
        accepts=dense_accepts,
        uses=("common/requantize", "common/dsp", "common/down", "common/dsp_raw_rows"),
        requires=frozenset({"dsp"}),
        overlap=four_units,
        speed=1.67,
    ),
)

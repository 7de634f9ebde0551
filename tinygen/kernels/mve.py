# SPDX-License-Identifier: Apache-2.0
"""Convolutions and matrix products with the vectors of Armv8.1-M (MVE).

Sixteen int8 products in each instruction (VMLADAVA): two rows of inputs times two filters share their loads, so that 64
products take nine instructions. Where the inputs of an output pixel are not neighbours, its window is copied first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8, int32
from tinygen.kernels.channels import folded_bias
from tinygen.kernels.conv_2d import is_matrix_product, spatial_params
from tinygen.kernels.overlap import in_bands, rows_of_vectors
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs, input_of, limits_of, multipliers_of, weights_of

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


def launch(call: Call[ConvAttrs], bytes_: int = BAND_BYTES) -> Sequence[Launch]:
    weights = call.constant(1).reshape(len(call.constant(1)), -1)
    windows = windows_params(call, bytes_=bytes_)
    scratch = int(windows["band"]) * weights.shape[1]
    return (Launch((0,), (0,), {**windows, **rows_params(call, weights)}, scratch=scratch),)


def windows_params(call: Call[ConvAttrs], at_once: int = 2, bytes_: int = BAND_BYTES) -> Params:
    """The fields of a convolution by bands of windows, of about `bytes_`, and those of `mve_windows_t`.

    A band has a multiple of `at_once` windows, or all.
    """
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
        "band": min(max(at_once, bytes_ // size // at_once * at_once), pixels),
    }


def matrix_speed(call: Call[Any]) -> float:
    """Instructions per MAC: nine for four times sixteen products, and what each four outputs take."""
    size = call.input(1).shape[-1]
    return (9 * -(-size // 16) + 25) / (4 * size)


def speed(call: Call[ConvAttrs]) -> float:
    filters, *window = call.input(1).shape
    size = int(np.prod(window))
    return (9 * -(-size // 16) + 25) / (4 * size) + (12 * window[0] + size / 5) / (size * filters)


matrix = partial(
    Kernel,
    template="fully_connected/mve",
    launch=matrix_launch,
    uses=USES,
    requires=frozenset({"mve"}),
    overlap=rows_of_vectors,
    speed=matrix_speed,
)
KERNELS = (
    matrix(op=("FULLY_CONNECTED",), accepts=dense_accepts),
    matrix(op=("CONV_2D",), accepts=pointwise_accepts),
    Kernel(
        op=("CONV_2D",),
        template="conv_2d/mve",
        launch=launch,
        accepts=accepts,
        uses=(*USES, "common/mve_copy", "common/mve_windows"),
        requires=frozenset({"mve"}),
        overlap=in_bands,
        speed=speed,
    ),
)

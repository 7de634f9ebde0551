"""Convolutions for Armv6-M (Cortex-M0, M0+), which multiplies 32 bits by 32 bits in a cycle, and no more than that.

Two activations packed 16 bits apart make two products in one multiplication. Two taps of them are added before the low
sum is taken out of the word, so that eight products take 21 instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import folded_bias, output_params
from tinygen.kernels.conv_2d import spatial_params
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs, input_of


def accepts(call: Call[Any]) -> bool:
    weights = call.constant(1)
    return weights.shape[3] == call.input(0).shape[3] and not overflows(weights.reshape(len(weights), -1))


def overflows(weights: Array) -> bool:
    """Whether two weights of a filter [filters, size] whose products are added in int16 both are -128."""
    lowest = weights == -128
    return bool(np.any(lowest[:, : lowest.shape[1] // 2 * 2 : 2] & lowest[:, 1::2]))


def launch(call: Call[ConvAttrs]) -> Sequence[Launch]:
    filters, kernel_h, kernel_w, depth = call.input(1).shape
    _, out_h, out_w, _ = call.output.shape
    size = kernel_h * kernel_w * depth
    fours, weights = -(-size // 4) * 4, call.constant(1).reshape(filters, -1)
    spatial = spatial_params(call, kernel_h, kernel_w)
    del spatial["out_h"]
    params: dict[str, int | float | Array] = {
        **spatial,
        "depth": depth,
        "filters": filters,
        "kernel_w": kernel_w,
        "zero_point": input_of(call).q.zero_point,
        "pixels": out_h * out_w,
        "size": size,
        "fours": fours,
        "weights": np.pad(int8(weights), (0, fours - size)),
        **output_params(call, folded_bias(call, weights.astype(np.int64))),
    }
    return (Launch((0,), (0,), params, scratch=4 * fours + depth),)


KERNELS = (
    Kernel(
        op=("CONV_2D",),
        template="conv_2d/v6m",
        function="conv_2d_v6m",
        launch=launch,
        accepts=accepts,
        uses=("common/requantize", "common/v6m"),
        requires=frozenset({"v6m"}),
        speed=3.0,
    ),
)

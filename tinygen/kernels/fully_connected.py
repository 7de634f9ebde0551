# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED in plain C: a matrix product, also for 1x1 convolutions and products with a constant matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int8
from tinygen.kernels.channels import folded_bias, output_params, wide_params
from tinygen.kernels.overlap import unit_by_unit
from tinygen.ops.base import Call
from tinygen.ops.convolution import weights_of

USES = ("common/requantize", "common/dot")
WIDE_USES = ("common/requantize", "common/wide")


def matrix_launch(call: Call[Any], weights: Array) -> Sequence[Launch]:
    """The C call for input 0, as rows, times the transpose of `weights` int8 [units, depth]."""
    units, depth = weights.shape
    zero_point = weights_of(call).q.zero_points[0]
    params: dict[str, int | float | Array] = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "weights_zero_point": zero_point,
        "weights": int8(weights),
        **output_params(call, folded_bias(call, weights.astype(np.int64) - zero_point)),
    }
    return (Launch((0,), (0,), params),)


def launch(call: Call[Any]) -> Sequence[Launch]:
    return matrix_launch(call, call.constant(1))


def wide_matrix_launch(call: Call[Any], weights: Array) -> Sequence[Launch]:
    """The same for int16 activations."""
    units, depth = weights.shape
    params: dict[str, int | float | Array] = {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "weights": int8(weights),
        **wide_params(call, units),
    }
    return (Launch((0,), (0,), params),)


def wide_launch(call: Call[Any]) -> Sequence[Launch]:
    return wide_matrix_launch(call, call.constant(1))


def constant_weights(call: Call[Any]) -> bool:
    return call.constants[1] is not None


KERNELS = (
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/portable",
        launch=launch,
        accepts=constant_weights,
        uses=USES,
        overlap=unit_by_unit,
        speed=4.0,
    ),
    Kernel(
        op=("FULLY_CONNECTED",),
        template="fully_connected/wide",
        launch=wide_launch,
        uses=WIDE_USES,
        wide=True,
        overlap=unit_by_unit,
        speed=5.0,
    ),
)

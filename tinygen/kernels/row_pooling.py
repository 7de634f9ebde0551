# SPDX-License-Identifier: Apache-2.0
"""AVERAGE_POOL_2D and MEAN over images whose rows come a few at a time: sums in scratch memory, outputs at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, TensorType
from tinygen.kernels.base import Kernel, Launch
from tinygen.ops import mean
from tinygen.ops.base import Call
from tinygen.ops.numerics import activation_range
from tinygen.ops.pooling import output_size
from tinygen.ops.reduction import axes
from tinygen.ops.wide import is_wide


@dataclass(frozen=True)
class RowsAttrs(Attrs):
    """`whole` is the layer; `first` and `last` tell whether its first and last rows are among those of the call."""

    whole: Call[Any] = field(kw_only=True, compare=False)
    first: bool = False
    last: bool = False


def takes_rows(call: Call[Any]) -> bool:
    """Whether the int8 layer makes one value of each channel, out of all rows of one image."""
    if call.op not in ("AVERAGE_POOL_2D", "MEAN") or len(call.input(0).shape) != 4 or is_wide(call):
        return False
    batch, height, width, channels = call.input(0).shape
    if batch != 1 or call.output.elements != channels:
        return False
    if call.op == "MEAN":
        return sorted(axes(call)) == [1, 2]
    attrs = call.attrs
    return attrs.window == (height, width) and not any(attrs.padding) and output_size(call) == (1, 1)


def of_rows(call: Call[Any], rows: TensorType, first: bool, last: bool) -> Call[Any]:
    """The call that takes in some `rows` of the input of `call`."""
    attrs = RowsAttrs(whole=call, first=first, last=last)
    return Call(call.name, f"{call.op}_ROWS", attrs, (rows,), call.outputs, (None,))


def fields(call: Call[RowsAttrs]) -> dict[str, int | float | Array]:
    _, height, width, channels = call.input(0).shape
    return {
        "pixels": height * width,
        "channels": channels,
        "first": int(call.attrs.first),
        "last": int(call.attrs.last),
    }


def launch_average(call: Call[RowsAttrs]) -> Sequence[Launch]:
    whole = call.attrs.whole
    _, height, width, channels = whole.input(0).shape
    low, high = activation_range(whole.attrs.activation, whole.output)
    params = {**fields(call), "cells": height * width, "low": low, "high": high}
    return (Launch((0,), (0,), params, scratch=4 * channels),)


def launch_mean(call: Call[RowsAttrs]) -> Sequence[Launch]:
    whole = call.attrs.whole
    _, height, width, channels = whole.input(0).shape
    multiplier, shift = mean.requantization(whole)
    params = {
        **fields(call),
        "bias": -whole.input(0).q.zero_point * height * width,
        "multiplier": multiplier, "shift": shift, "output_offset": whole.output.q.zero_point,
    }  # fmt: skip
    return (Launch((0,), (0,), params, scratch=4 * channels),)


KERNELS = (
    Kernel(
        op=("AVERAGE_POOL_2D_ROWS",),
        template="average_pool_2d/rows",
        launch=launch_average,
        uses=("common/requantize", "common/sum_rows"),
    ),
    Kernel(
        op=("MEAN_ROWS",),
        template="reduce_sum/rows",
        launch=launch_mean,
        uses=("common/requantize", "common/sum_rows"),
    ),
)

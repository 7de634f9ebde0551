# SPDX-License-Identifier: Apache-2.0
"""MUL with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tinygen.ir.types import DType
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import broadcast_params, fits
from tinygen.kernels.overlap import broadcast
from tinygen.ops.base import Call
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.mul import output_ratio
from tinygen.ops.numerics import activation_range, quantize_multiplier
from tinygen.ops.wide import is_wide


def launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    multiplier, shift = quantize_multiplier(output_ratio(call))
    low, high = activation_range(call.attrs.activation, call.output)
    params = {**broadcast_params(call), "multiplier": multiplier, "shift": shift, "low": low, "high": high}
    if not is_wide(call):
        params |= {f"{side}_zero": call.input(i).q.zero_point for i, side in enumerate("ab")}
        params["output_offset"] = call.output.q.zero_point
    return (Launch((0, 1), (0,), params),)


def scales_down(call: Call[Any]) -> bool:
    """Products of int8 that are scaled by less than 1: with either half of the multiplier, they fit 32 bits."""
    return fits(call) and quantize_multiplier(output_ratio(call))[1] <= 0


def narrow_launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    (one,) = launch(call)
    multiplier, shift = (int(one.params[name]) for name in ("multiplier", "shift"))
    higher = (multiplier + 2**15) >> 16
    params = {name: value for name, value in one.params.items() if name not in ("multiplier", "shift")}
    halves = {"higher": higher, "lower": multiplier - (higher << 16), "right": -shift}
    return (replace(one, params={**params, **halves}),)


def vector_accepts(call: Call[Any]) -> bool:
    """Tensors of one shape, whose products are scaled down."""
    same = call.output.dtype is DType.INT8 and call.input(0).shape == call.input(1).shape
    return same and quantize_multiplier(output_ratio(call))[1] <= 0


def vector_launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    multiplier, shift = quantize_multiplier(output_ratio(call))
    low, high = activation_range(call.attrs.activation, call.output)
    zeros = {f"{side}_zero": call.input(i).q.zero_point for i, side in enumerate("ab")}
    params = {"n": call.output.elements, **zeros, "multiplier": multiplier, "right": -shift, "low": low, "high": high}
    return (Launch((0, 1), (0,), {**params, "output_offset": call.output.q.zero_point}),)


VECTORS = Kernel(
    op=("MUL",),
    template="mul/mve",
    launch=vector_launch,
    accepts=vector_accepts,
    uses=("common/requantize", "common/mve"),
    requires=frozenset({"mve"}),
    overlap=broadcast,
    speed=4.0,
)
NARROW = Kernel(
    op=("MUL",),
    template="mul/narrow",
    launch=narrow_launch,
    accepts=scales_down,
    uses=("common/requantize",),
    overlap=broadcast,
    speed=14.0,
)
KERNELS = (
    VECTORS,
    NARROW,
    *(
        Kernel(
            op=("MUL",),
            template=template,
            launch=launch,
            accepts=fits,
            uses=("common/requantize",),
            overlap=broadcast,
            wide=wide,
            speed=16.0,
        )
        for template, wide in (("mul/portable", False), ("mul/wide", True))
    ),
)

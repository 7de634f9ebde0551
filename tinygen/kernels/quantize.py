# SPDX-License-Identifier: Apache-2.0
"""QUANTIZE: tables between 8-bit types, arithmetic for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import DType
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.elements import ELEMENT
from tinygen.kernels.overlap import elementwise
from tinygen.ops.base import Call
from tinygen.ops.numerics import quantize_multiplier
from tinygen.ops.quantize import LIMIT, reference
from tinygen.ops.rescaling import ratio


def from_float(call: Call[Any]) -> bool:
    return call.input(0).dtype is DType.FLOAT32


def between_bytes(call: Call[Any]) -> bool:
    return call.input(0).dtype.bytes == 1 and call.output.dtype.bytes == 1


def between_integers(call: Call[Any]) -> bool:
    return not from_float(call)


def table_launch(call: Call[Attrs]) -> Sequence[Launch]:
    """The table is indexed by the input's bits read as int8, plus 128; it holds the output's bits as int8."""
    every = np.arange(-128, 128).astype(np.int8).view(call.input(0).dtype.numpy)
    wide = replace(call, inputs=(replace(call.input(0), shape=(256,)),), outputs=(replace(call.output, shape=(256,)),))
    table = reference(wide, [every])[0].view(np.int8)
    return (Launch((0,), (0,), {"elements": call.output.elements, "table": table}),)


def rescaling_launch(call: Call[Any], limits: tuple[int, int]) -> Sequence[Launch]:
    """The C call that brings integers to the output's scale, zero point and type, between `limits`."""
    multiplier, shift = quantize_multiplier(ratio(call))
    low, high = limits
    params = {
        "elements": call.output.elements,
        "from": ELEMENT[call.input(0).dtype],
        "to": ELEMENT[call.output.dtype],
        "input_offset": call.input(0).q.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "output_offset": call.output.q.zero_point,
        "low": low,
        "high": high,
    }
    return (Launch((0,), (0,), params),)


def integer_launch(call: Call[Attrs]) -> Sequence[Launch]:
    return rescaling_launch(call, call.output.dtype.limits)


def float_launch(call: Call[Attrs]) -> Sequence[Launch]:
    low, high = call.output.dtype.limits
    params: dict[str, int | float] = {
        "elements": call.output.elements,
        "to": ELEMENT[call.output.dtype],
        "zero_point": call.output.q.zero_point,
        "low": low,
        "high": high,
        "scale": call.output.q.scale,
        "limit": float(LIMIT),
    }
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("QUANTIZE",),
        template="lookup/table",
        launch=table_launch,
        accepts=between_bytes,
        overlap=elementwise,
        speed=4.0,
    ),
    Kernel(
        op=("QUANTIZE",),
        template="quantize/integer",
        launch=integer_launch,
        accepts=between_integers,
        wide=None,
        uses=("common/elements", "common/requantize"),
        overlap=elementwise,
        speed=20.0,
    ),
    Kernel(
        op=("QUANTIZE",),
        template="quantize/from_float",
        launch=float_launch,
        accepts=from_float,
        wide=None,
        uses=("common/elements", "common/requantize"),
        overlap=elementwise,
        speed=30.0,
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""LOG_SOFTMAX: int8 with a table of exponentials, and float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch, int32
from tinygen.kernels.overlap import row_by_row
from tinygen.ops.base import Call
from tinygen.ops.fixedpoint import scaled_input
from tinygen.ops.float_math import EXP_TERMS, LOG_TERMS
from tinygen.ops.log_softmax import divisor, is_float
from tinygen.ops.softmax import DIFFERENCE_BITS, exp_table


def is_int8(call: Call[Any]) -> bool:
    return not is_float(call)


def rows(call: Call[Any]) -> dict[str, int]:
    depth = call.output.shape[-1]
    return {"rows": call.output.elements // depth, "depth": depth}


def int8_launch(call: Call[Attrs]) -> Sequence[Launch]:
    scale = call.input(0).q.scale
    multiplier, shift, radius = scaled_input(scale, DIFFERENCE_BITS)
    back, back_shift = divisor(scale)
    params: dict[str, int | float | Array] = {
        **rows(call),
        "multiplier": multiplier,
        "shift": shift,
        "lowest": -radius - 1,
        "divisor": back,
        "divisor_shift": back_shift,
        "exps": int32(exp_table(scale)),
    }
    return (Launch((0,), (0,), params),)


def float_launch(call: Call[Attrs]) -> Sequence[Launch]:
    return (Launch((0,), (0,), {**rows(call), "exp_terms": EXP_TERMS, "log_terms": LOG_TERMS}),)


KERNELS = (
    Kernel(
        op=("LOG_SOFTMAX",),
        template="log_softmax/table",
        launch=int8_launch,
        accepts=is_int8,
        uses=("common/fixedpoint", "common/requantize"),
        overlap=row_by_row,
        speed=40.0,
    ),
    Kernel(
        op=("LOG_SOFTMAX",),
        template="log_softmax/float",
        launch=float_launch,
        accepts=is_float,
        uses=("common/float_math",),
        overlap=row_by_row,
        speed=3000.0,
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX with a table of exponentials."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch, int16, int32
from tinygen.kernels.overlap import row_by_row
from tinygen.ops.base import Call
from tinygen.ops.softmax import EXPS, RECIPROCALS, SoftmaxAttrs, difference_rule, exp_table


def launch(call: Call[SoftmaxAttrs]) -> Sequence[Launch]:
    depth = call.input(0).shape[-1]
    exps = int32(exp_table(call.attrs.beta * call.input(0).q.scale))
    return (Launch((0,), (0,), {"rows": call.output.elements // depth, "depth": depth, "exps": exps}),)


def wide_launch(call: Call[SoftmaxAttrs]) -> Sequence[Launch]:
    depth, (multiplier, shift) = call.input(0).shape[-1], difference_rule(call)
    params = {"rows": call.output.elements // depth, "depth": depth, "multiplier": multiplier, "shift": shift}
    return (Launch((0,), (0,), {**params, "exps": int16(EXPS), "reciprocals": int16(RECIPROCALS)}),)


KERNELS = (
    Kernel(
        op=("SOFTMAX",),
        template="softmax/table",
        launch=launch,
        uses=("common/fixedpoint",),
        overlap=row_by_row,
        speed=40.0,
    ),
    Kernel(
        op=("SOFTMAX",),
        template="softmax/wide",
        launch=wide_launch,
        uses=("common/fixedpoint", "common/requantize"),
        overlap=row_by_row,
        wide=True,
        speed=60.0,
    ),
)

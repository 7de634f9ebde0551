# SPDX-License-Identifier: Apache-2.0
"""LOGISTIC and TANH of int16, interpolated in one table. Of int8 they are tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.overlap import elementwise
from tinygen.ops.base import Call
from tinygen.ops.interpolated import sigmoid_input, sigmoid_table
from tinygen.ops.logistic import SHIFTS as LOGISTIC_SHIFTS
from tinygen.ops.tanh import SHIFTS as TANH_SHIFTS

#: What each does with the sigmoid, and the shifts of scales that it takes as powers of two.
_FIELDS: Mapping[str, Mapping[str, int]] = {
    "LOGISTIC": {"bits": 9, "largest": 0x7FFF << 10, "centre": 0, "mirror": 1 << 25, "shift": 10},
    "TANH": {"bits": 8, "largest": 0xFFFF << 8, "centre": 1 << 23, "mirror": 0, "shift": 8},
}
_SHIFTS = {"LOGISTIC": LOGISTIC_SHIFTS, "TANH": TANH_SHIFTS}


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    multiplier, right = sigmoid_input(call.input(0).q.scale, _SHIFTS[call.op])
    params = {"elements": call.output.elements, "multiplier": multiplier, "right": right, **_FIELDS[call.op]}
    return (Launch((0,), (0,), {**params, "table": sigmoid_table().astype(np.uint16)}),)


KERNELS = (
    Kernel(
        op=("LOGISTIC", "TANH"),
        template="sigmoid/wide",
        launch=launch,
        overlap=elementwise,
        wide=True,
        speed=25.0,
    ),
)

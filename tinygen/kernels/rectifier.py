# SPDX-License-Identifier: Apache-2.0
"""RELU, RELU6 and RELU_N1_TO_1 of int16: a requantization between other limits. Of int8 they are tables."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.graph import Attrs
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.overlap import elementwise
from tinygen.kernels.quantize import rescaling_launch
from tinygen.ops.base import Activation, Call
from tinygen.ops.numerics import activation_range


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    return rescaling_launch(call, activation_range(Activation[call.op], call.output))


KERNELS = (
    Kernel(
        op=("RELU", "RELU6", "RELU_N1_TO_1"),
        template="quantize/integer",
        launch=launch,
        uses=("common/elements", "common/requantize"),
        overlap=elementwise,
        wide=True,
        speed=20.0,
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""SQUARED_DIFFERENCE with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.graph import Attrs
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import aligned_params, broadcast_params, fits
from tinygen.kernels.overlap import broadcast
from tinygen.ops.base import Call
from tinygen.ops.squared_difference import alignment


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    rule = alignment(call)
    multiplier, shift = rule.output
    params = {
        **broadcast_params(call),
        **aligned_params(call, rule),
        "multiplier": multiplier, "shift": shift, "output_offset": call.output.q.zero_point,
    }  # fmt: skip
    return (Launch((0, 1), (0,), params),)


KERNELS = (
    Kernel(
        op=("SQUARED_DIFFERENCE",),
        template="squared_difference/portable",
        launch=launch,
        accepts=fits,
        uses=("common/requantize", "common/rescale"),
        overlap=broadcast,
        speed=24.0,
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""PRELU with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.graph import Attrs
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import broadcast_params, fits
from tinygen.kernels.overlap import broadcast
from tinygen.ops.base import Call
from tinygen.ops.numerics import quantize_multiplier
from tinygen.ops.prelu import product_ratio
from tinygen.ops.rescaling import ratio


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    multiplier, shift = quantize_multiplier(ratio(call))
    product_multiplier, product_shift = quantize_multiplier(product_ratio(call))
    params = {
        **broadcast_params(call),
        "input_zero": call.input(0).q.zero_point,
        "alpha_zero": call.input(1).q.zero_point,
        "output_zero": call.output.q.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "product_multiplier": product_multiplier,
        "product_shift": product_shift,
    }
    return (Launch((0, 1), (0,), params),)


KERNELS = (
    Kernel(
        op=("PRELU",),
        template="prelu/portable",
        launch=launch,
        accepts=fits,
        uses=("common/requantize",),
        overlap=broadcast,
        speed=20.0,
    ),
)

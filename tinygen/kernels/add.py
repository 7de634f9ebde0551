# SPDX-License-Identifier: Apache-2.0
"""ADD and SUB with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import aligned_params, broadcast_params, fits
from tinygen.kernels.overlap import broadcast
from tinygen.ops.add import alignment
from tinygen.ops.base import Call
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.numerics import activation_range


def launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    rule = alignment(call)
    multiplier, shift = rule.output
    low, high = activation_range(call.attrs.activation, call.output)
    params = {
        **broadcast_params(call),
        **aligned_params(call, rule),
        "multiplier": multiplier, "right": -shift,
        "output_offset": call.output.q.zero_point, "low": low, "high": high,
    }  # fmt: skip
    return (Launch((0, 1), (0,), params),)


KERNELS = tuple(
    Kernel(
        op=(op,),
        template=f"{op.lower()}/{'wide' if wide else 'portable'}",
        function=f"{op.lower()}{'_wide' if wide else ''}",
        launch=launch,
        accepts=fits,
        uses=("common/requantize", "common/rescale"),
        overlap=broadcast,
        wide=wide,
        speed=45.0,
    )
    for op in ("ADD", "SUB")
    for wide in (False, True)
)

# SPDX-License-Identifier: Apache-2.0
"""ADD and SUB with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import aligned_params, broadcast_params, fits
from tinygen.kernels.overlap import broadcast
from tinygen.ops.add import alignment
from tinygen.ops.base import Call
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.numerics import activation_range


def rescaling(call: Call[ActivationAttrs]) -> dict[str, int]:
    """The fields that say how both inputs come to a common scale, and their sum to the output's."""
    rule = alignment(call)
    multiplier, shift = rule.output
    low, high = activation_range(call.attrs.activation, call.output)
    return {
        **aligned_params(call, rule),
        "multiplier": multiplier, "right": -shift,
        "output_offset": call.output.q.zero_point, "low": low, "high": high,
    }  # fmt: skip


def launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    return (Launch((0, 1), (0,), {**broadcast_params(call), **rescaling(call)}),)


def vector_accepts(call: Call[Any]) -> bool:
    """Tensors of one shape, whose sums are scaled down."""
    _, shift = alignment(call).output
    return fits(call) and call.input(0).shape == call.input(1).shape and shift <= 0


def vector_launch(call: Call[ActivationAttrs]) -> Sequence[Launch]:
    params = {"n": call.output.elements, "subtract": int(call.op == "SUB"), **rescaling(call)}
    return (Launch((0, 1), (0,), params),)


VECTORS = Kernel(
    op=("ADD", "SUB"),
    template="add/mve",
    launch=vector_launch,
    accepts=vector_accepts,
    uses=("common/requantize", "common/rescale", "common/mve"),
    requires=frozenset({"mve"}),
    overlap=broadcast,
    speed=6.0,
)
KERNELS = (
    VECTORS,
    *(
        Kernel(
            op=(op,),
            template=f"{op.lower()}/{'wide' if wide else 'portable'}",
            launch=launch,
            accepts=fits,
            uses=("common/requantize", "common/rescale"),
            overlap=broadcast,
            wide=wide,
            speed=45.0,
        )
        for op in ("ADD", "SUB")
        for wide in (False, True)
    ),
)

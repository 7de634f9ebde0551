# SPDX-License-Identifier: Apache-2.0
"""MAXIMUM and MINIMUM with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.graph import Attrs
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.broadcast import broadcast_params, fits
from tinygen.kernels.overlap import broadcast
from tinygen.ops.base import Call


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    return (Launch((0, 1), (0,), broadcast_params(call)),)


KERNELS = tuple(
    Kernel(
        op=(op,),
        template=f"{op.lower()}/{'wide' if wide else 'portable'}",
        launch=launch,
        accepts=fits,
        overlap=broadcast,
        wide=wide,
        speed=8.0,
    )
    for op in ("MAXIMUM", "MINIMUM")
    for wide in (False, True)
)

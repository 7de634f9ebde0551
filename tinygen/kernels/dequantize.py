# SPDX-License-Identifier: Apache-2.0
"""DEQUANTIZE in plain C."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.graph import Attrs
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.elements import ELEMENT
from tinygen.kernels.overlap import elementwise
from tinygen.ops.base import Call


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    source = call.input(0)
    params: dict[str, int | float] = {
        "elements": source.elements,
        "from": ELEMENT[source.dtype],
        "zero_point": source.q.zero_point,
        "scale": source.q.scale,
    }
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("DEQUANTIZE",),
        template="dequantize/portable",
        launch=launch,
        overlap=elementwise,
        uses=("common/elements",),
    ),
)

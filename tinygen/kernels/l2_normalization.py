# SPDX-License-Identifier: Apache-2.0
"""L2_NORMALIZATION in plain C."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.overlap import row_by_row
from tinygen.ops.base import Call
from tinygen.ops.l2_normalization import L2NormalizationAttrs


def launch(call: Call[L2NormalizationAttrs]) -> Sequence[Launch]:
    depth = call.output.shape[-1]
    params = {"rows": call.output.elements // depth, "depth": depth, "zero_point": call.input(0).q.zero_point}
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("L2_NORMALIZATION",),
        template="l2_normalization/portable",
        launch=launch,
        uses=("common/fixedpoint", "common/requantize"),
        overlap=row_by_row,
        speed=25.0,
    ),
)

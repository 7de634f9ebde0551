# SPDX-License-Identifier: Apache-2.0
"""RESIZE_BILINEAR in plain C."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch
from tinygen.ops.base import Call
from tinygen.ops.resize_bilinear import ResizeAttrs, step


def launch(call: Call[ResizeAttrs]) -> Sequence[Launch]:
    batch, in_h, in_w, channels = call.input(0).shape
    _, out_h, out_w, _ = call.output.shape
    vertical, horizontal = step(call, 0), step(call, 1)
    params = {
        "batch": batch, "in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w, "channels": channels,
        "y_scale": vertical.scale, "y_offset": vertical.offset,
        "x_scale": horizontal.scale, "x_offset": horizontal.offset,
    }  # fmt: skip
    return (Launch((0,), (0,), params),)


KERNELS = (
    Kernel(
        op=("RESIZE_BILINEAR",),
        template="resize_bilinear/portable",
        launch=launch,
        speed=24.0,
    ),
)

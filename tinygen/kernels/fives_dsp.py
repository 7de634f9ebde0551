# SPDX-License-Identifier: Apache-2.0
"""CONV_2D with the DSP extension, as `quads_dsp`, but with windows of five output pixels at a time.

One filter times five windows takes 16 instructions for 20 products; more windows have no room in registers. Rows of
five pixels need it: for four pixels at a time, they would be eight.
"""

from __future__ import annotations

from functools import partial

from tinygen.kernels import dsp, quads_dsp
from tinygen.kernels.base import Kernel
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

AT_ONCE = 5


def speed(call: Call[ConvAttrs]) -> float:
    """Instructions per MAC: products, outputs, and widened windows, of which those at an edge take more."""
    filters, kernel_h, *_ = call.input(1).shape
    (_, out_h, out_w, _), found = call.output.shape, dsp.windows_params(call)
    size, runs, pixels = call.input(1).elements // filters, kernel_h * found["runs"], out_h * out_w
    edge = min(1.0, 4 / found["out_w"]) if call.input(1).shape[2] > 1 else 0.0
    widened = 1.5 * size + 20 * runs + 30 + edge * (0.6 * size + 60 * runs)
    return (0.81 + 12.5 / size + widened / (size * filters)) * (-(-pixels // AT_ONCE) * AT_ONCE / pixels)


KERNEL = Kernel(
    op=("CONV_2D",),
    template="conv_2d/dsp_fives",
    function="conv_2d_dsp_fives",
    launch=partial(quads_dsp.launch, at_once=AT_ONCE),
    accepts=partial(quads_dsp.accepts, at_once=AT_ONCE),
    uses=(
        "common/requantize",
        "common/dsp",
        "common/down",
        "common/dsp_widen",
        "common/dsp_windows",
        "common/dsp_fives",
    ),
    requires=frozenset({"dsp"}),
    overlap=partial(quads_dsp.overlap, at_once=AT_ONCE),
    speed=speed,
)

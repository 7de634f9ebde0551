# SPDX-License-Identifier: Apache-2.0
"""CONV_2D with the DSP extension in half the scratch memory of `quads_dsp`: windows of two output pixels at a time.

One filter times two windows takes 8 instructions for 8 products. Large filters need it: 5x5x32 values take 6.4 KB as
four widened windows.
"""

from __future__ import annotations

from tinygen.kernels import dsp, quads_dsp
from tinygen.ops.base import Call
from tinygen.ops.convolution import ConvAttrs

AT_ONCE = 2


def speed(call: Call[ConvAttrs]) -> float:
    """Instructions per MAC: products, outputs, and widened windows."""
    filters, kernel_h, *_ = call.input(1).shape
    (_, out_h, out_w, _), found = call.output.shape, dsp.windows_params(call)
    size, runs, pixels = call.input(1).elements // filters, kernel_h * found["runs"], out_h * out_w
    widened = 1.6 * size + 45 * runs
    return (1.06 + 24 / size + widened / (size * filters)) * (-(-pixels // AT_ONCE) * AT_ONCE / pixels)


KERNEL = quads_dsp.kernel("twos", AT_ONCE, speed)

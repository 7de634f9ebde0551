# SPDX-License-Identifier: Apache-2.0
"""CONV_2D with the DSP extension, as `quads_dsp`, but with windows of five output pixels at a time.

One filter times five windows takes 16 instructions for 20 products; more windows have no room in registers. Rows of
five pixels need it: for four pixels at a time, they would be eight.
"""

from __future__ import annotations

from functools import partial

from tinygen.kernels import quads_dsp

AT_ONCE = 5
KERNEL = quads_dsp.kernel(
    "fives", AT_ONCE, partial(quads_dsp.speed, at_once=AT_ONCE, product=0.81, output=12.5, value=1.5)
)

# SPDX-License-Identifier: Apache-2.0
"""Kernels with less scratch memory than others, some of them the same C: for those who look for the least memory."""

from __future__ import annotations

from tinygen.kernels import depthwise_dsp, dsp, fives_dsp, mve_lean, quads_dsp, twos_dsp
from tinygen.kernels.base import Kernel

#: With so many bytes of widened windows, or of widened rows and weights.
LEAN = (
    dsp.kernel(256),
    *map(dsp.depthwise_kernel, (256, 1024, 2048)),
    depthwise_dsp.KERNEL,
    depthwise_dsp.PADDED,
    quads_dsp.KERNEL,
    fives_dsp.KERNEL,
    twos_dsp.KERNEL,
    *mve_lean.LEAN,
)


def lean_kernels_for(op: str) -> tuple[Kernel, ...]:
    """Every such kernel for operator `op`, on whatever core."""
    return tuple(kernel for kernel in LEAN if op in kernel.op)

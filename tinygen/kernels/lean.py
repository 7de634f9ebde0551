# SPDX-License-Identifier: Apache-2.0
"""Kernels that are the same C as others with less scratch memory: for those who look for the least memory."""

from __future__ import annotations

from tinygen.kernels import dsp
from tinygen.kernels.base import Kernel

#: Bytes of widened windows, or of widened rows and weights.
LEAN = (dsp.kernel(256), *map(dsp.depthwise_kernel, (256, 1024, 2048)))


def lean_kernels_for(op: str) -> tuple[Kernel, ...]:
    """Every such kernel for operator `op`, on whatever core."""
    return tuple(kernel for kernel in LEAN if op in kernel.op)

"""Kernels that are the same C as others with less scratch memory: for those who look for the least memory."""

from __future__ import annotations

from tinygen.kernels import dsp
from tinygen.kernels.base import Kernel

#: Bytes of widened windows, rows and weights.
SIZES = (256, 1024, 2048)

LEAN = tuple(make(size) for size in SIZES for make in (dsp.kernel, dsp.depthwise_kernel))


def lean_kernels_for(op: str) -> tuple[Kernel, ...]:
    """Every such kernel for operator `op`, on whatever core."""
    return tuple(kernel for kernel in LEAN if op in kernel.op)

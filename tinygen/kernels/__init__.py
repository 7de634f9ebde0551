# SPDX-License-Identifier: Apache-2.0
"""Kernels: how each operator is computed on a core. The registry is the package's own list of files."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from tinygen.kernels.base import Kernel, Launch

__all__ = ["Kernel", "Launch", "kernels_for"]


@cache
def _by_op() -> dict[str, tuple[Kernel, ...]]:
    found: dict[str, tuple[Kernel, ...]] = {}
    for info in pkgutil.iter_modules(__path__):
        for kernel in getattr(importlib.import_module(f"{__name__}.{info.name}"), "KERNELS", ()):
            for op in kernel.op:
                found[op] = (*found.get(op, ()), kernel)
    return found


def kernels_for(op: str) -> tuple[Kernel, ...]:
    """Every kernel that computes operator `op`, on whatever core."""
    return _by_op().get(op, ())

# SPDX-License-Identifier: Apache-2.0
"""ARG_MAX and ARG_MIN."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygen.ir.graph import Attrs
from tinygen.kernels.base import Kernel, Launch
from tinygen.ops.arg import axis
from tinygen.ops.base import Call


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    shape, at = call.input(0).shape, axis(call)
    return (
        Launch((0,), (0,), {"outer": math.prod(shape[:at]), "size": shape[at], "inner": math.prod(shape[at + 1 :])}),
    )


KERNELS = tuple(Kernel(op=(op,), template=f"{op.lower()}/portable", launch=launch) for op in ("ARG_MAX", "ARG_MIN"))

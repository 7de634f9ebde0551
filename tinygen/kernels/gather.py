# SPDX-License-Identifier: Apache-2.0
"""GATHER, by constant indices or by indices computed at run time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygen.kernels.base import Kernel, Launch
from tinygen.ops.base import Call
from tinygen.ops.gather import GatherAttrs, places


def launch(call: Call[GatherAttrs]) -> Sequence[Launch]:
    (axis, batch), shape = places(call), call.input(0).shape
    params = {
        "batches": math.prod(shape[:batch]),
        "outer": math.prod(shape[batch:axis]),
        "axis": shape[axis],
        "count": math.prod(call.input(1).shape[batch:]),
        "run": math.prod(shape[axis + 1 :]) * call.input(0).dtype.bytes,
    }
    return (Launch((0, 1), (0,), params),)


KERNELS = (Kernel(op=("GATHER",), template="gather/portable", launch=launch, wide=None, speed=4.0),)

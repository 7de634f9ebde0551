# SPDX-License-Identifier: Apache-2.0
"""PAD and PADV2: one sweep over the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.fill import fill_params
from tinygen.kernels.moves import contiguous
from tinygen.ops.base import Call
from tinygen.ops.movement import zero_of
from tinygen.ops.pad import paddings

LEVELS = 5


def levels(call: Call[Any]) -> list[tuple[int, int, int]]:
    """(elements before, count, elements after) for each padded dimension, the unpadded ones inside it counted in."""
    units = contiguous(call.output.shape)
    result = [(0, 1, 0)]
    for size, (before, after), unit in zip(call.input(0).shape, paddings(call), units, strict=True):
        if before or after:
            result.append((before * unit, size, after * unit))
        else:
            result[-1] = (result[-1][0], result[-1][1] * size, result[-1][2])
    return result[1:] if result[0] == (0, 1, 0) and len(result) > 1 else result


def launch(call: Call[Any]) -> Sequence[Launch]:
    size, found = call.output.dtype.bytes, levels(call)
    full = [(0, 1, 0)] * (LEVELS - len(found)) + found
    params: dict[str, int | float | Array] = {f"d{i}": full[i][1] for i in range(LEVELS - 1)}
    params["run"] = full[-1][1] * size
    params |= {f"b{i}": before * size for i, (before, _, _) in enumerate(full)}
    params |= {f"a{i}": after * size for i, (_, _, after) in enumerate(full)}
    value = call.constant(2) if call.op == "PADV2" else zero_of(call.output)
    return (Launch((0,), (0,), {**params, **fill_params(value)}),)


KERNELS = (
    Kernel(
        op=("PAD", "PADV2"),
        template="pad/portable",
        launch=launch,
        uses=("common/fill",),
        wide=None,
        speed=2.0,
    ),
)

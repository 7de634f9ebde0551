# SPDX-License-Identifier: Apache-2.0
"""Dense layers whose weights are numbers of values in tables, for cores that look up two of them by each byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.codebook import looked_up, used_by_groups
from tinygen.ops.base import Call

#: Values of a codebook, at most: two numbers of one fill a byte.
LEVELS = 16
#: Units at a time, which read the same table.
FOUR = 4
#: Bytes of scratch memory for two tables of int8 that have a value for each byte.
TABLES = 2 * 256
Params = dict[str, int | float | Array]


def tables(rows: Array) -> tuple[int, Array, Array] | None:
    """The most units that share a table, the tables, and the numbers; None where there are too many values."""
    for group, used in used_by_groups(rows):
        whole = group >= len(rows) or (group % FOUR == 0 and len(rows) % FOUR == 0)
        if whole and used.sum(axis=1).max() <= LEVELS:
            return group, *looked_up(rows, group, used)
    return None


def of_dense(call: Call[Any]) -> tuple[int, Array, Array]:
    """`tables` of a dense layer that has them."""
    found = tables(call.constant(1))
    assert found is not None, "only what is accepted is launched, or asked for its speed"
    return found


def in_fours(numbers: Array, step: int) -> Array:
    """`numbers` uint8 [units, depth] as [units / 4, 4, steps, step]; the last unit fills up four, zeros a step."""
    units, depth = numbers.shape
    padded = np.pad(np.pad(numbers, ((0, -units % FOUR), (0, 0)), mode="edge"), ((0, 0), (0, -depth % step)))
    return padded.reshape(len(padded) // FOUR, FOUR, -1, step).astype(np.uint8)


def dense_params(call: Call[Any], packed: Callable[[Array], Array]) -> Params:
    """The fields that all kernels have; `packed` gives the bytes of weights for numbers [units, depth]."""
    units, depth = call.input(1).shape
    group, values, numbers = of_dense(call)
    return {
        "rows": call.input(0).elements // depth,
        "depth": depth,
        "units": units,
        "group": group,
        "levels": values.shape[1],
        "weights": packed(numbers).ravel(),
        "tables": values.ravel(),
    }

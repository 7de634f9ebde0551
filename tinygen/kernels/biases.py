# SPDX-License-Identifier: Apache-2.0
"""Where kernels keep biases, and how many bits those take.

A struct of parameters has them as a field ``bias`` of int32. Each struct of `STRUCTS` can have them in fewer bits
instead, and then another field, ``bias_unit``, by which they are multiplied when they are read. Which it is holds for
all calls of a program: templates look at ``narrow.<struct>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from tinygen.ir.types import Array

#: C structs, without ``_t``, with biases that may take fewer bits.
STRUCTS = (
    "conv_2d",
    "conv_2d_v6m",
    "depthwise_conv_2d",
    "down",
    "fully_connected",
    "fully_connected_v6m",
    "fully_connected_v6m_four",
    "mve_output",
    "sparse_bitmap",
    "sparse_blocks",
    "sparse_gaps",
    "sparse_n_of_m",
    "transpose_conv",
)
#: The fields; fields of other structs that hold such a struct.
FIELD, UNIT = "bias", "bias_unit"
_MEMBERS = {"down": "down", "output": "mve_output"}


@dataclass(frozen=True)
class Narrow:
    """A type of biases as templates print it; `load` and `gather` read four of them into lanes of 32 bits.

    `instruction` reads one, of so many `bytes`, into a register.
    """

    type: str
    load: str
    gather: str
    instruction: str
    bytes: int


#: By element type of arrays, the smallest first.
TYPES = {
    "int8": Narrow("int8_t", "vldrbq_s32", "vldrbq_gather_offset_s32", "ldrsb", 1),
    "int16": Narrow("int16_t", "vldrhq_s32", "vldrhq_gather_shifted_offset_s32", "ldrsh", 2),
}


def struct_of(function: str, field: str) -> str | None:
    """The struct that has `field` (``down.bias``, ``plain.bias`` …) of the C `function`'s parameters; None if none."""
    *members, last = field.split(".")
    if last != FIELD:
        return None
    if members and members[-1] in _MEMBERS:
        return _MEMBERS[members[-1]]
    return max((s for s in STRUCTS if f"{function}_".startswith(f"{s}_")), key=len, default=None)


def unit_of(values: Array) -> int:
    """The largest number of which all `values` are multiples; 1 for zeros."""
    return reduce(np.gcd, np.abs(values.astype(np.int64)), np.int64(0)).item() or 1


def fits(values: Array, kind: str) -> bool:
    """Whether `values` are integers of the type `kind` times their unit."""
    return int(np.abs(values.astype(np.int64)).max(initial=0)) <= np.iinfo(kind).max * unit_of(values)

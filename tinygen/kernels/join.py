# SPDX-License-Identifier: Apache-2.0
"""CONCATENATION, PACK, SPLIT, SPLIT_V and UNPACK: parts of a whole along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tinygen.ir.types import TensorType
from tinygen.kernels.moves import Move, move_kernels
from tinygen.ops import concatenation, pack, split, split_v, unpack
from tinygen.ops.base import Call

#: The axis along which the parts lie.
_AXES = {
    "CONCATENATION": concatenation.axis_of,
    "PACK": pack.axis_of,
    "SPLIT": split.axis_of,
    "SPLIT_V": split_v.axis_of,
    "UNPACK": unpack.axis_of,
}


def slabs(whole: TensorType, parts: Sequence[TensorType], axis: int) -> Sequence[Move]:
    """Moves of each part into its place in `whole`: as many rows as there are indices before `axis`."""
    rows = math.prod(whole.shape[:axis])
    stride, offset, moves = whole.elements // rows, 0, []
    for part in parts:
        run = part.elements // rows
        moves.append(Move((rows, run), (run, 1), (stride, 1), out_offset=offset))
        offset += run
    return moves


def joins(call: Call[Any]) -> Sequence[Move]:
    """Every input into the output."""
    parts = [call.input(i) for i in range(len(call.inputs))]
    moves = slabs(call.output, parts, _AXES[call.op](call))
    return [replace(move, read=i) for i, move in enumerate(moves)]


def cuts(call: Call[Any]) -> Sequence[Move]:
    """Every output out of the input."""
    data = 1 if call.op == "SPLIT" else 0
    moves = slabs(call.input(data), call.outputs, _AXES[call.op](call))
    return [move.reversed(read=data, write=i) for i, move in enumerate(moves)]


KERNELS = (
    *move_kernels(("CONCATENATION", "PACK"), joins),
    *move_kernels(("SPLIT", "SPLIT_V", "UNPACK"), cuts),
)

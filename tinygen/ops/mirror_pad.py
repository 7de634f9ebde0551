# SPDX-License-Identifier: Apache-2.0
"""MIRROR_PAD: a border that mirrors the input at its edges (micro/kernels/mirror_pad.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, given
from tinygen.ops.movement import at_most_five_dimensions, constant_parameters, exact
from tinygen.ops.pad import infer, paddings
from tinygen.ops.rules import same_quant


class MirrorMode(Enum):
    """Whether the edge itself is repeated (SYMMETRIC) or not (REFLECT); the values are TFLite's."""

    REFLECT = 0
    SYMMETRIC = 1


@dataclass(frozen=True)
class MirrorPadAttrs(Attrs):
    mode: MirrorMode = MirrorMode.REFLECT


def within_the_input(call: Call[Any]) -> bool:
    """Paddings must not be negative or larger than the dimension (SYMMETRIC), or all but one of it (REFLECT)."""
    left_out = 1 if call.attrs.mode is MirrorMode.REFLECT else 0
    sides = zip(call.input(0).shape, paddings(call), strict=True)
    return all(0 <= amount <= size - left_out for size, pair in sides for amount in pair)


def mirror(call: Call[MirrorPadAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    if call.attrs.mode is MirrorMode.REFLECT:
        return (np.pad(given(inputs[0]), paddings(call), mode="reflect"),)
    return (np.pad(given(inputs[0]), paddings(call), mode="symmetric"),)


OP = Op(
    name="MIRROR_PAD",
    attrs=MirrorPadAttrs,
    infer=infer,
    real=mirror,
    reference=mirror,
    constraints=(constant_parameters, same_quant, at_most_five_dimensions, within_the_input),
    quantize=SAME,
    bound=exact,
)

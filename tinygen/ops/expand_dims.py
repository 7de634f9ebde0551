# SPDX-License-Identifier: Apache-2.0
"""EXPAND_DIMS: with a dimension of size 1 inserted (micro/kernels/expand_dims.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import constant_parameters, exact, normal_axis, scalar
from tinygen.ops.rules import same_quant


def place(call: Call[Any]) -> int:
    """Where the new dimension goes; a negative axis counts from the end of the output's."""
    return normal_axis(scalar(call, 1), len(call.input(0).shape) + 1)


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    shape, axis = call.input(0).shape, place(call)
    return (((*shape[:axis], 1, *shape[axis:]), call.input(0).dtype),)


def expand(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.expand_dims(given(inputs[0]), place(call)),)


OP = Op(
    name="EXPAND_DIMS",
    attrs=Attrs,
    infer=infer,
    real=expand,
    reference=expand,
    constraints=(constant_parameters, same_quant),
    quantize=SAME,
    bound=exact,
    view=True,
)

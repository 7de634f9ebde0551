# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE: the dimensions in another order (reference/transpose.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, Signature, given
from tinygen.ops.movement import at_most_six_dimensions, constant_parameters, exact, integers
from tinygen.ops.rules import same_quant


def permutation(call: Call[Any]) -> bool:
    """The order of dimensions must list each of them once, counted from 0."""
    return sorted(integers(call, 1)) == list(range(len(call.input(0).shape)))


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return ((tuple(call.input(0).shape[axis] for axis in integers(call, 1)), call.input(0).dtype),)


def transpose(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (given(inputs[0]).transpose(integers(call, 1)),)


OP = Op(
    name="TRANSPOSE",
    attrs=Attrs,
    infer=infer,
    real=transpose,
    reference=transpose,
    constraints=(constant_parameters, same_quant, at_most_six_dimensions, permutation),
    quantize=SAME,
    bound=exact,
)

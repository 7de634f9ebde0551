# SPDX-License-Identifier: Apache-2.0
"""Operators that are a function of one value: int8 by a table in float64, correctly rounded; float32 folds away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Constraint, Op, given
from tinygen.ops.numerics import clamp, look_up, round_half_away
from tinygen.ops.rules import always_pointwise, int8_or_float32, same_as_input

A = TypeVar("A", bound=Attrs)

#: What an operator computes: float64 values in, the same shape out.
Function = Callable[[Call[Any], Real], Real]


def pointwise_op(
    name: str,
    function: Function,
    attrs: type[A] = Attrs,  # type: ignore[assignment]  # a type variable's default
    constraints: tuple[Constraint, ...] = (),
    pointwise: Callable[[Call[A]], bool] = always_pointwise,
) -> Op[A]:
    """The operator that computes `function` of its first input.

    The int8 output for each of the 256 inputs is the function's value in output steps, rounded half away from zero and
    clamped. Values that are not numbers (the logarithm of -1) give the zero point.
    """

    def evaluated(call: Call[A], x: Real) -> Real:
        with np.errstate(all="ignore"):
            return function(call, x)

    def real(call: Call[A], inputs: Sequence[Real | None]) -> Sequence[Real]:
        return (evaluated(call, given(inputs[0])),)

    def reference(call: Call[A], inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = given(inputs[0])
        if x.dtype == np.float32:
            return (evaluated(call, x.astype(np.float64)).astype(np.float32),)
        source, target = call.input(0).q, call.output.q
        values = (np.arange(-128, 128, dtype=np.float64) - source.zero_point) * source.scale
        with np.errstate(all="ignore"):
            steps = round_half_away(evaluated(call, values) / target.scale)
        table = clamp(np.nan_to_num(steps, nan=0.0) + target.zero_point, call.output)
        return (look_up(table, x),)

    return Op(
        name=name,
        attrs=attrs,
        infer=same_as_input,
        real=real,
        reference=reference,
        constraints=(int8_or_float32, *constraints),
        pointwise=pointwise,
    )

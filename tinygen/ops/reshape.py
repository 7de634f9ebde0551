# SPDX-License-Identifier: Apache-2.0
"""RESHAPE: the same bytes under another shape (micro/kernels/reshape.cc).

The output's shape is the declared one, as in TFLM, which ignores both the shape input and the option `new_shape`. Here
a constant shape input must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops.base import SAME, Call, Op, given
from tinygen.ops.movement import declared_shape, exact, integers
from tinygen.ops.rules import same_dtype, same_quant


def same_elements(call: Call[Any]) -> bool:
    """Input and output must have the same number of elements."""
    return call.input(0).elements == call.output.elements


def shape_agrees(call: Call[Any]) -> bool:
    """A constant shape must be the output's shape, where one dimension may be -1 (whatever is left)."""
    if len(call.constants) < 2 or call.constants[1] is None:
        return True
    wanted = integers(call, 1)
    return (
        len(wanted) == len(call.output.shape)
        and wanted.count(-1) <= 1
        and all(w in (-1, n) for w, n in zip(wanted, call.output.shape, strict=True))
    )


def reshape(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (given(inputs[0]).reshape(call.output.shape),)


OP = Op(
    name="RESHAPE",
    attrs=Attrs,
    infer=declared_shape,
    real=reshape,
    reference=reshape,
    constraints=(same_elements, same_dtype, same_quant, shape_agrees),
    quantize=SAME,
    bound=exact,
    view=True,
)

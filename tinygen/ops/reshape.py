"""RESHAPE: the same bytes under another shape. The output's shape is the declared one; input 1 (shape) must agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.rules import same_dtype, same_quant


def same_elements(call: Call[Any]) -> bool:
    """Input and output must have the same number of elements."""
    return call.input(0).elements == call.output.elements


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return ((call.output.shape, call.input(0).dtype),)


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (given(inputs[0]).reshape(call.output.shape),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (given(inputs[0]).reshape(call.output.shape),)


OP = Op(
    name="RESHAPE",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(same_elements, same_dtype, same_quant),
    view=True,
)

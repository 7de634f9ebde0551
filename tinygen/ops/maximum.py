"""MAXIMUM: the larger of two tensors, element by element, with broadcasting (reference/maximum_minimum.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.rules import int8_pair
from tinygen.ops.shapes import broadcast_shape, broadcastable


def one_quant(call: Call[Any]) -> bool:
    """Both inputs and the output must have the same scale and zero point."""
    return call.input(0).quant == call.input(1).quant == call.output.quant


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return ((broadcast_shape(call.input(0).shape, call.input(1).shape) or (), call.input(0).dtype),)


def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.maximum(given(inputs[0]), given(inputs[1])),)


def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.maximum(given(inputs[0]), given(inputs[1])),)


OP = Op(
    name="MAXIMUM",
    attrs=Attrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(int8_pair, one_quant, broadcastable),
)

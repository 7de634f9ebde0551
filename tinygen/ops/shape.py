# SPDX-License-Identifier: Apache-2.0
"""SHAPE: the input's dimensions, which are known when the model is compiled (micro/kernels/shape.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType
from tinygen.ops.base import Call, Op, Signature
from tinygen.ops.movement import exact


def integer_output(call: Call[Any]) -> bool:
    """The output must be int32 or int64."""
    return call.output.dtype in (DType.INT32, DType.INT64)


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    return (((len(call.input(0).shape),), call.output.dtype),)


def shape(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.array(call.input(0).shape, call.output.dtype.numpy),)


OP = Op(name="SHAPE", attrs=Attrs, infer=infer, real=shape, reference=shape, constraints=(integer_output,), bound=exact)

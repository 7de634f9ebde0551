# SPDX-License-Identifier: Apache-2.0
"""What ARG_MAX and ARG_MIN share: the index of the first extreme element along one constant axis (arg_min_max.h)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Real
from tinygen.ops.base import Call, Op, Signature, given
from tinygen.ops.binary import exact


def int8_input(call: Call[Any]) -> bool:
    """The input must be int8."""
    return call.input(0).dtype is DType.INT8


def int32_output(call: Call[Any]) -> bool:
    """The output must be int32 (an output_type of int64 is not supported, nor is it by TFLM)."""
    return call.output.dtype is DType.INT32


def constant_axis(call: Call[Any]) -> bool:
    """The axis must be one int32 constant between -rank and rank - 1."""
    if not call.has(1) or call.constants[1] is None or call.input(1).dtype is not DType.INT32:
        return False
    rank, value = len(call.input(0).shape), call.constant(1).ravel()
    return len(value) == 1 and bool(-rank <= value[0] < rank)


def axis(call: Call[Any]) -> int:
    """The axis, counted from the first dimension."""
    return int(call.constant(1).ravel()[0]) % len(call.input(0).shape)


def infer(call: Call[Attrs]) -> Sequence[Signature]:
    shape = call.input(0).shape
    return ((shape[: axis(call)] + shape[axis(call) + 1 :], DType.INT32),)


def arg_op(name: str, find: Callable[..., Any]) -> Op[Attrs]:
    """The operator that applies `find` (np.argmax, np.argmin: the first of equals), to integers and reals alike."""

    def real(call: Call[Attrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
        return (np.asarray(find(given(inputs[0]), axis=axis(call)), dtype=np.float64),)

    def reference(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
        return (np.asarray(find(given(inputs[0]), axis=axis(call)), dtype=np.int32),)

    return Op(
        name=name,
        attrs=Attrs,
        infer=infer,
        real=real,
        reference=reference,
        constraints=(int8_input, int32_output, constant_axis),
        bound=exact,
    )

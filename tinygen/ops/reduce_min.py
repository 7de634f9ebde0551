# SPDX-License-Identifier: Apache-2.0
"""REDUCE_MIN: the smallest element along axes (micro/kernels/reduce_common.cc)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.types import Array, Real
from tinygen.ops.base import SAME, Call, Op, given
from tinygen.ops.binary import exact
from tinygen.ops.reduction import ReducerAttrs, axes, constant_axes, infer
from tinygen.ops.rules import int8_in_out, same_quant


def real(call: Call[ReducerAttrs], inputs: Sequence[Real | None]) -> Sequence[Real]:
    return (np.min(given(inputs[0]), axis=axes(call), keepdims=call.attrs.keep_dims),)


def reference(call: Call[ReducerAttrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.min(given(inputs[0]), axis=axes(call), keepdims=call.attrs.keep_dims),)


OP = Op(
    name="REDUCE_MIN",
    attrs=ReducerAttrs,
    infer=infer,
    real=real,
    reference=reference,
    constraints=(constant_axes, int8_in_out, same_quant),
    quantize=SAME,
    bound=exact,
)

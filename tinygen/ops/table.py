# SPDX-License-Identifier: Apache-2.0
"""Nodes that are functions of one int8 value, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType
from tinygen.ops import all_ops
from tinygen.ops.base import Call


def variable_inputs(call: Call[Any]) -> list[int]:
    """The indices of the inputs that are computed at run time."""
    return [i for i, t in enumerate(call.inputs) if t is not None and call.constants[i] is None]


def is_table(call: Call[Any]) -> bool:
    """Whether the node is a function of one int8 value to another."""
    variables = variable_inputs(call)
    return (
        len(variables) == 1
        and len(call.outputs) == 1
        and all_ops()[call.op].pointwise(call)
        and call.input(variables[0]).dtype is call.output.dtype is DType.INT8
    )


def table_of(call: Call[Any]) -> Array | None:
    """The operator's int8 answer for each int8 value, -128 first, shape [256]; None if it is no such function.

    Constant operands stay as they are.
    """
    return applied(call, np.arange(-128, 128).astype(np.int8)) if is_table(call) else None


def applied(call: Call[Any], values: Array) -> Array:
    """What a function of one element answers for each of `values`, shape [N], whatever the shapes of its tensors.

    Constant operands stay as they are.
    """
    (index,) = variable_inputs(call)
    inputs, types = list(call.constants), list(call.inputs)
    inputs[index] = values
    types[index] = replace(call.input(index), shape=values.shape)
    wide = replace(call, inputs=tuple(types), outputs=(replace(call.output, shape=values.shape),))
    return all_ops()[call.op].reference(wide, inputs)[0].reshape(values.shape)

"""Nodes that are functions of one int8 value, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.ops import all_ops
from tinygen.ops.base import Call


def variable_inputs(call: Call[Any]) -> list[int]:
    """The indices of the inputs that are computed at run time."""
    return [i for i, t in enumerate(call.inputs) if t is not None and call.constants[i] is None]


def table_of(call: Call[Any]) -> Array | None:
    """The operator's int8 answer for each int8 value, -128 first, shape [256]; None if it is no such function.

    Constant operands stay as they are.
    """
    op, variables = all_ops()[call.op], variable_inputs(call)
    if len(variables) != 1 or len(call.outputs) != 1 or not op.pointwise(call):
        return None
    (index,) = variables
    inputs, types = list(call.constants), list(call.inputs)
    inputs[index] = np.arange(-128, 128).astype(np.int8)
    types[index] = replace(call.input(index), shape=(256,))
    wide = replace(call, inputs=tuple(types), outputs=(replace(call.output, shape=(256,)),))
    return op.reference(wide, inputs)[0].reshape(256)

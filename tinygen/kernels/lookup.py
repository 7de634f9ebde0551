"""Every operator that maps one int8 value to another, as a 256-byte table made by its own reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array
from tinygen.kernels.base import Kernel, Launch
from tinygen.ops import all_ops
from tinygen.ops.base import Call


def is_pointwise(call: Call[Any]) -> bool:
    return all_ops()[call.op].pointwise(call)


def table_of(call: Call[Any]) -> Array:
    """The operator's answer for each int8 value, -128 first, shape [256]; constant operands stay as they are."""
    variable = [i for i, value in enumerate(call.constants) if value is None and call.inputs[i] is not None]
    every = np.arange(-128, 128).astype(np.int8)
    inputs, types = list(call.constants), list(call.inputs)
    for index in variable:
        inputs[index], types[index] = every, replace(call.input(index), shape=(256,))
    wide = replace(call, inputs=tuple(types), outputs=(replace(call.output, shape=(256,)),))
    return all_ops()[call.op].reference(wide, inputs)[0].reshape(256)


def launch(call: Call[Any]) -> Sequence[Launch]:
    index = next(i for i, value in enumerate(call.constants) if value is None and call.inputs[i] is not None)
    return (Launch((index,), (0,), {"elements": call.output.elements, "table": table_of(call)}),)


def in_place(call: Call[Any]) -> tuple[int, ...]:
    return tuple(i for i, value in enumerate(call.constants) if value is None)[:1]


KERNELS = (
    Kernel(
        op=tuple(all_ops()),
        template="lookup/table",
        function="lookup",
        launch=launch,
        accepts=is_pointwise,
        in_place=in_place,
        speed=4.0,
    ),
)

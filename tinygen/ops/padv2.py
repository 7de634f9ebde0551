# SPDX-License-Identifier: Apache-2.0
"""PADV2: a border of a given value (input 2) (reference/pad.h)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array
from tinygen.ops import pad
from tinygen.ops.base import Call, given


def one_value(call: Call[Any]) -> bool:
    """The value must be a single element of the input's element type, scale and zero point."""
    data, value = call.input(0), call.input(2)
    return value.elements == 1 and (value.dtype, value.quant) == (data.dtype, data.quant)


def border(call: Call[Attrs], inputs: Sequence[Array | None]) -> Sequence[Array]:
    return (np.pad(given(inputs[0]), pad.paddings(call), constant_values=given(inputs[2]).reshape(())),)


OP = replace(pad.OP, name="PADV2", real=border, reference=border, constraints=(*pad.OP.constraints, one_value))

# SPDX-License-Identifier: Apache-2.0
"""CAST: between integers, from float, to float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.graph import Attrs
from tinygen.ir.types import DType
from tinygen.kernels.base import Kernel, Launch
from tinygen.kernels.elements import ELEMENT
from tinygen.kernels.overlap import elementwise
from tinygen.ops.base import Call


def from_float(call: Call[Any]) -> bool:
    return call.input(0).dtype is DType.FLOAT32


def to_float(call: Call[Any]) -> bool:
    return call.output.dtype is DType.FLOAT32


def between_integers(call: Call[Any]) -> bool:
    return DType.FLOAT32 not in (call.input(0).dtype, call.output.dtype)


def launch(call: Call[Attrs]) -> Sequence[Launch]:
    """Elements, and the numbers of those types that are integers."""
    params = {"elements": call.output.elements}
    if call.input(0).dtype in ELEMENT:
        params["from"] = ELEMENT[call.input(0).dtype]
    if call.output.dtype in ELEMENT:
        params["to"] = ELEMENT[call.output.dtype]
    return (Launch((0,), (0,), params),)


_ELEMENTS = ("common/elements",)

KERNELS = (
    Kernel(("CAST",), "cast/integer", launch, between_integers, _ELEMENTS, wide=None, overlap=elementwise),
    Kernel(("CAST",), "cast/from_float", launch, from_float, _ELEMENTS, wide=None, overlap=elementwise),
    Kernel(("CAST",), "cast/to_float", launch, to_float, _ELEMENTS, wide=None, overlap=elementwise),
)

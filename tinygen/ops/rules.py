# SPDX-License-Identifier: Apache-2.0
"""Constraints and signatures that many operators share. Each constraint's docstring is what the user reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir.types import DType, TensorType
from tinygen.ops.base import Call, Signature


def int8_in_out(call: Call[Any]) -> bool:
    """Input and output must be int8 with per-tensor scale and zero point."""
    return all(t is not None and t.dtype is DType.INT8 and per_tensor(t) for t in (call.inputs[0], *call.outputs))


def integer_in_out(call: Call[Any]) -> bool:
    """Input and output must be int8 with per-tensor scale and zero point, or int16 with zero point 0."""
    return int8_in_out(call) or all(centred_int16(t) for t in (call.inputs[0], *call.outputs))


def centred_int16(tensor: TensorType | None) -> bool:
    """Whether `tensor` is int16 with one scale and zero point 0."""
    return tensor is not None and tensor.dtype is DType.INT16 and per_tensor(tensor) and tensor.q.zero_point == 0


def int8_or_float32(call: Call[Any]) -> bool:
    """Input and output must be int8 with per-tensor scale and zero point (or float32, between int8 tensors)."""
    floats = all(t is not None and t.dtype is DType.FLOAT32 for t in (call.inputs[0], *call.outputs))
    return floats or int8_in_out(call)


def int8_pair(call: Call[Any]) -> bool:
    """Both inputs and the output must be int8 with per-tensor scale and zero point."""
    tensors = (*call.inputs[:2], *call.outputs)
    return len(tensors) == 3 and all(t is not None and t.dtype is DType.INT8 and per_tensor(t) for t in tensors)


def per_tensor(tensor: Any) -> bool:
    return tensor.quant is not None and len(tensor.quant.scales) == 1


def same_quant(call: Call[Any]) -> bool:
    """Input and output must have the same scale and zero point (TFLite copies the values as they are)."""
    return all(t.quant == call.input(0).quant for t in call.outputs)


def same_dtype(call: Call[Any]) -> bool:
    """Input and output must have the same element type."""
    return all(t.dtype is call.input(0).dtype for t in call.outputs)


def same_as_input(call: Call[Any]) -> Sequence[Signature]:
    """`infer` of operators whose output has the shape and type of input 0."""
    return ((call.input(0).shape, call.input(0).dtype),)


def always_pointwise(call: Call[Any]) -> bool:
    """`pointwise` of operators that compute each element of the output from the same element of the input."""
    return True

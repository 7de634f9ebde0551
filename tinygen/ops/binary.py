# SPDX-License-Identifier: Apache-2.0
"""What operators of two broadcast inputs share: element types, shapes, and inputs brought to one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType
from tinygen.ops.base import Activation, Call, Signature
from tinygen.ops.numerics import multiply_by_quantized_multiplier
from tinygen.ops.rules import centred_int16, per_tensor
from tinygen.ops.shapes import broadcast_shape
from tinygen.ops.wide import LIMIT_NOISE as WIDE_LIMIT_NOISE
from tinygen.ops.wide import is_wide

#: How far a fused activation's limit may lie from its real value, in steps: rounded in float32 (see `quantize_scalar`).
LIMIT_NOISE = 2e-5


def limit_noise(call: Call[Any]) -> float:
    """`LIMIT_NOISE`, or that of int16."""
    return WIDE_LIMIT_NOISE if is_wide(call) else LIMIT_NOISE


@dataclass(frozen=True)
class ActivationAttrs(Attrs):
    """Attributes of an operator whose only option is its fused activation."""

    activation: Activation = Activation.NONE


def two_inputs(call: Call[Any]) -> bool:
    """There must be two inputs and one output."""
    return len(call.inputs) == 2 and call.has(0) and call.has(1) and len(call.outputs) == 1


def integers_or_plain_int32(call: Call[Any]) -> bool:
    """Both inputs and the output must be int8 with per-tensor scale and zero point, int16 with zero point 0, or int32
    without quantization (shape arithmetic, which has to fold into constants)."""
    tensors = (call.input(0), call.input(1), call.output)
    return all(centred_int16(t) for t in tensors) or int8_or_plain_int32(call)


def int8_or_plain_int32(call: Call[Any]) -> bool:
    """Both inputs and the output must be int8 with per-tensor scale and zero point, or int32 without quantization
    (shape arithmetic, which has to fold into constants)."""
    tensors = (call.input(0), call.input(1), call.output)
    quantized = all(t.dtype is DType.INT8 and per_tensor(t) for t in tensors)
    return quantized or all(t.dtype is DType.INT32 and t.quant is None for t in tensors)


def no_int32_activation(call: Call[Any]) -> bool:
    """An int32 operator must not have a fused activation (TFLM disregards it)."""
    return call.output.dtype is not DType.INT32 or call.attrs.activation is Activation.NONE


def one_quant(call: Call[Any]) -> bool:
    """Both inputs and the output must have the same scale and zero point (TFLite compares the integers as they are)."""
    return call.input(0).quant == call.input(1).quant == call.output.quant


def exact(call: Call[Any]) -> float:
    """`bound` of operators that only select among their inputs; room for float64 noise."""
    return 1e-6


def infer(call: Call[Any]) -> Sequence[Signature]:
    """The broadcast shape, which a constraint has shown to exist, of the first input's element type."""
    return ((broadcast_shape(call.input(0).shape, call.input(1).shape) or (), call.input(0).dtype),)


def pointwise(call: Call[Any]) -> bool:
    """Whether one int8 operand is a constant of a single element, so that the node is a table of the other operand."""
    (variable, other), constants = (call.input(0), call.input(1)), call.constants
    if constants[0] is not None:
        (variable, other), constants = (other, variable), constants[::-1]
    if variable.dtype is not DType.INT8 or constants[0] is not None or constants[1] is None:
        return False
    return other.elements == 1 and variable.elements == call.output.elements


@dataclass(frozen=True)
class Alignment:
    """How both inputs come to one scale, twice the larger input scale over 2^left_shift, and leave it for the output's.

    `a`, `b` and `output` are (multiplier, shift) of `quantize_multiplier`.
    """

    left_shift: int
    a: tuple[int, int]
    b: tuple[int, int]
    output: tuple[int, int]

    def aligned(self, call: Call[Any], inputs: Sequence[Array]) -> tuple[Array, Array]:
        """Both inputs as int64 arrays in the common scale."""
        x, y = (self._aligned(value, call.input(i).q.zero_point, (self.a, self.b)[i]) for i, value in enumerate(inputs))
        return x, y

    def _aligned(self, values: Array, zero_point: int, pair: tuple[int, int]) -> Array:
        """`values` in the common scale; of int8 there are only 256."""
        known = np.arange(-128, 128) if values.dtype == np.int8 else values.astype(np.int64)
        found = multiply_by_quantized_multiplier((known - zero_point) << self.left_shift, *pair)
        return found[values.astype(np.intp) + 128] if values.dtype == np.int8 else found

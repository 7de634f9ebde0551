# SPDX-License-Identifier: Apache-2.0
"""A float node as the int8 node it would become, before anything is known of its values.

The scales are supposed: any will do to ask whether an operator can be compiled with these shapes and attributes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops.base import Call, Fixed, Op

#: A scale that no operator finds too small or too large, next to itself.
SCALE = 1 / 16


def is_float(call: Call[Any]) -> bool:
    """Whether any tensor of the node is float32."""
    return any(t is not None and t.dtype is DType.FLOAT32 for t in (*call.inputs, *call.outputs))


def as_int8(op: Op[Any], call: Call[Any]) -> Call[Any]:
    """`call` with int8 in place of float32; float constants are zeros."""
    rule, result = op.quantize, Quant.per_tensor(SCALE, 0)
    if isinstance(rule.output, Fixed):
        result = Quant.per_tensor(rule.output.scale, rule.output.zero_point)
    inputs, constants = list(call.inputs), list(call.constants)
    for index, (tensor, value) in enumerate(zip(call.inputs, call.constants, strict=True)):
        if tensor is None or tensor.dtype is not DType.FLOAT32:
            continue
        inputs[index] = known = _input(op, index, tensor, value)
        if value is not None:
            constants[index] = np.broadcast_to(known.dtype.numpy.type(0), tensor.shape)
    outputs = tuple(replace(t, dtype=DType.INT8, quant=result) if t.dtype is DType.FLOAT32 else t for t in call.outputs)
    return replace(call, inputs=tuple(inputs), outputs=outputs, constants=tuple(constants))


def _input(op: Op[Any], index: int, tensor: TensorType, value: Array | None) -> TensorType:
    rule = op.quantize
    if value is None:
        return replace(tensor, dtype=DType.INT8, quant=Quant.per_tensor(SCALE, 0))
    if index == rule.bias:
        return replace(tensor, dtype=DType.INT32, quant=None)
    if index == rule.weights and tensor.shape:
        channels = tensor.shape[rule.channel % len(tensor.shape)]
        return replace(tensor, dtype=DType.INT8, quant=Quant((SCALE,) * channels, (0,) * channels, rule.channel))
    return replace(tensor, dtype=DType.INT8, quant=Quant.per_tensor(SCALE, 0))

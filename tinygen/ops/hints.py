# SPDX-License-Identifier: Apache-2.0
"""What to do about a node of another element type than int8: a model in float32 has that problem in every node."""

from __future__ import annotations

from typing import Any

from tinygen.ir.types import DType
from tinygen.ops.base import Call

_FULL = "convert it again with full-integer (int8) post-training quantization"
_HINTS = {
    DType.FLOAT32: f"A float layer inside a quantized model is not supported: {_FULL}",
    DType.UINT8: f"The uint8 quantization of before 2020 is not supported: {_FULL}",
    DType.INT16: f"Not every operator takes int16 activations (16x8; see docs/operators.md): {_FULL}",
}


def type_hint(call: Call[Any]) -> str:
    """Advice for a refused node whose run-time tensors are all float32, uint8 or int16; empty for others."""
    pairs = zip(call.inputs, call.constants, strict=True)
    types = {t.dtype for t in (*(t for t, value in pairs if t and value is None), *call.outputs)}
    if len(types) != 1:
        return ""
    (kind,) = types
    return _HINTS.get(kind, "")

# SPDX-License-Identifier: Apache-2.0
"""How tensors look while training: [samples, elements] in float32, in whole steps from the zero point.

Sums of products of such integers are exact in float32 (below 2^24), so that the forward pass gives the integers of the
reference but where real numbers lie next to a half. Floats mean themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tinygen.errors import UnsupportedError
from tinygen.ir.types import Array, DType, TensorType
from tinygen.train.layers import rounded


def is_float(tensor: TensorType) -> bool:
    return tensor.dtype is DType.FLOAT32


def check(name: str, tensor: TensorType) -> None:
    """Raise `UnsupportedError` unless `tensor` is int8 with one scale, or float32."""
    quantized = tensor.dtype is DType.INT8 and tensor.quant is not None and len(tensor.quant.scales) == 1
    if not quantized and not is_float(tensor):
        raise UnsupportedError(f"training knows tensors of int8 and float32, and '{name}' is {tensor}")


def steps_of(tensor: TensorType, values: Array) -> Any:
    """Stored `values` in steps from the zero point, float32."""
    return (values.astype(np.float32) - (0 if is_float(tensor) else tensor.q.zero_point)).astype(np.float32)


def real(tensor: TensorType, steps: Any) -> Any:
    """The real numbers that `steps` mean."""
    return steps if is_float(tensor) else steps * np.float32(tensor.q.scale)


def settled(tensor: TensorType, value: Any, limits: tuple[float, float]) -> Any:
    """Real numbers `value` as `tensor` holds them: clipped to real `limits`, and if they are integers, rounded."""
    if not is_float(tensor):
        return rounded_steps(tensor, value / np.float32(tensor.q.scale), limits)
    return value if limits == (-np.inf, np.inf) else tf.clip_by_value(value, *limits)


def rounded_steps(tensor: TensorType, steps: Any, limits: tuple[float, float]) -> Any:
    """`steps` of int8 `tensor`, clipped to real `limits` and rounded."""
    low, high = tensor.dtype.limits
    low = max(low, _step(limits[0], tensor)) if limits[0] > -np.inf else low
    high = min(high, _step(limits[1], tensor)) if limits[1] < np.inf else high
    zero = tensor.q.zero_point
    return rounded(tf.clip_by_value(steps, float(low - zero), float(high - zero)))


def _step(limit: float, tensor: TensorType) -> int:
    return int(np.floor(abs(limit) / tensor.q.scale + 0.5) * np.sign(limit)) + tensor.q.zero_point


def shaped(value: Any, shape: tuple[int, ...]) -> Any:
    """[samples, elements] as [samples * shape[0], *shape[1:]]."""
    return tf.reshape(value, [-1, *shape[1:]])


def flat(value: Any, tensor: TensorType) -> Any:
    """Back to [samples, elements]."""
    return tf.reshape(value, [-1, tensor.elements])

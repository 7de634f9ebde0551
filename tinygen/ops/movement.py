# SPDX-License-Identifier: Apache-2.0
"""What operators share that only move values: they compute nothing, so one rule serves integers and real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.types import Array, TensorType
from tinygen.ops.base import Call, Signature

#: More parameters (axes, paddings, sizes) than any node has.
MAX_PARAMETERS = 1000


def constant_parameters(call: Call[Any]) -> bool:
    """All inputs after the first (shape, axes, paddings, sizes) must be constants."""
    return all(value is not None for value in call.constants[1:])


def at_most_five_dimensions(call: Call[Any]) -> bool:
    """The input must have at most 5 dimensions."""
    return len(call.input(0).shape) <= 5


def at_most_six_dimensions(call: Call[Any]) -> bool:
    """The input must have at most 6 dimensions."""
    return len(call.input(0).shape) <= 6


def four_dimensions(call: Call[Any]) -> bool:
    """The input must have 4 dimensions (NHWC)."""
    return len(call.input(0).shape) == 4


def not_per_channel(call: Call[Any]) -> bool:
    """The input must not be quantized per channel."""
    quant = call.input(0).quant
    return quant is None or len(quant.scales) == 1


def alike(call: Call[Any]) -> bool:
    """All inputs and outputs must have the same element type, scale and zero point (values are moved as they are)."""
    tensors = (*(call.input(i) for i in range(len(call.inputs))), *call.outputs)
    return len({(t.dtype, t.quant) for t in tensors}) == 1


def exact(call: Call[Any]) -> float:
    """`bound` of operators that only move values: nothing but the noise of float64."""
    return 1e-6


def integers(call: Call[Any], index: int) -> tuple[int, ...]:
    """The values of constant input `index` (axes, sizes …), flat; raises `ValueError` unless they are integers."""
    value = call.constant(index)
    if value.dtype.kind != "i" or value.size > MAX_PARAMETERS:
        raise ValueError(f"input {index} must be a few int32 or int64 values, not {call.input(index)}")
    return tuple(int(v) for v in value.ravel())


def pairs(call: Call[Any], index: int, count: int) -> tuple[tuple[int, int], ...]:
    """Constant input `index`, shape [count, 2], as (before, after) pairs; raises `ValueError` for another shape."""
    if call.input(index).shape != (count, 2):
        raise ValueError(f"input {index} must have shape [{count}, 2], not {list(call.input(index).shape)}")
    flat = integers(call, index)
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def scalar(call: Call[Any], index: int) -> int:
    """The only value of constant input `index`."""
    (value,) = integers(call, index)
    return value


def normal_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front; raises `ValueError` if there is no such axis."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} does not exist among {rank} dimensions")
    return axis % rank


def required(values: Sequence[Array | None]) -> list[Array]:
    """`values`, none of which may be absent."""
    present = [value for value in values if value is not None]
    if len(present) != len(values):
        raise ValueError("a required input is absent")
    return present


def declared_shape(call: Call[Any]) -> Sequence[Signature]:
    """`infer` of operators whose constraints have compared the declared output shape with the inputs."""
    return ((call.output.shape, call.input(0).dtype),)


def zero_of(tensor: TensorType) -> Array:
    """The element of `tensor` that stands for 0, as an array without dimensions."""
    return np.array(tensor.quant.zero_point if tensor.quant else 0, tensor.dtype.numpy)

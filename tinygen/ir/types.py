# SPDX-License-Identifier: Apache-2.0
"""Tensor types: shape, element type and quantization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

#: Any numpy array; element types are checked against `TensorType`, not by the type checker.
Array = npt.NDArray[Any]
#: Real values: what a tensor means, before quantization. Always float64.
Real = npt.NDArray[np.float64]


class DType(Enum):
    """Element types of tensors, named as numpy names them."""

    BOOL = "bool"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.value)

    @property
    def bytes(self) -> int:
        return self.numpy.itemsize

    @property
    def c(self) -> str:
        """The C99 type that holds one element."""
        return {"bool": "uint8_t", "float32": "float"}.get(self.value, f"{self.value}_t")

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type."""
        info = np.iinfo(self.numpy)
        return int(info.min), int(info.max)

    @classmethod
    def of(cls, array: Array) -> DType:
        return cls(array.dtype.name)


@dataclass(frozen=True)
class Quant:
    """Affine quantization: real = scale * (q - zero_point), per tensor or along `axis`.

    Scales are float32 values (held as Python floats); zero points are integers. One entry each when `axis` is None.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        if not self.scales or len(self.scales) != len(self.zero_points):
            raise ValueError("quantization needs as many zero points as scales, and at least one")
        if self.axis is None and len(self.scales) != 1:
            raise ValueError("quantization with several scales needs an axis")

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int) -> Quant:
        return cls((float(np.float32(scale)),), (int(zero_point),))

    @property
    def scale(self) -> float:
        """The one scale of a per-tensor quantization."""
        if len(self.scales) != 1:
            raise ValueError("this quantization is per channel and has no single scale")
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        if len(set(self.zero_points)) != 1:
            raise ValueError("this quantization has no single zero point")
        return self.zero_points[0]

    def along(self, rank: int, values: Sequence[float]) -> Real:
        """`values` (scales or zero points) shaped so that they broadcast against a tensor of `rank` dimensions."""
        if self.axis is None or len(values) == 1:
            return np.asarray(values[0], dtype=np.float64)
        return np.asarray(values, dtype=np.float64).reshape([-1 if i == self.axis else 1 for i in range(rank)])


@dataclass(frozen=True)
class TensorType:
    """Shape (NHWC where spatial), element type and quantization (None: the integers or floats mean themselves).

    A float32 constant out of a quantized model may have a quantization: its values are real numbers, multiples of those
    scales, and it says which integers they were.
    """

    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.bytes

    @property
    def q(self) -> Quant:
        """The quantization, which must be there."""
        if self.quant is None:
            raise ValueError(f"{self} has no quantization")
        return self.quant

    def dequantize(self, values: Array) -> Real:
        """The real numbers (float64, same shape) that `values` stand for."""
        wide = values.astype(np.float64)
        if self.quant is None or self.dtype is DType.FLOAT32:
            return wide
        scale = self.quant.along(values.ndim, self.quant.scales)
        zero = self.quant.along(values.ndim, self.quant.zero_points)
        return np.asarray((wide - zero) * scale, dtype=np.float64)

    def __str__(self) -> str:
        return f"{self.dtype.value}[{','.join(map(str, self.shape))}]"

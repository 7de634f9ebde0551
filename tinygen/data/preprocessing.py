# SPDX-License-Identifier: Apache-2.0
"""Bringing samples to the shape, element type and units that a model's input has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tinygen.errors import UsageError
from tinygen.ir.types import Array, DType, TensorType

Layout = Literal["nhwc", "nchw"]


@dataclass(frozen=True)
class Preprocessing:
    """What is done to samples as they are read: (value - mean) * scale, then channels moved to the model's place.

    `mean` and `scale` are one number, or one for each channel. `layout` is what samples are turned into: ``nchw`` takes
    them with their channels last, ``nhwc`` with their channels first; None leaves arrays as they are, and turns
    pictures where the model's input has their channels first.
    """

    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in get_args(Layout):
            raise UsageError(f"layout '{self.layout}': expected {' or '.join(get_args(Layout))}")
        if not self.mean or not self.scale or not np.all(np.isfinite((*self.mean, *self.scale))):
            raise UsageError("mean and scale: expected one finite number, or one for each channel")
        if not all(self.scale):
            raise UsageError("scale: expected what the data is multiplied with, such as 0.0039, got 0")

    def options(self) -> dict[str, str | None]:
        """The options of the command line that say the same; None where they need not be given."""
        mean, scale = (",".join(f"{value:.9g}" for value in values) for values in (self.mean, self.scale))
        plain = Preprocessing()
        return {
            "--mean": None if self.mean == plain.mean else mean,
            "--scale": None if self.scale == plain.scale else scale,
            "--layout": self.layout,
        }

    @property
    def changes_values(self) -> bool:
        return any(self.mean) or any(s != 1.0 for s in self.scale)


def _turned(shape: tuple[int, ...], layout: Layout | None) -> tuple[int, ...]:
    """The axes of a stack of samples of `shape` in the order that `layout` asks for."""
    axes = tuple(range(len(shape) + 1))
    if layout is None or len(shape) < 3:
        return axes
    *front, a, b, c = axes
    return (*front, c, a, b) if layout == "nchw" else (*front, b, c, a)


def _squeezed(shape: Iterable[int]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def fits(shape: tuple[int, ...], tensor: TensorType, preprocessing: Preprocessing) -> bool:
    """Whether a sample of `shape` is one of `tensor`, but for dimensions of one."""
    turned = [(1, *shape)[axis] for axis in _turned(shape, preprocessing.layout)]
    return _squeezed(turned) == _squeezed(tensor.shape)


def fitted(where: str, stack: Array, tensor: TensorType, preprocessing: Preprocessing) -> list[Array]:
    """The samples of `stack` with the shape and element type of `tensor`, preprocessed."""
    if not fits(stack.shape[1:], tensor, preprocessing):
        got = described(stack[0] if len(stack) == 1 else stack)
        raise UsageError(f"{where}: expected samples like {tensor}, alone or stacked, got {got}{_hint(stack, tensor)}")
    values = _values(where, stack, tensor, preprocessing)
    values = values.transpose(_turned(stack.shape[1:], preprocessing.layout))
    return [np.ascontiguousarray(value).reshape(tensor.shape) for value in values]


def _hint(stack: Array, tensor: TensorType) -> str:
    """The layout that would make `stack` fit, if one does."""
    for layout in get_args(Layout):
        if fits(stack.shape[1:], tensor, Preprocessing(layout=layout)):
            return f": layout {layout} turns them"
    return ""


def _values(where: str, stack: Array, tensor: TensorType, preprocessing: Preprocessing) -> Array:
    """`stack`, preprocessed, in the element type that `load_samples` promises for `tensor`."""
    kind = stack.dtype.kind
    own = stack.dtype == tensor.dtype.numpy and not preprocessing.changes_values
    if kind in "biuf" and (tensor.dtype is DType.FLOAT32 or (tensor.quant is not None and not own)):
        values = _scaled(where, stack, preprocessing).astype(np.float32)
        if not np.isfinite(values).all():
            raise UsageError(f"{where}: expected finite numbers, got NaN or infinity")
        return values
    if stack.dtype == tensor.dtype.numpy:
        return stack
    if tensor.quant is None and kind in "biu":
        low, high = (0, 1) if tensor.dtype is DType.BOOL else tensor.dtype.limits
        if stack.size and not (low <= stack.min() and stack.max() <= high):
            raise UsageError(
                f"{where}: expected values that fit {tensor.dtype.value}, got {stack.min()} to {stack.max()}"
            )
        return stack.astype(tensor.dtype.numpy)
    expected = f"{tensor.dtype.value} as the model takes it" + (", or float32 real numbers" if tensor.quant else "")
    raise UsageError(f"{where}: expected {expected}, got {stack.dtype.name}")


def _scaled(where: str, stack: Array, preprocessing: Preprocessing) -> Array:
    """(value - mean) * scale in float64, by channel where there are several means or scales."""
    if not preprocessing.changes_values:
        return stack
    count = max(len(preprocessing.mean), len(preprocessing.scale))
    shape = [1] * stack.ndim
    if count > 1:
        axes = (1,) if preprocessing.layout == "nhwc" else (-1,) if preprocessing.layout == "nchw" else (-1, 1)
        axis = next((a for a in axes if stack.ndim > 1 and stack.shape[a] == count), None)
        if axis is None or {len(preprocessing.mean), len(preprocessing.scale)} - {1, count}:
            raise UsageError(f"{where}: {count} means or scales do not fit channels of {described(stack)}")
        shape[axis] = count
    mean, scale = (
        np.broadcast_to(np.asarray(v, np.float64), (count,)).reshape(shape)
        for v in (preprocessing.mean, preprocessing.scale)
    )
    return np.asarray((stack.astype(np.float64) - mean) * scale)


def described(array: Array) -> str:
    return f"{array.dtype.name}[{','.join(map(str, array.shape))}]"

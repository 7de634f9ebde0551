# SPDX-License-Identifier: Apache-2.0
"""TFLite's option tables → attributes. A field of an operator's attributes is read from the option of the same name.

`begin_mask` comes from ``BeginMask()`` and so on, so that most operators need nothing here; `_READERS` lists the fields
that are spelled otherwise or computed, and `_WINDOWS` where a window operator keeps its window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, TypeVar, get_type_hints

import tflite

from tinygen.errors import ModelError
from tinygen.ir.graph import Attrs
from tinygen.ir.types import TensorType
from tinygen.ops.base import Activation
from tinygen.ops.shapes import same_padding

A = TypeVar("A", bound=Attrs)
Types = Sequence[TensorType | None]

_UNIONS = {v: k for k, v in vars(tflite.BuiltinOptions).items() if isinstance(v, int)}


@dataclass(frozen=True)
class _Source:
    """What an attribute may be read from: the option table, and the node's tensors."""

    op: str
    options: Any
    inputs: Types
    outputs: Sequence[TensorType]


def read_attrs(op: str, attrs: type[A], operator: Any, inputs: Types, outputs: Sequence[TensorType]) -> A:
    """The attributes of one operator (a flatbuffers ``Operator`` table) as `attrs`, a dataclass."""
    if not fields(attrs):
        return attrs()
    table = operator.BuiltinOptions()
    kind = _UNIONS.get(operator.BuiltinOptionsType(), "NONE")
    if table is None or kind == "NONE":
        return attrs()
    options = getattr(tflite, kind)()
    options.Init(table.Bytes, table.Pos)
    source, hints = _Source(op, options, inputs, outputs), get_type_hints(attrs)
    try:
        return attrs(**{f.name: _READERS.get(f.name, _plain)(source, f.name, hints[f.name]) for f in fields(attrs)})
    except AttributeError:
        raise ModelError(f"an operator {op} carries the options of another ({kind}): export the model again") from None


def _plain(source: _Source, name: str, hint: Any) -> Any:
    """The option of the same name, as the field's type."""
    method = "".join(part.capitalize() for part in name.split("_"))
    if hasattr(source.options, f"{method}AsNumpy"):
        values = getattr(source.options, f"{method}AsNumpy")()
        # the runtime's answer for an absent vector is 0
        return () if isinstance(values, int) else tuple(int(v) for v in values)
    value = getattr(source.options, method)()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(source.op, hint, value)
    return hint(value) if hint in (bool, int, float) else value


def _enum(op: str, hint: type[Enum], value: Any) -> Enum:
    try:
        return hint(value)
    except ValueError:
        raise ModelError(f"an operator {op} has {hint.__name__.lower()} number {value}, which is unknown") from None


def _activation(source: _Source, name: str, hint: Any) -> Any:
    return _enum(source.op, Activation, source.options.FusedActivationFunction())


def _pair(first: str, second: str) -> Callable[[_Source, str, Any], Any]:
    """A reader of two options as (height, width)."""

    def read(source: _Source, name: str, hint: Any) -> tuple[int, int]:
        pair = int(getattr(source.options, first)()), int(getattr(source.options, second)())
        if min(pair) < 1 or max(pair) > 1 << 16:
            raise ModelError(f"an operator {source.op} has {name} {pair}; expected positive numbers")
        return pair

    return read


def _padding(source: _Source, name: str, hint: Any) -> tuple[int, int, int, int]:
    """SAME or VALID as explicit (top, bottom, left, right)."""
    if source.options.Padding() == tflite.Padding.VALID:
        return (0, 0, 0, 0)
    image, window = _WINDOWS[source.op](source)
    stride = _READERS["stride"](source, "stride", None)
    dilation = _READERS["dilation"](source, "dilation", None) if hasattr(source.options, "DilationHFactor") else (1, 1)
    if len(image) != 2 or len(window) != 2:
        raise ModelError(f"an operator {source.op} has tensors without height and width")
    (top, bottom), (left, right) = (same_padding(image[i], window[i], stride[i], dilation[i]) for i in range(2))
    return top, bottom, left, right


def _shape(tensor: TensorType | None) -> tuple[int, ...]:
    """Height and width of an NHWC or OHWI tensor."""
    return () if tensor is None else tensor.shape[1:3]


def _convolution(source: _Source) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _shape(source.inputs[0]), _shape(source.inputs[1])


def _pool(source: _Source) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _shape(source.inputs[0]), _READERS["window"](source, "window", None)


def _transposed(source: _Source) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _shape(source.outputs[0]), _shape(source.inputs[1])


_READERS: dict[str, Callable[[_Source, str, Any], Any]] = {
    "activation": _activation,
    "stride": _pair("StrideH", "StrideW"),
    "dilation": _pair("DilationHFactor", "DilationWFactor"),
    "window": _pair("FilterHeight", "FilterWidth"),
    "padding": _padding,
}

_WINDOWS: dict[str, Callable[[_Source], tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "TRANSPOSE_CONV": _transposed,
}

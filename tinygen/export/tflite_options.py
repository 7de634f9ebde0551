# SPDX-License-Identifier: Apache-2.0
"""Attributes → TFLite's option tables: `frontends/tflite_options.py` the other way round.

A field `begin_mask` is written with the schema's ``AddBeginMask`` and so on; `_WRITERS` lists the fields that are
spelled otherwise, and `_COMPUTED` the options that no attribute holds because the tensors' types tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from enum import Enum
from typing import Any

import flatbuffers
import tflite

from tinygen.export.spelling import is_same
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType

#: The name of an option of the schema, and its value: a number, or a tuple for a vector of int32.
Option = tuple[str, Any]

#: Option tables by the operators' names in lower case, without underscores: ``conv2d`` → ``Conv2DOptions``.
_TABLES = {
    name.removesuffix("Options").lower(): name
    for name in vars(tflite.BuiltinOptions)
    if name.endswith("Options") and hasattr(tflite, f"{name}Start")
}
#: Operators whose option table is called otherwise.
_SHARED = {
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), "Pool2DOptions"),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), "ReducerOptions"),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimumOptions"),
    "L2_NORMALIZATION": "L2NormOptions",
}


def tensor_type(dtype: DType) -> int:
    """TFLite's number of an element type."""
    return int(getattr(tflite.TensorType, dtype.name))


def write_options(builder: flatbuffers.Builder, graph: Graph, node: Node) -> tuple[int, int]:
    """Write the option table of `node`; returns its kind (a number of BuiltinOptions) and offset, both 0 if none."""
    table = _SHARED.get(node.op) or _TABLES.get(node.op.replace("_", "").lower())
    if table is None:
        return 0, 0
    options = dict(_options(graph, node))
    for name, value in options.items():
        if isinstance(value, tuple):
            options[name] = _vector(builder, table, name, value)
    getattr(tflite, f"{table}Start")(builder)
    for name, value in options.items():
        getattr(tflite, f"{table}Add{name}")(builder, value)
    return int(getattr(tflite.BuiltinOptions, table)), int(getattr(tflite, f"{table}End")(builder))


def _options(graph: Graph, node: Node) -> Iterator[Option]:
    for field in fields(node.attrs):
        value = getattr(node.attrs, field.name)
        yield from _WRITERS.get(field.name, _plain)(graph, node, field.name, value)
    if node.op in _COMPUTED:
        yield from _COMPUTED[node.op](graph, node)


def _vector(builder: flatbuffers.Builder, table: str, name: str, values: tuple[int, ...]) -> int:
    getattr(tflite, f"{table}Start{name}Vector")(builder, len(values))
    for value in reversed(values):
        builder.PrependInt32(value)
    return int(builder.EndVector())


def _plain(graph: Graph, node: Node, name: str, value: Any) -> Iterator[Option]:
    yield "".join(part.capitalize() for part in name.split("_")), value.value if isinstance(value, Enum) else value


def _activation(graph: Graph, node: Node, name: str, value: Any) -> Iterator[Option]:
    yield "FusedActivationFunction", value.value


def _pair(first: str, second: str) -> Callable[[Graph, Node, str, Any], Iterator[Option]]:
    """A writer of (height, width) as two options."""

    def write(graph: Graph, node: Node, name: str, value: Any) -> Iterator[Option]:
        yield first, value[0]
        yield second, value[1]

    return write


def _padding(graph: Graph, node: Node, name: str, value: Any) -> Iterator[Option]:
    """VALID where there is none, else SAME: `spelled` has left no other."""
    same = any(value) and is_same(graph, node)
    yield "Padding", tflite.Padding.SAME if same else tflite.Padding.VALID


_WRITERS: dict[str, Callable[[Graph, Node, str, Any], Iterator[Option]]] = {
    "activation": _activation,
    "stride": _pair("StrideH", "StrideW"),
    "dilation": _pair("DilationHFactor", "DilationWFactor"),
    "window": _pair("FilterHeight", "FilterWidth"),
    "padding": _padding,
}


def _depth_multiplier(graph: Graph, node: Node) -> Iterator[Option]:
    yield "DepthMultiplier", graph.types[node.outputs[0]].shape[3] // graph.types[node.inputs[0]].shape[3]


def _new_shape(graph: Graph, node: Node) -> Iterator[Option]:
    yield "NewShape", graph.types[node.outputs[0]].shape


def _output_type(option: str) -> Callable[[Graph, Node], Iterator[Option]]:
    def write(graph: Graph, node: Node) -> Iterator[Option]:
        yield option, tensor_type(graph.types[node.outputs[0]].dtype)

    return write


def _cast(graph: Graph, node: Node) -> Iterator[Option]:
    yield "InDataType", tensor_type(graph.types[node.inputs[0]].dtype)
    yield "OutDataType", tensor_type(graph.types[node.outputs[0]].dtype)


_COMPUTED: dict[str, Callable[[Graph, Node], Iterator[Option]]] = {
    "DEPTHWISE_CONV_2D": _depth_multiplier,
    "RESHAPE": _new_shape,
    "ARG_MAX": _output_type("OutputType"),
    "ARG_MIN": _output_type("OutputType"),
    "SHAPE": _output_type("OutType"),
    "CAST": _cast,
}

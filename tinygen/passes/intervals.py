# SPDX-License-Identifier: Apache-2.0
"""Bounds on the integers that each channel of each int8 tensor can hold, whatever the model's input.

Interval analysis, an instance of abstract interpretation (Cousot and Cousot, POPL 1977), on the integers themselves:
every bound is computed by the operator's own reference arithmetic, at the inputs where the result is smallest and
largest, so that it holds exactly, rounding and clamping included. Inputs of the model may hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.ops import all_ops, call_of
from tinygen.ops.base import Call
from tinygen.ops.convolution import bias_of, input_of
from tinygen.ops.sums import requantize
from tinygen.ops.table import table_of
from tinygen.passes.channels import MAX_ELEMENTS, channels_of, elements
from tinygen.passes.layers import Layer, layer_of

#: Operators whose every output element never falls when an input element rises: sums with positive weights, extremes,
#: and elements that are only moved.
_RISING = frozenset(
    {"ADD", "MAXIMUM", "MINIMUM", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"}
    | {"RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CONCATENATION"}
    | {"PACK", "UNPACK", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE", "GATHER", "PAD", "PADV2", "MIRROR_PAD"}
    | {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"}
)
#: Operators that are linear in each input, so that extremes lie where all inputs are extreme.
_CORNERS = frozenset({"SUB", "MUL"})


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest stored integer of each channel (index along the last axis), int64 [channels]."""

    low: Array
    high: Array

    @property
    def constant(self) -> Array:
        """Which channels hold one value only, bool [channels]."""
        return np.asarray(self.low == self.high)


def bounds_of(graph: Graph) -> dict[str, Bounds]:
    """Bounds for every int8 tensor of `graph`."""
    known = {name: _anything(graph.types[name]) for name in graph.inputs if graph.types[name].dtype is DType.INT8}
    known |= {name: _reduced(value, value) for name, value in graph.constants.items() if value.dtype == np.int8}
    for node in graph.nodes:
        for name, bounds in zip(node.outputs, _outputs(graph, node, known), strict=True):
            if graph.types[name].dtype is DType.INT8:
                known[name] = bounds
    return known


def _anything(tensor: TensorType) -> Bounds:
    low, high = tensor.dtype.limits if tensor.dtype is DType.INT8 else (0, 0)
    return Bounds(np.full(channels_of(tensor), low), np.full(channels_of(tensor), high))


def _reduced(low: Array, high: Array) -> Bounds:
    """Bounds of each channel, from those of each element."""
    channels = low.shape[-1] if low.ndim else 1
    lows, highs = low.reshape(-1, channels), high.reshape(-1, channels)
    return Bounds(lows.min(axis=0).astype(np.int64), highs.max(axis=0).astype(np.int64))


def _outputs(graph: Graph, node: Node, known: Mapping[str, Bounds]) -> Sequence[Bounds]:
    """Bounds of the outputs of `node`, from those of its inputs."""
    call = call_of(graph, node)
    if call.output.dtype is DType.INT8 and all(n in known for n in node.inputs if n and n not in graph.constants):
        layer = layer_of(call)
        if layer is not None and layer.kinds * channels_of(call.output) <= MAX_ELEMENTS and layer.complete:
            return [_sums(call, layer, known[node.inputs[0]])]
        table = table_of(call)
        if table is not None:
            (source,) = (n for n in node.inputs if n and n not in graph.constants)
            return [_looked_up(table, known[source], call)]
        if node.op in _RISING | _CORNERS and elements(call) <= MAX_ELEMENTS:
            return _extremes(graph, node, known)
    return [_anything(tensor) for tensor in call.outputs]


def _sums(call: Call[Any], layer: Layer, bounds: Bounds) -> Bounds:
    """Bounds of a layer: for each kind of position, the sums of the products' bounds, requantized as any sum is."""
    zero_point = input_of(call).q.zero_point
    low, high = (bounds.low - zero_point)[layer.reads], (bounds.high - zero_point)[layer.reads]
    positive, negative = np.maximum(layer.weights, 0), np.minimum(layer.weights, 0)
    taps = [
        np.einsum("ftd,fd->tf", positive, least) + np.einsum("ftd,fd->tf", negative, most)
        for least, most in ((low, high), (high, low))
    ]
    ends = [requantize(call, layer.sums(sums) + bias_of(call)) for sums in taps]
    return _reduced(*ends)


def _looked_up(table: Array, bounds: Bounds, call: Call[Any]) -> Bounds:
    """Bounds of a function of one value: the extremes of its answers between the bounds."""
    answers = [table[low + 128 : high + 129] for low, high in zip(bounds.low, bounds.high, strict=True)]
    low, high = (np.array([f(a) for a in answers], np.int64) for f in (np.min, np.max))
    shape = (channels_of(call.output),)
    return Bounds(np.broadcast_to(low, shape), np.broadcast_to(high, shape))


def _extremes(graph: Graph, node: Node, known: Mapping[str, Bounds]) -> Sequence[Bounds]:
    """Bounds of a node by its reference at the bounds of its inputs: all low and all high, or every combination."""
    ends = [_ends(graph, name, known) for name in node.inputs]
    lows, highs = tuple(low for low, _ in ends), tuple(high for _, high in ends)
    # an input that is read twice is taken for two: the bounds hold, if not tightly
    corners = list(product(*ends)) if node.op in _CORNERS else [lows, highs]
    results = [all_ops()[node.op].reference(call_of(graph, node), corner) for corner in corners]
    return [_reduced(np.minimum.reduce(list(r)), np.maximum.reduce(list(r))) for r in zip(*results, strict=True)]


def _ends(graph: Graph, name: str, known: Mapping[str, Bounds]) -> tuple[Array | None, Array | None]:
    """The smallest and the largest array that an input can be; the input itself, if it is constant."""
    if name in graph.constants or not name:
        return graph.constants.get(name), graph.constants.get(name)
    return _filled(known[name].low, graph.types[name]), _filled(known[name].high, graph.types[name])


def _filled(channels: Array, tensor: TensorType) -> Array:
    """An int8 array of the tensor's shape in which each channel holds its value of `channels`."""
    return np.broadcast_to(channels.astype(np.int8), tensor.shape or (1,)).reshape(tensor.shape)

# SPDX-License-Identifier: Apache-2.0
"""Factors and offsets by channel (what a BatchNormalization is at inference) become weights and biases of a layer.

After a layer: (W x + b) * f + o = (W * f) x + (b * f + o). Before it: a factor goes into the weights' input channels,
an offset into the bias where no padding stands between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.ops import Activation
from tinygen.ops.convolution import OPERANDS
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import fresh

_LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"})
_AFFINE = frozenset({"MUL", "ADD", "SUB"})


@dataclass(frozen=True)
class FoldAffine:
    """Fold MUL, ADD and SUB with a constant by channel into the layer before them, else into the one after."""

    name: str = "fold-affine"
    keeps: Keeps = Keeps.ACCURACY

    def run(self, graph: Graph) -> Result:
        done: list[str] = []
        changed = True
        while changed:
            changed = False
            for node in graph.nodes:
                folded = _into_producer(graph, node) or _into_consumer(graph, node)
                if folded is not None:
                    graph, changed = folded, True
                    done.append(f"{label(node)} is part of a layer")
                    break
        return Result(graph, tuple(done))


def _affine(graph: Graph, node: Node) -> tuple[str, Array, Array] | None:
    """(variable input, factor, offset) if `node` is x * factor + offset with a value or one for each channel each."""
    if node.op not in _AFFINE:
        return None
    constants = [n for n in node.inputs if n in graph.constants]
    variables = [n for n in node.inputs if n not in graph.constants]
    if len(constants) != 1 or graph.types[node.outputs[0]].dtype is not DType.FLOAT32:
        return None
    shape, value = graph.types[node.outputs[0]].shape, graph.constants[constants[0]].astype(np.float64)
    if graph.types[variables[0]].shape != shape or value.size not in (1, (value.shape or (1,))[-1]):
        return None
    values = value.ravel() if value.size > 1 else np.full(shape[-1:] or (1,), value.ravel()[0])
    if node.op == "MUL":
        return variables[0], values, np.zeros_like(values)
    if node.op == "ADD":
        return variables[0], np.ones_like(values), values
    first = node.inputs[0] in graph.constants
    return (variables[0], -np.ones_like(values), values) if first else (variables[0], np.ones_like(values), -values)


def _into_producer(graph: Graph, node: Node) -> Graph | None:
    found = _affine(graph, node)
    producer = graph.producer(found[0]) if found else None
    if found is None or producer is None or not is_layer(graph, producer):
        return None
    source, factor, offset = found
    attrs: Any = producer.attrs
    alone = len(graph.consumers(source)) == 1 and not graph.is_output(source)
    if not alone or attrs.activation is not Activation.NONE:
        return None
    weights, bias = parameters(graph, producer)
    along = [1] * weights.ndim
    along[OPERANDS[producer.op].channel] = -1
    activation = getattr(node.attrs, "activation", Activation.NONE)
    fused = replace(producer, outputs=node.outputs, attrs=replace(attrs, activation=activation))
    layer, changes = with_parameters(graph, fused, weights * np.reshape(factor, along), bias * factor + offset)
    return graph.with_nodes([layer if n is producer else n for n in graph.nodes if n is not node], **changes)


def _into_consumer(graph: Graph, node: Node) -> Graph | None:
    found = _affine(graph, node)
    readers = graph.consumers(node.outputs[0])
    if found is None or len(readers) != 1 or graph.is_output(node.outputs[0]):
        return None
    source, factor, offset = found
    reader, where = readers[0], OPERANDS.get(readers[0].op)
    if where is None or not is_layer(graph, reader) or reader.inputs[where.input] != node.outputs[0]:
        return None
    if getattr(node.attrs, "activation", Activation.NONE) is not Activation.NONE:
        return None
    padded = reader.op == "TRANSPOSE_CONV" or any(getattr(reader.attrs, "padding", ()))
    weights, bias = parameters(graph, reader)
    spread = by_input(reader, weights, graph.types[source].shape[-1])
    if spread is None or (np.any(offset) and padded):
        return None
    factors, offsets = factor[spread], offset[spread]
    axes = tuple(a for a in range(weights.ndim) if a != where.channel)
    inputs = list(reader.inputs)
    inputs[where.input] = source
    moved = bias + (weights * offsets).sum(axis=axes)
    layer, changes = with_parameters(graph, replace(reader, inputs=tuple(inputs)), weights * factors, moved)
    return graph.with_nodes([layer if n is reader else n for n in graph.nodes if n is not node], **changes)


def by_input(layer: Node, weights: Array, channels: int) -> Array | None:
    """For each weight (broadcast), the input channel it multiplies; None where that is not plain."""
    if layer.op == "DEPTHWISE_CONV_2D":
        return np.asarray(np.arange(weights.shape[3]) // (weights.shape[3] // channels))
    return np.arange(channels) if weights.shape[-1] == channels else None


def is_layer(graph: Graph, node: Node) -> bool:
    where = OPERANDS.get(node.op)
    if node.op not in _LAYERS or where is None or node.inputs[where.weights] not in graph.constants:
        return False
    bias = node.inputs[where.bias] if len(node.inputs) > where.bias else ""
    weights = graph.types[node.inputs[where.weights]]
    return weights.dtype is DType.FLOAT32 and (not bias or bias in graph.constants)


def parameters(graph: Graph, node: Node) -> tuple[Array, Array]:
    """Weights and bias (zeros where there is none), float64."""
    where = OPERANDS[node.op]
    weights = graph.constants[node.inputs[where.weights]].astype(np.float64)
    bias = node.inputs[where.bias] if len(node.inputs) > where.bias else ""
    values = graph.constants[bias].astype(np.float64).ravel() if bias else np.zeros(weights.shape[where.channel])
    return weights, values


def with_parameters(graph: Graph, node: Node, weights: Array, bias: Array) -> tuple[Node, dict[str, Any]]:
    """`node` with these weights and this bias under new names, and the graph's types and constants with them."""
    where = OPERANDS[node.op]
    types, constants = dict(graph.types), dict(graph.constants)
    inputs = list(node.inputs)
    inputs += [""] * (where.bias + 1 - len(inputs))
    for index, value, what in ((where.weights, weights, "weights"), (where.bias, bias, "bias")):
        name = fresh(graph, f"{node.outputs[0]}:{what}")
        inputs[index], types[name] = name, TensorType(value.shape, DType.FLOAT32)
        constants[name] = value.astype(np.float32)
    return replace(node, inputs=tuple(inputs)), {"types": types, "constants": constants}

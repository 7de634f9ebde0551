# SPDX-License-Identifier: Apache-2.0
"""Removing channels from a graph: tensors, weights, biases and constants without some of their last indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, Quant, TensorType
from tinygen.ops import call_of, op_of
from tinygen.ops.convolution import OPERANDS
from tinygen.passes.channels import channels_of, data_inputs, mixes

#: Operators whose output shape is not told by inputs and attributes once channels are gone: a reshape says the same.
_VIEWS = frozenset({"RESHAPE", "SQUEEZE"})


def remove_channels(graph: Graph, keep: Mapping[str, Array]) -> Graph:
    """`graph` without the channels for which `keep` is False.

    `keep` holds a mask (bool [channels], along the last axis) for each tensor that loses channels; others keep all.
    It must remove whole groups (`channel_groups(graph).masks(removed)` makes such masks), none of them fixed. A layer
    that makes a channel loses its filter, its bias and its scale; one that reads it loses the weights it is multiplied
    with, in every row or tap. Nothing else changes: a channel that is removed counts as its zero point, so that whoever
    removes others has to put what they contribute into biases or weights beforehand. Works for float and int8 graphs.

    Tensors of which nothing is left go, with the nodes that make them, and as inputs of CONCATENATION. Raises
    `ValueError` where a layer would lose all of its inputs but not all outputs, or where the masks contradict each
    other.
    """
    surgery = _Surgery(graph, {name: mask for name, mask in keep.items() if not mask.all()})
    nodes = [surgery.node(node) for node in graph.nodes if surgery.remains(node)]
    smaller = graph.with_nodes(nodes, types=surgery.types, constants=surgery.constants, storage=surgery.storage)
    _check(smaller)
    return smaller


def _check(graph: Graph) -> None:
    """Raise `ValueError` unless every node's output has the shape that its inputs give it."""
    for node in graph.nodes:
        call = call_of(graph, node)
        inferred, declared = [s for s, _ in op_of(node).infer(call)], [t.shape for t in call.outputs]
        if list(map(tuple, inferred)) != declared:
            raise ValueError(f"removing channels left {node.op} '{node.name}' with {declared} instead of {inferred}")


@dataclass
class _Surgery:
    """A graph whose tensors lose channels: `cut` are the masks of those that do."""

    graph: Graph
    cut: Mapping[str, Array]
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    storage: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.storage.update(self.graph.storage)
        self.constants.update(self.graph.constants)
        self.types.update(self.graph.types)
        for name, mask in self.cut.items():
            if name not in self.graph.constants:
                old = self.graph.types[name]
                self.types[name] = replace(old, shape=(*old.shape[:-1], int(mask.sum())))

    def remains(self, node: Node) -> bool:
        """Whether anything is left of what `node` computes."""
        return any(self.cut.get(name, np.ones(1)).any() for name in node.outputs)

    def node(self, node: Node) -> Node:
        """`node` for the tensors that are left."""
        if node.op in OPERANDS and len(node.inputs) > 1 and node.inputs[1] in self.graph.constants:
            return self._layer(node)
        if node.op in _VIEWS and node.outputs[0] in self.cut:
            return replace(node, op="RESHAPE", inputs=node.inputs[:1], attrs=Attrs())
        data = data_inputs(node)
        inputs = [n for n in node.inputs if n not in data or self._mask(n).any()]
        return replace(node, inputs=tuple(self._operand(n) if n in data else n for n in inputs))

    def _mask(self, name: str) -> Array:
        """Which channels tensor `name` keeps."""
        return self.cut.get(name, np.ones(channels_of(self.graph.types[name]), np.bool_))

    def _operand(self, name: str) -> str:
        """An input that holds data, which loses channels if it is a constant."""
        if name not in self.cut or name not in self.graph.constants:
            return name
        return self._sliced(name, self.cut[name], self.graph.constants[name].ndim - 1)

    def _layer(self, node: Node) -> Node:
        """A convolution or dense layer, with the rows and columns of its weights that are left."""
        call, where = call_of(self.graph, node), OPERANDS[node.op]
        source, target = node.inputs[where.input], node.outputs[0]
        inputs: list[str] = list(node.inputs)
        inputs[where.input] = self._operand(source)
        if source in self.cut and mixes(call):
            if not self.cut[source].any():
                raise ValueError(f"removing channels left {node.op} '{node.name}' without any input")
            columns = np.resize(self.cut[source], call.input(where.weights).shape[-1])
            inputs[where.weights] = self._sliced(inputs[where.weights], columns, -1)
        if target in self.cut:
            rows = self.cut[target]
            inputs[where.weights] = self._sliced(inputs[where.weights], rows, where.channel)
            if call.has(where.bias):
                inputs[where.bias] = self._sliced(inputs[where.bias], rows, -1)
        return replace(node, inputs=tuple(inputs))

    def _sliced(self, name: str, mask: Array, axis: int) -> str:
        """The name of constant `name` with the indices that `mask` keeps along `axis`, which may be new."""
        value, tensor = self.constants[name], self.types[name]
        axis %= value.ndim
        smaller = np.compress(mask, value, axis=axis)
        mine = name not in self.graph.constants or _readers(self.graph, name) == 1
        target = name if mine else self._fresh(name)
        self.constants[target] = smaller
        if name in self.storage:
            self.storage[target] = self.storage[name]
        self.types[target] = replace(tensor, shape=smaller.shape, quant=_sliced_quant(tensor.quant, mask, axis))
        return target

    def _fresh(self, name: str) -> str:
        """A name like `name` that no tensor has."""
        while name in self.types:
            name += "'"
        return name


def _readers(graph: Graph, name: str) -> int:
    return sum(node.inputs.count(name) for node in graph.nodes)


def _sliced_quant(quant: Quant | None, mask: Array, axis: int) -> Quant | None:
    """The scales that are left, where there is one for each index along `axis`."""
    if quant is None or quant.axis != axis or len(quant.scales) != len(mask):
        return quant
    pick = np.flatnonzero(mask).tolist()
    return Quant(tuple(quant.scales[i] for i in pick), tuple(quant.zero_points[i] for i in pick), axis)

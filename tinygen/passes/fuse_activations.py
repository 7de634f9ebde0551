"""A clamp after a convolution, dense layer, pool or sum becomes that layer's fused activation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ops import Activation
from tinygen.ops.numerics import activation_range
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import table_of


@dataclass(frozen=True)
class FuseActivations:
    """Fuse nodes that only clamp (RELU, RELU6, a MAXIMUM with a constant …) into the node before them."""

    name: str = "fuse-activations"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        done, declined = [], []
        for node in graph.nodes:
            producer = _fusable_producer(graph, node)
            if producer is None:
                continue
            activation = as_activation(graph, node)
            if activation is None:
                declined.append(f"{label(node)} stays: it is more than a clamp at the scale of {label(producer)}")
                continue
            graph = _fused(graph, producer, node, activation)
            done.append(f"{label(node)} is the {activation.name} of {label(producer)}")
        return Result(graph, tuple(done), tuple(declined))


def _fusable_producer(graph: Graph, node: Node) -> Node | None:
    """The node before `node`, if it can clamp, does not yet, and only `node` reads it."""
    source = node.inputs[0] if node.inputs else ""
    producer = graph.producer(source)
    if producer is None or getattr(producer.attrs, "activation", None) is not Activation.NONE:
        return None
    alone = len(graph.consumers(source)) == 1 and not graph.is_output(source)
    return producer if alone and table_of(graph, node) is not None else None


def as_activation(graph: Graph, node: Node) -> Activation | None:
    """The fused activation that computes the same int8 function as `node`, if there is one."""
    table, target = table_of(graph, node), graph.types[node.outputs[0]]
    if table is None or graph.types[node.inputs[0]].quant != target.quant:
        return None
    values = np.arange(-128, 128)
    for activation in (Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1):
        low, high = activation_range(activation, target)
        if np.array_equal(table, np.minimum(np.maximum(values, low), high)):
            return activation
    return None


def _fused(graph: Graph, producer: Node, node: Node, activation: Activation) -> Graph:
    attrs: Any = producer.attrs
    merged = replace(producer, outputs=node.outputs, attrs=replace(attrs, activation=activation))
    return graph.with_nodes([merged if n is producer else n for n in graph.nodes if n is not node])

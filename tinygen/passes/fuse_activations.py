# SPDX-License-Identifier: Apache-2.0
"""A clamp after a convolution, dense layer, pool or sum becomes that layer's fused activation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ops import Activation, call_of, op_of
from tinygen.ops.numerics import activation_range
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import table_of, variable_inputs


@dataclass(frozen=True)
class FuseActivations:
    """Fuse nodes that only clamp (RELU, RELU6, a MAXIMUM with a constant …) into the node before them."""

    name: str = "fuse-activations"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        done, declined = [], []
        for node in graph.nodes:
            producer = _producer(graph, node)
            if producer is None:
                continue
            activation = as_activation(graph, node)
            reason = unfusable(graph, producer, activation)
            if activation is None or reason:
                declined.append(f"{label(node)} stays: {reason}")
                continue
            fused = replace(_clamping(producer, activation), outputs=node.outputs)
            graph = graph.with_nodes([fused if n is producer else n for n in graph.nodes if n is not node])
            done.append(f"{label(node)} is the {activation.name} of {label(producer)}")
        return Result(graph, tuple(done), tuple(declined))


def _producer(graph: Graph, node: Node) -> Node | None:
    """The node before `node`, if `node` is a function of one value and the other of a kind that can clamp."""
    if table_of(graph, node) is None:
        return None
    (source,) = variable_inputs(graph, node)
    producer = graph.producer(source)
    return producer if producer is not None and hasattr(producer.attrs, "activation") else None


def as_activation(graph: Graph, node: Node) -> Activation | None:
    """The fused activation that computes the same int8 function as `node`, if there is one."""
    table, target = table_of(graph, node), graph.types[node.outputs[0]]
    if table is None or any(graph.types[name] != target for name in variable_inputs(graph, node)):
        return None
    values = np.arange(-128, 128)
    for activation in (Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1):
        low, high = activation_range(activation, target)
        if np.array_equal(table, np.minimum(np.maximum(values, low), high)):
            return activation
    return None


def unfusable(graph: Graph, producer: Node, activation: Activation | None) -> str:
    """Why `producer` cannot take over the `activation` of the node after it; empty if it can."""
    (source,) = producer.outputs
    attrs: Any = producer.attrs
    if activation is None:
        return f"it is more than a clamp at the scale of {label(producer)}"
    if attrs.activation is not Activation.NONE:
        return f"{label(producer)} clamps already"
    if graph.is_output(source):
        return f"the model gives out '{source}', too"
    if len(graph.consumers(source)) > 1:
        return f"another node reads '{source}', too"
    fused = _clamping(producer, activation)
    problems = op_of(fused).problems(call_of(graph, fused))
    return f"{label(producer)} cannot clamp: {problems[0]}" if problems else ""


def _clamping(producer: Node, activation: Activation) -> Node:
    attrs: Any = producer.attrs
    return replace(producer, attrs=replace(attrs, activation=activation))

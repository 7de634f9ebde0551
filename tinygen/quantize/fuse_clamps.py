# SPDX-License-Identifier: Apache-2.0
"""RELU, RELU6 and the like after a layer become its fused activation, in float."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tinygen.ir.graph import Graph, Node
from tinygen.ops import Activation, call_of, op_of
from tinygen.ops.supposed import as_int8
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import variable_inputs

_LIMITS = {activation.limits: activation for activation in Activation}


@dataclass(frozen=True)
class FuseClamps:
    """Fuse RELU, RELU6, RELU_N1_TO_1, and MAXIMUM or MINIMUM with a constant that amounts to one of them."""

    name: str = "fuse-clamps"
    keeps: Keeps = Keeps.ACCURACY

    def run(self, graph: Graph) -> Result:
        done = []
        for node in graph.nodes:
            fused = _fused(graph, node)
            if fused is not None:
                producer = graph.producer(variable_inputs(graph, node)[0])
                graph = graph.with_nodes([fused if n is producer else n for n in graph.nodes if n is not node])
                done.append(f"{label(node)} is part of {label(fused)}")
        return Result(graph, tuple(done))


def _fused(graph: Graph, node: Node) -> Node | None:
    """The node before `node` with both their clamps, if it can have them and only feeds `node`."""
    limits, sources = _clamp(graph, node), variable_inputs(graph, node)
    producer = graph.producer(sources[0]) if limits is not None and len(sources) == 1 else None
    if limits is None or producer is None or not hasattr(producer.attrs, "activation"):
        return None
    if graph.is_output(sources[0]) or len(graph.consumers(sources[0])) > 1:
        return None
    if graph.types[sources[0]].shape != graph.types[node.outputs[0]].shape:
        return None
    attrs: Any = producer.attrs
    low, high = attrs.activation.limits
    both = _LIMITS.get((max(low, limits[0]), max(min(high, limits[1]), limits[0])))
    if both is None:
        return None
    fused = replace(producer, outputs=node.outputs, attrs=replace(attrs, activation=both))
    problems = op_of(fused).problems(as_int8(op_of(fused), call_of(graph, fused)))
    return None if problems else fused


def _clamp(graph: Graph, node: Node) -> tuple[float, float] | None:
    """The limits that `node` clamps to, if it does nothing else."""
    if node.op in ("RELU", "RELU6", "RELU_N1_TO_1"):
        return Activation[node.op].limits
    if node.op not in ("MAXIMUM", "MINIMUM"):
        return None
    values = [graph.constants[n] for n in node.inputs if n in graph.constants]
    if len(values) != 1 or values[0].size != 1:
        return None
    limit = float(values[0].ravel()[0])
    return (limit, float("inf")) if node.op == "MAXIMUM" else (-float("inf"), limit)

# SPDX-License-Identifier: Apache-2.0
"""Nodes that change nothing are dropped, and chains of reshapes become one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ops import op_of
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import bypass, table_of, variable_inputs


@dataclass(frozen=True)
class RemoveIdentities:
    """Drop reshapes to the same shape, tables that map each value to itself, and reshapes of reshapes."""

    name: str = "remove-identities"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        done: list[str] = []
        for node in graph.nodes:
            current = next((n for n in graph.nodes if n.outputs == node.outputs), None)
            if current is None:
                continue
            current, graph = _through_views(graph, current, done)
            source = same_as(graph, current)
            shorter = bypass(graph, current, source) if source else None
            if shorter is not None:
                graph = shorter
                done.append(f"{label(node)} changes nothing")
        return Result(graph, tuple(done))


def same_as(graph: Graph, node: Node) -> str | None:
    """The input that the output of `node` is by another name; None if the node does more than that."""
    source: str | None = None
    if op_of(node).view or (node.op == "CONCATENATION" and len(node.inputs) == 1):
        source = node.inputs[0]
    else:
        table = table_of(graph, node)
        if table is not None and np.array_equal(table, np.arange(-128, 128)):
            (source,) = variable_inputs(graph, node)
    return source if source and graph.types[source] == graph.types[node.outputs[0]] else None


def _through_views(graph: Graph, node: Node, done: list[str]) -> tuple[Node, Graph]:
    """`node`, if a view of a view, as a reshape of what the first view reads."""
    if not op_of(node).view:
        return node, graph
    inner = graph.producer(node.inputs[0])
    if inner is None or not op_of(inner).view:
        return node, graph
    direct = replace(node, op="RESHAPE", inputs=(inner.inputs[0],), attrs=Attrs())
    done.append(f"{label(node)} reads through {label(inner)}")
    return direct, graph.with_nodes([direct if n is node else n for n in graph.nodes])

"""Nodes that change nothing are dropped, and chains of reshapes become one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ops import op_of
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import bypass, table_of


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
            if not is_identity(graph, current):
                continue
            shorter = bypass(graph, current)
            if shorter is not None:
                graph = shorter
                done.append(f"{label(node)} changes nothing")
        return Result(graph, tuple(done))


def is_identity(graph: Graph, node: Node) -> bool:
    """Whether output and input of `node` are the same tensor by another name."""
    if len(node.outputs) != 1 or not node.inputs or graph.types.get(node.inputs[0]) != graph.types[node.outputs[0]]:
        return False
    if op_of(node).view or (node.op == "CONCATENATION" and len(node.inputs) == 1):
        return True
    table = table_of(graph, node)
    return table is not None and bool(np.array_equal(table, np.arange(-128, 128)))


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

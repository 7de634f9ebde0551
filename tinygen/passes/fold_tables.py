"""Chains of one-input int8 functions become one 256-byte table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, TensorType
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import table_of, variable_inputs


@dataclass(frozen=True)
class FoldTables:
    """Compose neighbouring nodes that are functions of one int8 value into one LOOKUP."""

    name: str = "fold-tables"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        done: list[str] = []
        for node in graph.nodes:
            inner = _inner(graph, node)
            if inner is not None:
                graph = _composed(graph, inner, next(n for n in graph.nodes if n.outputs == node.outputs))
                done.append(f"{label(node)} and {label(inner)} are one table")
        return Result(graph, tuple(done))


def _inner(graph: Graph, node: Node) -> Node | None:
    """The table that feeds the table `node`, if nothing else reads it."""
    if table_of(graph, node) is None:
        return None
    (source,) = variable_inputs(graph, node)
    inner = graph.producer(source)
    if inner is None or len(graph.consumers(source)) != 1 or graph.is_output(source):
        return None
    same_shape = graph.types[source].shape == graph.types[node.outputs[0]].shape
    return inner if same_shape and table_of(graph, inner) is not None else None


def _composed(graph: Graph, inner: Node, outer: Node) -> Graph:
    first, second = table_of(graph, inner), table_of(graph, outer)
    assert first is not None and second is not None
    (source,) = variable_inputs(graph, inner)
    name = f"{outer.outputs[0]}:table"
    node = replace(outer, op="LOOKUP", inputs=(source, name), attrs=Attrs())
    types = {**graph.types, name: TensorType((256,), DType.INT8, graph.types[outer.outputs[0]].quant)}
    constants = {**graph.constants, name: second[first.astype(int) + 128]}
    nodes = [node if n is outer else n for n in graph.nodes if n is not inner]
    return graph.with_nodes(nodes, types=types, constants=constants)

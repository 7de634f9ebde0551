# SPDX-License-Identifier: Apache-2.0
"""Small steps that several passes are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array
from tinygen.ops import call_of, table


def bypass(graph: Graph, node: Node, source: str) -> Graph | None:
    """`graph` without `node`, whose readers now read `source`; None where a graph output would lose its name."""
    target = node.outputs[0]
    rest = [n for n in graph.nodes if n is not node]
    if not graph.is_output(target):
        return graph.with_nodes([renamed(n, target, source) for n in rest])
    producer = graph.producer(source)
    if producer is None or graph.is_output(source):
        return None
    return graph.with_nodes([renamed(n, source, target) for n in rest])


def renamed(node: Node, old: str, new: str) -> Node:
    """`node` with tensor `old` called `new`."""
    swap: Callable[[str], str] = lambda name: new if name == old else name  # noqa: E731  # used twice, right here
    return replace(node, inputs=tuple(map(swap, node.inputs)), outputs=tuple(map(swap, node.outputs)))


def variable_inputs(graph: Graph, node: Node) -> list[str]:
    """The inputs of `node` that are computed at run time."""
    return [name for name in node.inputs if name and name not in graph.constants]


def fresh(graph: Graph, name: str) -> str:
    """`name`, or where a tensor has that name already, one like it."""
    while name in graph.types:
        name += "'"
    return name


def table_of(graph: Graph, node: Node) -> Array | None:
    """The int8 function that `node` is, as 256 values for -128..127; None if it is not one."""
    return table.table_of(call_of(graph, node))

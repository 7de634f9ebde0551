# SPDX-License-Identifier: Apache-2.0
"""Chains of one-input functions from int8 to int8 become one 256-byte table.

What lies between may be float (DEQUANTIZE, NEG, QUANTIZE as TensorFlow's converter leaves them): only the ends count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.ops import call_of, op_of
from tinygen.ops.table import applied
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.rewrite import fresh, variable_inputs


@dataclass(frozen=True)
class FoldTables:
    """Compose neighbouring nodes that are functions of one value into one LOOKUP."""

    name: str = "fold-tables"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        done: list[str] = []
        for last in reversed(graph.nodes):
            chain = longest_chain(graph, last)
            if len(chain) > 1:
                graph = _composed(graph, chain)
                done.append(f"{', '.join(label(n) for n in chain)} are one table")
        return Result(graph, tuple(done))


def longest_chain(graph: Graph, last: Node) -> list[Node]:
    """The longest run of nodes that ends with `last`, from int8 to int8, in which each only feeds the next."""
    if last not in graph.nodes or graph.types[last.outputs[0]].dtype is not DType.INT8:
        return []
    chain: list[Node] = []
    best: list[Node] = []
    for node in _backwards(graph, last):
        chain.insert(0, node)
        if graph.types[variable_inputs(graph, node)[0]].dtype is DType.INT8:
            best = list(chain)
    return best


def _backwards(graph: Graph, last: Node) -> Iterator[Node]:
    """`last` and the functions of one value before it, the nearest first, up to an int8 tensor that others read too."""
    node: Node | None = last
    while node is not None and _is_function(graph, node):
        yield node
        (source,) = variable_inputs(graph, node)
        shared = len(graph.consumers(source)) > 1 or graph.is_output(source)
        # a shared int8 tensor is there anyway; a float one may be nobody's once all its readers are tables
        node = None if shared and graph.types[source].dtype is DType.INT8 else graph.producer(source)


def _is_function(graph: Graph, node: Node) -> bool:
    variables = variable_inputs(graph, node)
    if len(variables) != 1 or len(node.outputs) != 1 or not op_of(node).pointwise(call_of(graph, node)):
        return False
    return graph.types[variables[0]].shape == graph.types[node.outputs[0]].shape


def _composed(graph: Graph, chain: list[Node]) -> Graph:
    last = chain[-1]
    (source,) = variable_inputs(graph, chain[0])
    name = fresh(graph, f"{last.outputs[0]}:table")
    node = replace(last, op="LOOKUP", inputs=(source, name), attrs=Attrs())
    types = {**graph.types, name: TensorType((256,), DType.INT8, graph.types[last.outputs[0]].quant)}
    constants = {**graph.constants, name: _table(graph, chain)}
    nodes = [node if n is last else n for n in graph.nodes]
    for inner in reversed(chain[:-1]):
        if not graph.is_output(inner.outputs[0]) and not any(inner.outputs[0] in n.inputs for n in nodes):
            nodes.remove(inner)
    return graph.with_nodes(nodes, types=types, constants=constants)


def _table(graph: Graph, chain: list[Node]) -> Array:
    """The chain's answer for each int8 value, int8 [256]."""
    values: Array = np.arange(-128, 128).astype(np.int8)
    for node in chain:
        values = applied(call_of(graph, node), values)
    return values

# SPDX-License-Identifier: Apache-2.0
"""Which tensors have to share one scale and zero point, and where a requantizing QUANTIZE makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, TensorType
from tinygen.ops import op_of
from tinygen.ops.base import Fixed, SameAs
from tinygen.passes.rewrite import fresh


@dataclass(frozen=True)
class Groups:
    """The float tensors of a graph in groups: each tensor's group by name, and the groups whose scale is fixed.

    Groups in `wide` become int16, the others int8.
    """

    graph: Graph
    of: Mapping[str, str]
    fixed: Mapping[str, Fixed]
    wide: frozenset[str] = frozenset()

    def dtype(self, name: str) -> DType:
        """What tensor `name` becomes."""
        return DType.INT16 if self.of[name] in self.wide else DType.INT8

    def members(self, group: str) -> list[str]:
        """The tensors of a group, in the order they are computed in."""
        return [name for name, root in self.of.items() if root == group]


class _Union:
    """Disjoint sets of tensors; a set may have a fixed scale."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}
        self.fixed: dict[str, Fixed] = {}

    def root(self, name: str) -> str:
        while self.parent.setdefault(name, name) != name:
            name = self.parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        """Unite two sets of which the second has no fixed scale, or the same."""
        one, other = self.root(first), self.root(second)
        if one != other:
            self.parent[other] = one
            self.fixed.pop(other, None)


def group(graph: Graph) -> Groups:
    """`graph` (float), with QUANTIZE nodes where inputs that must share a scale have other, fixed ones; and its groups.

    The added QUANTIZE nodes are float here, and change nothing; they requantize in the int8 graph.
    """
    union, nodes, types = _Union(), list[Node](), dict(graph.types)
    for name in (*graph.inputs, *graph.constants):
        union.root(name)
    for node in graph.nodes:
        rule = op_of(node).quantize.output
        if isinstance(rule, SameAs):
            node = _requantized(graph, node, union, nodes, types)
            tensors = [n for n in (*node.inputs, *node.outputs) if n and types[n].dtype is DType.FLOAT32]
            for name in tensors[1:]:
                union.join(tensors[0], name)
        elif isinstance(rule, Fixed):
            union.fixed[union.root(node.outputs[0])] = rule
        nodes.append(node)
    changed = replace(graph, nodes=tuple(nodes), types=types)
    names = [n for n in types if types[n].dtype is DType.FLOAT32]
    return Groups(changed, {n: union.root(n) for n in names}, dict(union.fixed))


def _requantized(graph: Graph, node: Node, union: _Union, nodes: list[Node], types: dict[str, TensorType]) -> Node:
    """`node` with a QUANTIZE before each input whose fixed scale another input does not have."""
    inputs = [n for n in node.inputs if n and graph.types[n].dtype is DType.FLOAT32]
    scales = {union.fixed.get(union.root(n)) for n in inputs}
    if len(scales) == 1:
        return node
    renamed = {}
    for name in inputs:
        if union.root(name) in union.fixed and name not in renamed:
            renamed[name] = fresh(graph, f"{name}:for:{node.outputs[0]}")
            types[renamed[name]] = graph.types[name]
            nodes.append(Node(renamed[name], "QUANTIZE", (name,), (renamed[name],), Attrs()))
    return replace(node, inputs=tuple(renamed.get(n, n) for n in node.inputs))

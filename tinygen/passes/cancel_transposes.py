# SPDX-License-Identifier: Apache-2.0
"""Transpositions are pushed towards the outputs, through what does not care about the order of dimensions, and cancel.

Models that keep channels first (ONNX) have one on either side of every image operator once those work on NHWC.

A TRANSPOSE moves over elementwise operators, CONCATENATION, PAD, SLICE, SPLIT, GATHER, reductions and reshapes that
merge nothing but neighbours; the node's axes and constants are reordered in return. Two in a row become one;
one that changes nothing goes; one that moves only dimensions of size 1 is a RESHAPE; and where a FULLY_CONNECTED reads
a flattened one, its weights' columns are reordered instead.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ops import call_of, op_of
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.sinking import (
    BINARY,
    RULES,
    UNARY,
    Sunk,
    columns,
    compose,
    concatenated,
    inverse,
    reshaped,
)
from tinygen.passes.views import View, Views


@dataclass(frozen=True)
class CancelTransposes:
    """Leave no TRANSPOSE that another can cancel."""

    name: str = "cancel-transposes"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        if not any(node.op == "TRANSPOSE" for node in graph.nodes):
            return Result(graph)
        rewriter = _Rewriter(graph)
        changed = rewriter.graph()
        if _moved(changed) >= _moved(graph):
            return Result(graph)
        before, after = (sum(n.op == "TRANSPOSE" for n in g.nodes) for g in (graph, changed))
        left = {n.name for n in changed.nodes if n.op == "TRANSPOSE"}
        stays = tuple(text for name, text in rewriter.new.declined.items() if name in left)
        return Result(changed, (f"{before} transpositions became {after}",), stays)


def _moved(graph: Graph) -> int:
    """How many elements are moved by transpositions, and one for each of them."""
    return sum(1 + graph.types[n.outputs[0]].elements for n in graph.nodes if n.op == "TRANSPOSE")


class _Rewriter:
    """One walk over the nodes, in order. What moves is held back in `new`, as views."""

    def __init__(self, graph: Graph) -> None:
        self.old = graph
        self.new = Views(graph)

    def graph(self) -> Graph:
        for node in self.old.nodes:
            self.new.reader = label(node)
            self._node(node)
        self.new.reader = "the model's output"
        renames: dict[str, str] = {}
        for name in self.old.outputs:
            made = self._output(name, renames)
            renames.update({made: name} if made != name else {})
        used = self._used([*renames, *self.old.outputs])
        nodes = [replace(n, inputs=_renamed(n.inputs, renames), outputs=_renamed(n.outputs, renames)) for n in used]
        types = {**self.new.types, **{name: self.old.types[name] for name in renames.values()}}
        return self.old.with_nodes(nodes, types=types, constants=self.new.constants)

    def _used(self, outputs: list[str]) -> list[Node]:
        """The nodes that outputs depend on: what was made of a tensor in two orders may be read in one."""
        wanted, kept = set(outputs), []
        for node in reversed(self.new.nodes):
            if wanted & set(node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
        return kept[::-1]

    def _output(self, name: str, others: Collection[str]) -> str:
        """The tensor of the new graph that is to bear the name of output `name`."""
        view = self.new.view(name)
        made = self.new.materialized(view, name)
        taken = made in others or made in self.new.constants or made in (*self.old.inputs, *self.old.outputs)
        if made == name or not taken:
            return made
        return self.new.emit(
            "RESHAPE", [made, self.new.constant(np.array(view.shape, np.int32), name)], name, view.shape, name
        )

    def _node(self, node: Node) -> None:
        for rewrite in (self._transpose, self._reshape, self._unary, self._several, self._dense, self._ruled):
            if rewrite(node):
                return
        inputs = tuple(
            n if not n or n in self.new.constants else self.new.materialized(self.new.view(n), n) for n in node.inputs
        )
        self.new.nodes.append(replace(node, inputs=inputs))

    def _transpose(self, node: Node) -> bool:
        if node.op != "TRANSPOSE" or node.inputs[0] in self.new.constants:
            return False
        view = self.new.unflattened(node.inputs[0])
        order = compose(view.order, tuple(int(i) for i in self.new.constants[node.inputs[1]].ravel()))
        self.new.views[node.outputs[0]] = View(view.source, order, self.old.types[node.outputs[0]].shape)
        return True

    def _reshape(self, node: Node) -> bool:
        """A view of a transposed tensor: kept as such, and as a transposition of a view where that is the same."""
        if not op_of(node).view or node.inputs[0] in self.new.constants or self.new.straight(node.inputs[0]):
            return False
        view, after = self.new.view(node.inputs[0]), self.old.types[node.outputs[0]].shape
        source = self.new.types[view.source].shape
        moved = reshaped(tuple(source[axis] for axis in view.order), after, view.order)
        if moved is None:
            self.new.views[node.outputs[0]] = replace(view, shape=after)
            return True
        shape, order = moved
        plain = View(view.source, tuple(range(len(source))), shape)
        self.new.views[node.outputs[0]] = View(self.new.materialized(plain, node.inputs[0]), order, after)
        return True

    def _unary(self, node: Node) -> bool:
        if node.op not in UNARY or node.inputs[0] in self.new.constants or self.new.straight(node.inputs[0]):
            return False
        view = self.new.view(node.inputs[0])
        output = self.new.moved_output(node, 0, self.new.types[view.source].shape)
        self.new.nodes.append(replace(node, inputs=(view.source, *node.inputs[1:]), outputs=(output,)))
        self.new.views[node.outputs[0]] = replace(view, source=output)
        return True

    def _ruled(self, node: Node) -> bool:
        """Nodes with one tensor and constants, by the operator's rule."""
        if node.op not in RULES:
            return False
        index, rule = RULES[node.op]
        name, rest = node.inputs[index], [n for i, n in enumerate(node.inputs) if i != index and n]
        if name in self.new.constants or self.new.straight(name) or any(n not in self.new.constants for n in rest):
            return False
        view = self.new.unflattened(name)
        if self.new.straight(name):
            return False
        sunk = rule(call_of(self.old, node), view.order)
        if sunk is None:
            return False
        self._emit_sunk(node, {index: view.source}, sunk)
        return True

    def _emit_sunk(self, node: Node, sources: dict[int, str], sunk: Sunk) -> None:
        inputs = list(node.inputs)
        for index, source in sources.items():
            inputs[index] = source
        for index, value in sunk.constants.items():
            inputs[index] = self.new.constant(value, node.inputs[index], self.new.types[node.inputs[index]])
        outputs = []
        for index, name in enumerate(node.outputs):
            shape = self.old.types[name].shape
            outputs.append(self.new.moved_output(node, index, tuple(shape[i] for i in inverse(sunk.order))))
            self.new.views[name] = View(outputs[-1], sunk.order, shape)
        self.new.nodes.append(replace(node, inputs=tuple(inputs), outputs=tuple(outputs), attrs=sunk.attrs))

    def _several(self, node: Node) -> bool:
        """Elementwise nodes and CONCATENATION: all inputs in the order that costs the fewest moved elements."""
        if node.op not in BINARY and node.op != "CONCATENATION":
            return False
        rank = len(self.old.types[node.outputs[0]].shape)
        variables = [n for n in node.inputs if n not in self.new.constants]
        constants = [n for n in node.inputs if n in self.new.constants]
        by_channel = any(q is not None and q.axis is not None for q in (self.new.types[n].quant for n in constants))
        if by_channel or all(self.new.straight(n) for n in variables):
            return False
        views = {n: self.new.full_rank(n, rank) for n in variables}
        costs = {v.order: sum(self.new.cost(u, v.order) for u in views.values()) for v in views.values()}
        straight = tuple(range(rank))
        costs.setdefault(straight, sum(self.new.cost(u, straight) for u in views.values()))
        order = min(costs, key=lambda o: (costs[o], o == straight))
        if order == straight:
            return False
        sources = {i: self.new.in_order(views, n, order, rank) for i, n in enumerate(node.inputs)}
        self._emit_sunk(node, sources, concatenated(call_of(self.old, node), order) or Sunk(node.attrs, {}, order))
        return True

    def _dense(self, node: Node) -> bool:
        """FULLY_CONNECTED of a flattened transposition: the weights' columns take the order of what lies in memory."""
        if (
            node.op != "FULLY_CONNECTED"
            or node.inputs[1] not in self.new.constants
            or node.inputs[0] in self.new.constants
        ):
            return False
        if self.new.straight(node.inputs[0]):
            return False
        view, weights = self.new.view(node.inputs[0]), self.new.constants[node.inputs[1]]
        places = columns(self.new.types[view.source].shape, view.order, weights.shape[1])
        if places is None:
            return False
        reordered = np.empty_like(weights)
        reordered[:, places] = weights
        flat = View(view.source, tuple(range(len(self.new.types[view.source].shape))), view.shape)
        matrix = self.new.constant(reordered, node.inputs[1], self.new.types[node.inputs[1]])
        self.new.nodes.append(
            replace(node, inputs=(self.new.materialized(flat, node.inputs[0]), matrix, *node.inputs[2:]))
        )
        return True


def _renamed(names: tuple[str, ...], renames: dict[str, str]) -> tuple[str, ...]:
    return tuple(renames.get(name, name) for name in names)

# SPDX-License-Identifier: Apache-2.0
"""Transpositions are pushed towards the outputs, through what does not care about the order of dimensions, and cancel.

Models that keep channels first (ONNX) have one on either side of every image operator once those work on NHWC.

A TRANSPOSE moves over elementwise operators, CONCATENATION, PAD, SLICE, SPLIT, GATHER, reductions and reshapes that
merge nothing but neighbours; the node's axes and constants are reordered in return. Two in a row become one;
one that changes nothing goes; one that moves only dimensions of size 1 is a RESHAPE; and where a FULLY_CONNECTED reads
a flattened one, its weights' columns are reordered instead.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.ops import call_of, op_of
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.sinking import (
    BINARY,
    RULES,
    UNARY,
    Order,
    Sunk,
    columns,
    compose,
    concatenated,
    inverse,
    moves_only_ones,
    regrouping,
    reshaped,
)


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
        stays = tuple(text for name, text in rewriter.declined.items() if name in left)
        return Result(changed, (f"{before} transpositions became {after}",), stays)


def _moved(graph: Graph) -> int:
    """How many elements are moved by transpositions, and one for each of them."""
    return sum(1 + graph.types[n.outputs[0]].elements for n in graph.nodes if n.op == "TRANSPOSE")


@dataclass(frozen=True)
class _View:
    """A tensor of the old graph as RESHAPE(TRANSPOSE(source, order), shape); `source` is a tensor of the new graph."""

    source: str
    order: Order
    shape: tuple[int, ...]


class _Rewriter:
    """One walk over the nodes, in order. `views` says what each tensor of the old graph is in the new one."""

    def __init__(self, graph: Graph) -> None:
        self.old = graph
        self.types: dict[str, TensorType] = dict(graph.types)
        self.constants: dict[str, Array] = dict(graph.constants)
        self.nodes: list[Node] = []
        self.views: dict[str, _View] = {}
        self.made: dict[_View, str] = {}
        self.declined: dict[str, str] = {}
        self.reader = ""

    def graph(self) -> Graph:
        for node in self.old.nodes:
            self.reader = label(node)
            self._node(node)
        self.reader = "the model's output"
        renames: dict[str, str] = {}
        for name in self.old.outputs:
            made = self._output(name, renames)
            renames.update({made: name} if made != name else {})
        used = self._used([*renames, *self.old.outputs])
        nodes = [replace(n, inputs=_renamed(n.inputs, renames), outputs=_renamed(n.outputs, renames)) for n in used]
        types = {**self.types, **{name: self.old.types[name] for name in renames.values()}}
        return self.old.with_nodes(nodes, types=types, constants=self.constants)

    def _used(self, outputs: list[str]) -> list[Node]:
        """The nodes that outputs depend on: what was made of a tensor in two orders may be read in one."""
        wanted, kept = set(outputs), []
        for node in reversed(self.nodes):
            if wanted & set(node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
        return kept[::-1]

    def _output(self, name: str, others: Collection[str]) -> str:
        """The tensor of the new graph that is to bear the name of output `name`."""
        view = self.view(name)
        made = self.materialized(view, name)
        taken = made in others or made in self.constants or made in (*self.old.inputs, *self.old.outputs)
        if made == name or not taken:
            return made
        return self.emit("RESHAPE", [made, self.constant(np.array(view.shape, np.int32), name)], name, view.shape, name)

    # --- tensors -------------------------------------------------------------------------------------------------

    def view(self, name: str) -> _View:
        if name not in self.views:
            shape = self.old.types[name].shape
            self.views[name] = _View(name, tuple(range(len(shape))), shape)
        return self.views[name]

    def fresh(self, name: str) -> str:
        while name in self.types:
            name += "'"
        return name

    def constant(self, value: Array, like: str, origin: TensorType | None = None) -> str:
        name = self.fresh(f"{like}:moved")
        self.types[name] = replace(origin, shape=value.shape) if origin else TensorType(value.shape, DType.of(value))
        self.constants[name] = value
        return name

    def emit(self, op: str, inputs: Sequence[str], like: str, shape: tuple[int, ...], name: str | None = None) -> str:
        """A node that moves a tensor with the type of `like`; its output is called `name`, or something else."""
        output = name or self.fresh(f"{like}:moved")
        self.types[output] = replace(self.old.types[like] if like in self.old.types else self.types[like], shape=shape)
        self.nodes.append(Node(output, op, tuple(inputs), (output,), Attrs()))
        return output

    def materialized(self, view: _View, like: str) -> str:
        """A tensor of the new graph with the elements in the order of `view`."""
        if view in self.made:
            return self.made[view]
        shape = self.types[view.source].shape
        result, moved = view.source, tuple(shape[axis] for axis in view.order)
        if not moves_only_ones(shape, view.order):
            plain = _View(view.source, view.order, moved)
            if plain not in self.made:
                order = self.constant(np.array(view.order, np.int32), like)
                self.made[plain] = self.emit("TRANSPOSE", [view.source, order], like, moved)
                self.declined[self.made[plain]] = (
                    f"TRANSPOSE '{self.made[plain]}' stays: {self.reader} needs this order of dimensions"
                )
            result = self.made[plain]
        if self.types[result].shape != view.shape:
            target = self.constant(np.array(view.shape, np.int32), like)
            result = self.emit("RESHAPE", [result, target], like, view.shape)
        self.made[view] = result
        return result

    # --- nodes ---------------------------------------------------------------------------------------------------

    def _node(self, node: Node) -> None:
        for rewrite in (self._transpose, self._reshape, self._unary, self._several, self._dense, self._ruled):
            if rewrite(node):
                return
        inputs = tuple(n if not n or n in self.constants else self.materialized(self.view(n), n) for n in node.inputs)
        self.nodes.append(replace(node, inputs=inputs))

    def _transpose(self, node: Node) -> bool:
        if node.op != "TRANSPOSE" or node.inputs[0] in self.constants:
            return False
        view = self._unflattened(node.inputs[0])
        order = compose(view.order, tuple(int(i) for i in self.constants[node.inputs[1]].ravel()))
        self.views[node.outputs[0]] = _View(view.source, order, self.old.types[node.outputs[0]].shape)
        return True

    def _reshape(self, node: Node) -> bool:
        """A view of a transposed tensor: kept as such, and as a transposition of a view where that is the same."""
        if not op_of(node).view or node.inputs[0] in self.constants or self._straight(node.inputs[0]):
            return False
        view, after = self.view(node.inputs[0]), self.old.types[node.outputs[0]].shape
        source = self.types[view.source].shape
        moved = reshaped(tuple(source[axis] for axis in view.order), after, view.order)
        if moved is None:
            self.views[node.outputs[0]] = replace(view, shape=after)
            return True
        shape, order = moved
        plain = _View(view.source, tuple(range(len(source))), shape)
        self.views[node.outputs[0]] = _View(self.materialized(plain, node.inputs[0]), order, after)
        return True

    def _straight(self, name: str) -> bool:
        """Whether the tensor is in the new graph as it was in the old one."""
        view = self.view(name)
        return view.order == tuple(range(len(view.order))) and self.types[view.source].shape == view.shape

    def _unflattened(self, name: str) -> _View:
        """The tensor's view without a reshape after the transposition: as much of both is done as has to be."""
        view = self.view(name)
        source = self.types[view.source].shape
        before = tuple(source[axis] for axis in view.order)
        if view.shape != before:
            needed = regrouping(before, view.shape, view.order)
            moved = self.materialized(_View(view.source, needed, tuple(source[axis] for axis in needed)), name)
            found = reshaped(before, view.shape, tuple(needed.index(axis) for axis in view.order))
            assert found is not None
            plain = _View(moved, tuple(range(len(needed))), found[0])
            self.views[name] = _View(self.materialized(plain, name), found[1], view.shape)
        return self.views[name]

    def _unary(self, node: Node) -> bool:
        if node.op not in UNARY or node.inputs[0] in self.constants or self._straight(node.inputs[0]):
            return False
        view = self.view(node.inputs[0])
        output = self._moved_output(node, 0, self.types[view.source].shape)
        self.nodes.append(replace(node, inputs=(view.source, *node.inputs[1:]), outputs=(output,)))
        self.views[node.outputs[0]] = replace(view, source=output)
        return True

    def _moved_output(self, node: Node, index: int, shape: tuple[int, ...]) -> str:
        name = self.fresh(f"{node.outputs[index]}:moved")
        self.types[name] = replace(self.old.types[node.outputs[index]], shape=shape)
        return name

    def _ruled(self, node: Node) -> bool:
        """Nodes with one tensor and constants, by the operator's rule."""
        if node.op not in RULES:
            return False
        index, rule = RULES[node.op]
        name, rest = node.inputs[index], [n for i, n in enumerate(node.inputs) if i != index and n]
        if name in self.constants or self._straight(name) or any(n not in self.constants for n in rest):
            return False
        view = self._unflattened(name)
        if self._straight(name):
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
            inputs[index] = self.constant(value, node.inputs[index], self.types[node.inputs[index]])
        outputs = []
        for index, name in enumerate(node.outputs):
            shape = self.old.types[name].shape
            outputs.append(self._moved_output(node, index, tuple(shape[i] for i in inverse(sunk.order))))
            self.views[name] = _View(outputs[-1], sunk.order, shape)
        self.nodes.append(replace(node, inputs=tuple(inputs), outputs=tuple(outputs), attrs=sunk.attrs))

    def _several(self, node: Node) -> bool:
        """Elementwise nodes and CONCATENATION: all inputs in the order that costs the fewest moved elements."""
        if node.op not in BINARY and node.op != "CONCATENATION":
            return False
        rank = len(self.old.types[node.outputs[0]].shape)
        variables = [n for n in node.inputs if n not in self.constants]
        constants = [n for n in node.inputs if n in self.constants]
        by_channel = any(q is not None and q.axis is not None for q in (self.types[n].quant for n in constants))
        if by_channel or all(self._straight(n) for n in variables):
            return False
        views = {n: self._full_rank(n, rank) for n in variables}
        costs = {v.order: sum(self._cost(u, v.order) for u in views.values()) for v in views.values()}
        straight = tuple(range(rank))
        costs.setdefault(straight, sum(self._cost(u, straight) for u in views.values()))
        order = min(costs, key=lambda o: (costs[o], o == straight))
        if order == straight:
            return False
        sources = {i: self._in_order(views, n, order, rank) for i, n in enumerate(node.inputs)}
        self._emit_sunk(node, sources, concatenated(call_of(self.old, node), order) or Sunk(node.attrs, {}, order))
        return True

    def _full_rank(self, name: str, rank: int) -> _View:
        """The tensor's view with as many dimensions as the node's output, and no reshape after the transposition."""
        view = self._unflattened(name)
        missing = rank - len(view.shape)
        if not missing:
            return view
        shape = (1,) * missing + view.shape
        plain = replace(view, shape=shape) if view.order == tuple(range(len(view.shape))) else view
        return _View(self.materialized(replace(plain, shape=shape), name), tuple(range(rank)), shape)

    def _cost(self, view: _View, order: Order) -> int:
        """How many elements have to be moved so that transposing by `order` gives what `view` is."""
        needed = compose(view.order, inverse(order))
        shape = self.types[view.source].shape
        made = _View(view.source, needed, tuple(shape[axis] for axis in needed)) in self.made
        return 0 if made or moves_only_ones(shape, needed) else self.types[view.source].elements

    def _in_order(self, views: dict[str, _View], name: str, order: Order, rank: int) -> str:
        """Input `name` such that transposing it by `order` gives what it was."""
        if name in self.constants:
            value = self.constants[name]
            if value.size == 1 and len(order) != value.ndim:
                return name
            full = value.reshape((1,) * (rank - value.ndim) + value.shape)
            return self.constant(np.ascontiguousarray(full.transpose(inverse(order))), name, self.types[name])
        view = views[name]
        shape, needed = self.types[view.source].shape, compose(view.order, inverse(order))
        return self.materialized(_View(view.source, needed, tuple(shape[axis] for axis in needed)), name)

    def _dense(self, node: Node) -> bool:
        """FULLY_CONNECTED of a flattened transposition: the weights' columns take the order of what lies in memory."""
        if node.op != "FULLY_CONNECTED" or node.inputs[1] not in self.constants or node.inputs[0] in self.constants:
            return False
        if self._straight(node.inputs[0]):
            return False
        view, weights = self.view(node.inputs[0]), self.constants[node.inputs[1]]
        places = columns(self.types[view.source].shape, view.order, weights.shape[1])
        if places is None:
            return False
        reordered = np.empty_like(weights)
        reordered[:, places] = weights
        flat = _View(view.source, tuple(range(len(self.types[view.source].shape))), view.shape)
        matrix = self.constant(reordered, node.inputs[1], self.types[node.inputs[1]])
        self.nodes.append(replace(node, inputs=(self.materialized(flat, node.inputs[0]), matrix, *node.inputs[2:])))
        return True


def _renamed(names: tuple[str, ...], renames: dict[str, str]) -> tuple[str, ...]:
    return tuple(renames.get(name, name) for name in names)

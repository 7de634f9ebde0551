# SPDX-License-Identifier: Apache-2.0
"""The tensors of a graph that is written anew with transpositions held back: each is a view of one of the new graph.

A view becomes a tensor (a TRANSPOSE, a RESHAPE, or both) when somebody needs its elements in their order; each at most
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.passes.sinking import Order, compose, inverse, moves_only_ones, regrouping, reshaped


@dataclass(frozen=True)
class View:
    """A tensor of the old graph as RESHAPE(TRANSPOSE(source, order), shape); `source` is a tensor of the new graph."""

    source: str
    order: Order
    shape: tuple[int, ...]


class Views:
    """What each tensor of `old` is in the new graph, whose types, constants and nodes grow here."""

    def __init__(self, old: Graph) -> None:
        self.old = old
        self.types: dict[str, TensorType] = dict(old.types)
        self.constants: dict[str, Array] = dict(old.constants)
        self.nodes: list[Node] = []
        self.views: dict[str, View] = {}
        self.made: dict[View, str] = {}
        self.declined: dict[str, str] = {}
        self.reader = ""

    def view(self, name: str) -> View:
        if name not in self.views:
            shape = self.old.types[name].shape
            self.views[name] = View(name, tuple(range(len(shape))), shape)
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

    def materialized(self, view: View, like: str) -> str:
        """A tensor of the new graph with the elements in the order of `view`."""
        if view in self.made:
            return self.made[view]
        shape = self.types[view.source].shape
        result, moved = view.source, tuple(shape[axis] for axis in view.order)
        if not moves_only_ones(shape, view.order):
            plain = View(view.source, view.order, moved)
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

    def straight(self, name: str) -> bool:
        """Whether the tensor is in the new graph as it was in the old one."""
        view = self.view(name)
        return view.order == tuple(range(len(view.order))) and self.types[view.source].shape == view.shape

    def unflattened(self, name: str) -> View:
        """The tensor's view without a reshape after the transposition: as much of both is done as has to be."""
        view = self.view(name)
        source = self.types[view.source].shape
        before = tuple(source[axis] for axis in view.order)
        if view.shape != before:
            needed = regrouping(before, view.shape, view.order)
            moved = self.materialized(View(view.source, needed, tuple(source[axis] for axis in needed)), name)
            found = reshaped(before, view.shape, tuple(needed.index(axis) for axis in view.order))
            assert found is not None
            plain = View(moved, tuple(range(len(needed))), found[0])
            self.views[name] = View(self.materialized(plain, name), found[1], view.shape)
        return self.views[name]

    def moved_output(self, node: Node, index: int, shape: tuple[int, ...]) -> str:
        name = self.fresh(f"{node.outputs[index]}:moved")
        self.types[name] = replace(self.old.types[node.outputs[index]], shape=shape)
        return name

    def full_rank(self, name: str, rank: int) -> View:
        """The tensor's view with as many dimensions as the node's output, and no reshape after the transposition."""
        view = self.unflattened(name)
        missing = rank - len(view.shape)
        if not missing:
            return view
        shape = (1,) * missing + view.shape
        plain = replace(view, shape=shape) if view.order == tuple(range(len(view.shape))) else view
        return View(self.materialized(replace(plain, shape=shape), name), tuple(range(rank)), shape)

    def cost(self, view: View, order: Order) -> int:
        """How many elements have to be moved so that transposing by `order` gives what `view` is."""
        needed = compose(view.order, inverse(order))
        shape = self.types[view.source].shape
        made = View(view.source, needed, tuple(shape[axis] for axis in needed)) in self.made
        return 0 if made or moves_only_ones(shape, needed) else self.types[view.source].elements

    def in_order(self, views: dict[str, View], name: str, order: Order, rank: int) -> str:
        """Input `name` such that transposing it by `order` gives what it was."""
        if name in self.constants:
            value = self.constants[name]
            if value.size == 1 and len(order) != value.ndim:
                return name
            full = value.reshape((1,) * (rank - value.ndim) + value.shape)
            return self.constant(np.ascontiguousarray(full.transpose(inverse(order))), name, self.types[name])
        view = views[name]
        shape, needed = self.types[view.source].shape, compose(view.order, inverse(order))
        return self.materialized(View(view.source, needed, tuple(shape[axis] for axis in needed)), name)

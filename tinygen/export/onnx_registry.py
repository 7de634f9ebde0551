# SPDX-License-Identifier: Apache-2.0
"""Which function writes which operator as ONNX, and what those for several inputs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygen.export.onnx_writer import Order, Writer
from tinygen.ir.graph import Node

#: Writes the nodes that stand for a node of the graph.
Emitter = Callable[[Writer, Any], None]

_EMITTERS: dict[str, Emitter] = {}


def writes(*names: str) -> Callable[[Emitter], Emitter]:
    """Register a function for these operators."""

    def register(emitter: Emitter) -> Emitter:
        _EMITTERS.update(dict.fromkeys(names, emitter))
        return emitter

    return register


def emitters() -> Mapping[str, Emitter]:
    """Every operator's function, of the modules that have been imported."""
    return _EMITTERS


def shared_order(w: Writer, node: Node, inputs: Sequence[str] = ()) -> Order:
    """An order in which the inputs can be joined: that of the first which was computed in another than its own."""
    rank = w.rank(node.outputs[0])
    variables = [n for n in inputs or node.inputs if n not in w.graph.constants]
    straight = tuple(range(rank))
    if any(w.rank(n) != rank for n in variables):
        return straight
    return next((w.order(n) for n in variables if w.order(n) != straight), straight)


def operand(w: Writer, name: str, order: Order) -> str:
    """Input `name` in `order`, of as many dimensions where it is constant."""
    if w.rank(name) == len(order):
        return w.read(name, order)
    return w.spread(name, order) if name in w.graph.constants else w.read(name)

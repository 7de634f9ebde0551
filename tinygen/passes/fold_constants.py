# SPDX-License-Identifier: Apache-2.0
"""Nodes whose inputs are all known, and shapes, are computed now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops import Call, all_ops, call_of, check_float_node, check_node
from tinygen.ops.supposed import is_float
from tinygen.passes.base import Keeps, Result, label, work

#: Operators whose result depends on the type of their input only.
_STATIC = frozenset({"SHAPE"})

#: The work (see `passes.base.work`) of all nodes that are folded: about a second.
MAX_FOLDED = 1 << 28


@dataclass(frozen=True)
class FoldConstants:
    """Replace every node that does not depend on the model's input by its value; `in_float`: in a float model."""

    name: str = "fold-constants"
    keeps: Keeps = Keeps.BITS
    in_float: bool = False

    def run(self, graph: Graph) -> Result:
        constants: dict[str, Array] = dict(graph.constants)
        nodes, done, spent = [], [], 0
        for node in graph.nodes:
            known = all(not n or n in constants for n in node.inputs)
            if not known and node.op not in _STATIC:
                nodes.append(node)
                continue
            folded = Graph(graph.name, graph.inputs, (), (), graph.types, constants)
            (check_float_node if self.in_float else check_node)(folded, node)
            spent += work(graph, [node])
            if spent > MAX_FOLDED:
                raise UnsupportedError(
                    f"node '{node.name}' ({node.op}) depends on constants alone, and this is too much to compute at "
                    "build time: store its result in the model instead"
                )
            values = self._values(call_of(folded, node), [constants.get(n) for n in node.inputs])
            for name, value in zip(node.outputs, values, strict=True):
                constants[name] = value.astype(graph.types[name].dtype.numpy).reshape(graph.types[name].shape)
            done.append(f"{label(node)} is constant")
        return Result(graph.with_nodes(nodes, constants=constants) if done else graph, tuple(done))

    def _values(self, call: Call[Any], inputs: Sequence[Array | None]) -> Sequence[Array]:
        op = all_ops()[call.op]
        if self.in_float and is_float(call):
            return op.real(call, [None if v is None else v.astype(np.float64) for v in inputs])
        return op.reference(call, inputs)

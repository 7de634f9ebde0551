# SPDX-License-Identifier: Apache-2.0
"""Nodes that no output depends on are dropped."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.ir.graph import Graph
from tinygen.passes.base import Keeps, Result, label


@dataclass(frozen=True)
class RemoveDead:
    """Drop nodes none of whose outputs is used."""

    name: str = "remove-dead"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        wanted = set(graph.outputs)
        kept, done = [], []
        for node in reversed(graph.nodes):
            if wanted & set(node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
            else:
                done.append(f"{label(node)} is not used")
        return Result(graph.with_nodes(kept[::-1]) if done else graph, tuple(done))

# SPDX-License-Identifier: Apache-2.0
"""Where a network can be cut: how long its tensors live, by the numbers of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tinygen.ir.graph import Graph
from tinygen.ops import op_of


@dataclass(frozen=True)
class Lives:
    """From which node of `graph` on a tensor is there, and up to which it is needed; views are what they show."""

    graph: Graph

    @cached_property
    def root(self) -> dict[str, str]:
        """The tensor whose bytes a tensor has; constants are not among them."""
        root = {name: name for name in self.graph.inputs}
        for node in self.graph.nodes:
            view = op_of(node).view and node.inputs[0] in root
            root.update({name: root[node.inputs[0]] if view else name for name in node.outputs})
        return root

    @cached_property
    def born(self) -> dict[str, int]:
        """The number of the node that makes each tensor that is no view; -1 for inputs."""
        born = {name: -1 for name in self.graph.inputs}
        return born | {n: i for i, node in enumerate(self.graph.nodes) for n in node.outputs if self.root[n] == n}

    @cached_property
    def last(self) -> dict[str, int]:
        """The number of the last node that reads each of `born`; that after the last node for outputs, -1 for none."""
        last = dict.fromkeys(self.born, -1)
        for i, node in enumerate(self.graph.nodes):
            last |= {self.root[name]: i for name in node.inputs if name in self.root}
        return last | {self.root[name]: len(self.graph.nodes) for name in self.graph.outputs if name in self.root}

    def alive(self, at: int) -> list[str]:
        """The tensors that are there before node number `at`, and that it or a later one needs."""
        return [name for name, born in self.born.items() if born < at <= self.last[name]]

    @cached_property
    def cuts(self) -> list[int]:
        """Numbers of nodes before which one tensor alone is alive, and that after the last."""
        count = len(self.graph.nodes)
        return [0, *(i for i in range(1, count) if len(self.alive(i)) == 1), count]

    def closed(self, start: int, end: int) -> bool:
        """Whether of all that nodes `start` up to `end` make, what the last one makes alone is needed afterwards."""
        inner = (name for node in self.graph.nodes[start : end - 1] for name in node.outputs)
        return all(self.last.get(name, end) < end for name in inner)

# SPDX-License-Identifier: Apache-2.0
"""Graph → Graph: the same nodes in the order that keeps the fewest bytes alive."""

from __future__ import annotations

from tinygen.ir.graph import Graph
from tinygen.ops import op_of
from tinygen.plan.schedule import Task, order


def in_best_order(graph: Graph) -> Graph:
    """`graph` with its nodes reordered if that lowers the peak of live bytes; otherwise as it is.

    A view owns no bytes: reading it keeps alive what it is a view of.
    """
    root = {name: name for name in graph.inputs}
    sizes = {name: graph.types[name].bytes for name in graph.inputs}
    tasks = []
    for node in graph.nodes:
        is_view = op_of(node).view and node.inputs[0] in root
        for name in node.outputs:
            root[name] = root[node.inputs[0]] if is_view else name
            sizes[name] = 0 if is_view else graph.types[name].bytes
        known = [name for name in node.inputs if name in root]
        reads = dict.fromkeys([*known, *(root[name] for name in known)])
        tasks.append(Task(node.outputs[0], tuple(reads), node.outputs))
    keep = {root[name] for name in graph.outputs if name in root}
    best = order(tasks, sizes, keep)
    return graph if best == tuple(range(len(tasks))) else graph.with_nodes([graph.nodes[i] for i in best])

# SPDX-License-Identifier: Apache-2.0
"""Graph → Graph: the same nodes in the order that keeps the fewest bytes alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.ir.graph import Graph, Node
from tinygen.ops import op_of
from tinygen.plan.schedule import Task, order


@dataclass(frozen=True)
class Use:
    """What a node needs besides its tensors: `scratch` bytes; `saved`, by input, if its output lies over that one."""

    scratch: int
    saved: Mapping[int, int]


NOTHING = Use(0, MappingProxyType({}))


def in_best_order(graph: Graph, uses: Mapping[str, Use] = MappingProxyType({})) -> Graph:
    """`graph` with its nodes reordered if that lowers the peak of live bytes; otherwise as it is.

    A view owns no bytes: reading it keeps alive what it is a view of. `uses` is by a node's first output.
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
        use = uses.get(node.outputs[0], NOTHING)
        tasks.append(Task(node.outputs[0], tuple(reads), node.outputs, use.scratch, _overlays(node, use, root)))
    keep = {root[name] for name in graph.outputs if name in root}
    best = order(tasks, sizes, keep)
    return graph if best == tuple(range(len(tasks))) else graph.with_nodes([graph.nodes[i] for i in best])


def _overlays(node: Node, use: Use, root: Mapping[str, str]) -> dict[str, int]:
    """The bytes saved, by what the inputs are views of; an input that is read twice counts for nothing."""
    roots = [root.get(name) for name in node.inputs]
    found = {name: use.saved[i] for i, name in enumerate(roots) if name is not None and i in use.saved}
    return {name: saved for name, saved in found.items() if roots.count(name) == 1}

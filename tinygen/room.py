# SPDX-License-Identifier: Apache-2.0
"""How many bytes of memory are in use while a node runs, and how many are worth the instructions that they save."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir.graph import Graph, Node
from tinygen.kernels import Kernel, Launch
from tinygen.ops import op_of
from tinygen.ops.base import Call


@dataclass(frozen=True)
class Live:
    """What lives while a node runs: `bytes` of tensors, and its inputs (indices) that nothing needs afterwards."""

    bytes: int
    dying: frozenset[int]

    def need(self, kernel: Kernel, call: Call[Any], launches: Sequence[Launch]) -> int:
        """Bytes in use while `kernel` computes the node, with its scratch memory, if its output overlaps an input."""
        scratch = sum(launch.scratch for launch in launches)
        saved = savings(kernel, call, launches)
        return self.bytes + scratch - max((saved[i] for i in self.dying & saved.keys()), default=0)


def savings(kernel: Kernel, call: Call[Any], launches: Sequence[Launch]) -> dict[int, int]:
    """By input, how many bytes fewer a node takes if its output lies over that input, as far as `kernel` allows."""
    if len(launches) != 1 or len(call.outputs) != 1:
        return {}
    output, saved = call.output.bytes, {}
    for i, room in kernel.overlap(call, launches[0]).items():
        source = call.input(i).bytes
        saved[i] = max(0, source + output - max(source - (room.below or 0), output))
    return saved


def runs(graph: Graph, node: Node) -> bool:
    """Whether anything runs for `node`: a view of something that exists at run time costs nothing."""
    return not op_of(node).view or node.inputs[0] in graph.constants


def living(graph: Graph) -> dict[str, Live]:
    """For each node that runs, by its first output, what lives meanwhile, in the graph's order.

    A view is the tensor that it shows.
    """
    of = {name: name for name in graph.types}
    for node in graph.nodes:
        if not runs(graph, node):
            of[node.outputs[0]] = of[node.inputs[0]]
    born = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
    dead = {of[name]: i for i, node in enumerate(graph.nodes) for name in (*node.outputs, *node.inputs) if name}
    dead |= {of[name]: len(graph.nodes) for name in graph.outputs}
    spans = [(born.get(name, -1), dead[name], graph.types[name].bytes) for name in dead if name not in graph.constants]
    result = {}
    for at, node in enumerate(graph.nodes):
        if runs(graph, node):
            variable = {i: of[name] for i, name in enumerate(node.inputs) if name and name not in graph.constants}
            dying = frozenset(i for i, name in variable.items() if dead[name] == at)
            alive = sum(size for first, last, size in spans if first <= at <= last)
            result[node.outputs[0]] = Live(alive, dying)
    return result


def live_bytes(graph: Graph) -> dict[str, int]:
    """For each node that runs, by its first output, the bytes of tensors that live meanwhile."""
    return {name: live.bytes for name, live in living(graph).items()}


@dataclass(frozen=True)
class Worth:
    """What memory is worth: a peak that is 1 % higher has to save `weight` % of the instructions.

    Never more than `slower` times the instructions of the fastest kernels are taken for less memory.
    """

    weight: float
    slower: float = 1.1

    def best(self, ways: Sequence[tuple[int, float]]) -> int:
        """The index of the best of `ways`: (peak in bytes, instructions)."""
        fastest = min(work for _, work in ways)
        able = [i for i, (_, work) in enumerate(ways) if work <= self.slower * fastest]
        return min(able, key=lambda i: math.log(max(ways[i][1], 1)) + self.weight * math.log(max(ways[i][0], 1)))

    def peak(self, table: Mapping[str, Sequence[tuple[int, float]]]) -> int:
        """The best peak; `table` has for each node (bytes in use, instructions) of each way to compute it."""
        least = max((min(need for need, _ in ways) for ways in table.values()), default=0)
        peaks = sorted({least, *(need for ways in table.values() for need, _ in ways if need >= least)})
        works = [sum(min(work for n, work in ways if n <= peak) for ways in table.values()) for peak in peaks]
        return peaks[self.best(list(zip(peaks, works, strict=True)))]

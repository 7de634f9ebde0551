# SPDX-License-Identifier: Apache-2.0
"""What a pass is, and the runner that holds it to its promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.ops import call_of, op_of
from tinygen.reference import run


class Keeps(Enum):
    """What a pass promises to leave unchanged."""

    BITS = "bits"
    ACCURACY = "accuracy"


@dataclass(frozen=True)
class Result:
    """What a pass made of a graph, and a line for each rewrite that it did, or could not do and why."""

    graph: Graph
    done: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()


class Pass(Protocol):
    """A rewrite of a whole graph: a frozen dataclass of settings."""

    @property
    def name(self) -> str: ...

    @property
    def keeps(self) -> Keeps: ...

    def run(self, graph: Graph) -> Result: ...


@dataclass(frozen=True)
class Outcome:
    """One pass as the runner saw it: sizes before and after, and the pass's own lines."""

    name: str
    done: tuple[str, ...]
    declined: tuple[str, ...]
    constant_bytes: tuple[int, int]
    macs: tuple[int, int]


#: The work (see `work`) of graphs that are compared: a few seconds.
MAX_COMPARED = 1 << 29
#: What one element of an elementwise operator costs in numpy, in multiply-accumulates of a convolution.
ELEMENT_COST = 200


class BrokenPassError(AssertionError):
    """A pass that promised to keep every bit did not: a bug in tinygen."""


def run_passes(graph: Graph, passes: Sequence[Pass], seed: int = 0) -> tuple[Graph, tuple[Outcome, ...]]:
    """Apply `passes` in order. What BITS passes made of the graph is compared with it, on random input."""
    outcomes = []
    before, changed = graph, list[tuple[str, Graph]]()
    for step in passes:
        result = step.run(graph)
        if _ports(result.graph) != _ports(graph):
            raise BrokenPassError(f"pass '{step.name}' changed the inputs or outputs that the model has")
        if result.done and step.keeps is Keeps.BITS:
            changed.append((step.name, result.graph))
        elif result.done:
            _compare(before, changed, seed)
            before, changed = result.graph, []
        outcomes.append(
            Outcome(
                step.name,
                result.done,
                result.declined,
                (constant_bytes(graph), constant_bytes(result.graph)),
                (macs(graph), macs(result.graph)),
            )
        )
        graph = result.graph
    _compare(before, changed, seed)
    return graph, tuple(outcomes)


def _compare(before: Graph, changed: Sequence[tuple[str, Graph]], seed: int) -> None:
    """Raise unless the last of the graphs that passes made, by the pass's name, answers as the graph before them."""
    if not changed or work(before, before.nodes) > MAX_COMPARED:
        return
    inputs = random_inputs(before, seed)
    expected = _answers(before, inputs)
    if _answers(changed[-1][1], inputs) != expected:
        name = next(name for name, graph in changed if _answers(graph, inputs) != expected)
        raise BrokenPassError(f"pass '{name}' changed an output of the model")


def _ports(graph: Graph) -> list[tuple[str, TensorType]]:
    return [(name, graph.types[name]) for name in (*graph.inputs, *graph.outputs)]


def _answers(graph: Graph, inputs: Sequence[Array]) -> list[bytes]:
    return [output.tobytes() for output in run(graph, inputs)]


def work(graph: Graph, nodes: Sequence[Node]) -> int:
    """What running `nodes` of `graph` in numpy costs, roughly, in multiply-accumulates of a convolution."""
    multiplied = sum(op_of(node).macs(call_of(graph, node)) for node in nodes)
    return multiplied + ELEMENT_COST * sum(graph.types[n].elements for node in nodes for n in node.outputs)


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    """One seeded random value for each input: see `random_value`."""
    rng = np.random.default_rng(seed)
    return [random_value(graph.types[name], rng) for name in graph.inputs]


def random_value(tensor: TensorType, rng: np.random.Generator) -> Array:
    """A random array: 8-bit integers over their whole range, wide ones small (they may be indices), floats normal."""
    if tensor.dtype is DType.FLOAT32:
        return rng.standard_normal(tensor.shape).astype(np.float32)
    if tensor.dtype is DType.BOOL:
        return rng.integers(0, 2, tensor.shape).astype(np.bool_)
    low, high = tensor.dtype.limits if tensor.dtype.bytes == 1 else (0, 7)
    return rng.integers(low, high, tensor.shape, endpoint=True).astype(tensor.dtype.numpy)


def constant_bytes(graph: Graph) -> int:
    """Bytes of all constants in the graph."""
    return sum(graph.types[name].bytes for name in graph.constants)


def macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference."""
    return sum(op_of(node).macs(call_of(graph, node)) for node in graph.nodes)


def label(node: Node) -> str:
    """How the lines of passes name a node."""
    return f"{node.op} '{node.name}'"

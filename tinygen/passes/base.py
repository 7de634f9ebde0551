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


class BrokenPassError(AssertionError):
    """A pass that promised to keep every bit did not: a bug in tinygen."""


def run_passes(graph: Graph, passes: Sequence[Pass], seed: int = 0) -> tuple[Graph, tuple[Outcome, ...]]:
    """Apply `passes` in order. After each BITS pass that changed something, both graphs run on random input."""
    outcomes = []
    inputs = random_inputs(graph, seed)
    expected: tuple[Array, ...] | None = None
    for step in passes:
        result = step.run(graph)
        if result.done and step.keeps is Keeps.BITS:
            expected = run(graph, inputs) if expected is None else expected
            _compare(step.name, expected, run(result.graph, inputs))
        elif result.done:
            expected = None
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
    return graph, tuple(outcomes)


def _compare(name: str, expected: Sequence[Array], got: Sequence[Array]) -> None:
    for index, (a, b) in enumerate(zip(expected, got, strict=True)):
        if a.tobytes() != b.tobytes():
            raise BrokenPassError(f"pass '{name}' changed output {index} of the model")


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    """One seeded random value for each input: integers over their whole range, floats standard normal."""
    rng = np.random.default_rng(seed)
    return [random_value(graph.types[name], rng) for name in graph.inputs]


def random_value(tensor: TensorType, rng: np.random.Generator) -> Array:
    """A random array of `tensor`'s shape and type."""
    if tensor.dtype is DType.FLOAT32:
        return rng.standard_normal(tensor.shape).astype(np.float32)
    if tensor.dtype is DType.BOOL:
        return rng.integers(0, 2, tensor.shape).astype(np.bool_)
    low, high = tensor.dtype.limits if tensor.dtype.bytes == 1 else (-128, 127)
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

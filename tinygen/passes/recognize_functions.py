# SPDX-License-Identifier: Apache-2.0
"""Functions of one value that a float model spells out become the operators that they are.

Exporters write GELU as a product with 1 + erf(x / sqrt(2)), HARD_SWISH as x times a clamp, SILU as x times a sigmoid,
each in several ways. In int8 every step of that would be rounded; the operator is rounded once. What the nodes compute
decides, not how they are put together: they are evaluated at many points and compared with the known functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import DType, Real
from tinygen.ops import all_ops, call_of
from tinygen.ops.gelu import GeluAttrs
from tinygen.ops.hard_sigmoid import HardSigmoidAttrs
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.sinking import BINARY, UNARY
from tinygen.reference import run_real

#: Where functions are compared: densely about 0, where they bend, and far away.
POINTS = np.concatenate([np.linspace(-8, 8, 641), [-100.0, -30.0, 30.0, 100.0]])
#: How far apart they may be, next to 1 or to their own size: exporters write sqrt(2) with few digits.
TOLERANCE = 1e-5
#: The longest spelling that is looked for.
MAX_NODES = 12

#: Where a model says these, it means a rounding.
_CONVERSIONS = frozenset({"CAST", "DEQUANTIZE", "LOOKUP", "QUANTIZE"})

_KNOWN: tuple[tuple[str, Attrs], ...] = (
    ("HARD_SWISH", Attrs()),
    ("SILU", Attrs()),
    ("GELU", GeluAttrs()),
    ("GELU", GeluAttrs(approximate=True)),
)


@dataclass(frozen=True)
class RecognizeFunctions:
    """Put one node in place of several float nodes that together are a known function of one tensor."""

    name: str = "recognize-functions"
    keeps: Keeps = Keeps.ACCURACY

    def run(self, graph: Graph) -> Result:
        done = []
        for last in reversed(graph.nodes):
            if last not in graph.nodes:
                continue
            candidates = [(source, nodes, _recognized(graph, source, nodes)) for source, nodes in _regions(graph, last)]
            for source, nodes, (op, attrs) in [(s, n, found) for s, n, found in candidates if found][-1:]:
                one = replace(last, op=op, inputs=(source,), attrs=attrs)
                graph = graph.with_nodes([one if n is last else n for n in graph.nodes if n is last or n not in nodes])
                done.append(f"{', '.join(label(n) for n in nodes)} are {op}")
        return Result(graph, tuple(done))


def _regions(graph: Graph, last: Node) -> Iterator[tuple[str, tuple[Node, ...]]]:
    """Nodes that end with `last`, feed nothing else, and read one tensor; the more, the later."""
    nodes: list[Node] = []
    waiting: list[Node] = [last] if _elementwise(graph, last) else []
    while waiting and len(nodes) < MAX_NODES:
        nodes.append(waiting[0])
        produced = {name for n in nodes for name in n.outputs}
        read = {name for n in nodes for name in n.inputs if name not in graph.constants} - produced
        if len(read) == 1 and len(nodes) > 1:
            (source,) = read
            if graph.types[source].shape == graph.types[last.outputs[0]].shape:
                yield source, tuple(n for n in graph.nodes if n in nodes)
        producers = (graph.producer(name) for name in sorted(read))
        waiting = [n for n in producers if n is not None and _absorbable(graph, n, nodes)]


def _absorbable(graph: Graph, node: Node, nodes: list[Node]) -> bool:
    """Whether `node` computes an element from an element, for nobody but `nodes`."""
    target = node.outputs[0]
    only = all(reader in nodes for reader in graph.consumers(target)) and not graph.is_output(target)
    return only and _elementwise(graph, node)


def _elementwise(graph: Graph, node: Node) -> bool:
    """Whether `node` is a float function of elements in the same place, and of constants of one element."""
    known = node.op in UNARY | BINARY and node.op not in _CONVERSIONS
    if not known or any(graph.types[n].dtype is not DType.FLOAT32 for n in node.inputs):
        return False
    shape = graph.types[node.outputs[0]].shape
    return all(
        graph.types[n].elements == 1 if n in graph.constants else graph.types[n].shape == shape for n in node.inputs
    )


def _recognized(graph: Graph, source: str, nodes: tuple[Node, ...]) -> tuple[str, Attrs] | None:
    """The operator that computes what `nodes` do with `source`."""
    values = _evaluated(graph, source, nodes)
    zero, slope = (
        float(values[POINTS == 0][0]),
        float(np.interp(0.025, POINTS, values) - np.interp(0, POINTS, values)) / 0.025,
    )
    for op, attrs in (*_KNOWN, ("HARD_SIGMOID", HardSigmoidAttrs(_short(slope), _short(zero)))):
        call: Any = replace(call_of(graph, nodes[-1]), op=op, attrs=attrs)
        with np.errstate(all="ignore"):
            expected = all_ops()[op].real(call, [POINTS])[0]
        if np.all(np.abs(values - expected) <= TOLERANCE * np.maximum(1, np.abs(expected))):
            return op, attrs
    return None


def _short(value: float) -> float:
    """Without the noise of float32 constants."""
    return float(f"{value:.6g}")


def _evaluated(graph: Graph, source: str, nodes: tuple[Node, ...]) -> Real:
    """What `nodes` make of `POINTS`."""
    flat = {
        name: replace(kind, shape=POINTS.shape) for name, kind in graph.types.items() if name not in graph.constants
    }
    constants = {n: graph.constants[n].reshape(()) for node in nodes for n in node.inputs if n in graph.constants}
    types = {**flat, **{n: replace(graph.types[n], shape=()) for n in constants}}
    part = Graph("part", (source,), nodes[-1].outputs, nodes, types, constants)
    with np.errstate(all="ignore"):
        return np.asarray(run_real(part, [POINTS])[part.outputs[0]], dtype=np.float64)

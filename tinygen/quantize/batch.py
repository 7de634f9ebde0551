"""Running a graph on many samples at once: operators that treat the first dimension as a batch get all of them in it.

Whatever else there is runs sample by sample, so that every graph can be run. Values are arrays [samples, *shape].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, TensorType
from tinygen.ops import Call, all_ops, call_of, op_of
from tinygen.ops.convolution import OPERANDS

#: Operators whose outputs at index i of the first dimension follow from their inputs there: those with weights, those
#: on windows and rows, and (as do all that are `Op.pointwise`) those on single elements.
LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
WINDOWS = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX", "LOG_SOFTMAX"})
ELEMENTS = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "QUANTIZE"})
#: Elements that a node gets at a time: what its operator copies for it (a window's taps) should fit a cache.
PIECE = 1 << 16
#: Elements of all tensors of a graph that `pieces` holds at a time (256 MiB of float64).
HELD = 1 << 25
#: The same of what `few` returns, and of how many samples that is at least.
FEW, FEWEST = 1 << 22, 8

Values = dict[str, Array]


def start(graph: Graph, samples: Sequence[Sequence[Array]]) -> Values:
    """The inputs of `graph` on all `samples`; float64 if the graph is a float one."""
    kind = np.float64 if in_float(graph) else None
    return {n: np.stack([np.asarray(s[i], kind) for s in samples]) for i, n in enumerate(graph.inputs)}


def in_float(graph: Graph) -> bool:
    """Whether `graph` computes in real numbers (`Op.real`), not in integers (`Op.reference`)."""
    return all(t.quant is None for name, t in graph.types.items() if name not in graph.constants)


def run_batch(graph: Graph, samples: Sequence[Sequence[Array]]) -> Values:
    """Every tensor that `graph` computes from `samples`, as `reference.run_all` or `run_real` give it for one."""
    values = start(graph, samples)
    for node in graph.nodes:
        step(graph, node, values)
    return values


def pieces(graph: Graph, samples: Sequence[Sequence[Array]]) -> Iterator[tuple[int, Values]]:
    """`run_batch` on as many samples at a time as memory has room for; with the index of the first of them."""
    count = max(1, HELD // elements(graph))
    for first in range(0, len(samples), count):
        yield first, run_batch(graph, samples[first : first + count])


def few(graph: Graph, samples: Sequence[Sequence[Array]], most: int) -> Sequence[Sequence[Array]]:
    """The first of `samples`: `most`, or fewer of a large graph, where each tells more and takes longer."""
    return samples[: min(most, max(FEWEST, FEW // elements(graph)))]


def elements(graph: Graph) -> int:
    """Elements of all tensors of one sample."""
    return max(1, sum(t.elements for name, t in graph.types.items() if name not in graph.constants))


def step(graph: Graph, node: Node, values: Values) -> None:
    """Add the outputs of `node`, for all samples, to `values`."""
    given = [None if not n else values[n] if n in values else graph.constants[n] for n in node.inputs]
    running = [n in values for n in node.inputs]
    samples = len(next(iter(values.values())))
    if op_of(node).view and running[0]:
        results = [np.asarray(given[0]).reshape(samples, *graph.types[node.outputs[0]].shape)]
    else:
        size = max(graph.types[n].elements for n in (*node.inputs, *node.outputs) if n and n not in graph.constants)
        count = max(1, PIECE // max(size, 1)) if _may_stand_together(graph, node, running) else 1
        parts = [
            _part(graph, node, given, running, first, min(count, samples - first)) for first in range(0, samples, count)
        ]
        results = [np.concatenate(found) for found in zip(*parts, strict=True)]
    values.update(zip(node.outputs, results, strict=True))


def _part(
    graph: Graph, node: Node, given: Sequence[Array | None], running: Sequence[bool], first: int, count: int
) -> list[Array]:
    """The outputs [count, *shape] of `node` for some samples."""
    call, op = call_of(graph, node), op_of(node)
    real = in_float(graph)
    inputs: list[Array | None] = []
    for value, runs in zip(given, running, strict=True):
        if value is not None and runs:
            value = value[first : first + count]
            value = side_by_side(value)
        inputs.append(value if value is None or not real else np.asarray(value, np.float64))
    if count > 1:
        call = _widened(call, running, count)
    results = (op.real if real else op.reference)(call, inputs)
    kinds = [np.dtype(np.float64) if real else graph.types[n].dtype.numpy for n in node.outputs]
    shapes = [graph.types[n].shape for n in node.outputs]
    return [np.asarray(r, k).reshape(count, *s) for r, k, s in zip(results, kinds, shapes, strict=True)]


def side_by_side(values: Array) -> Array:
    """Values [samples, *shape] without the dimension of samples, which its first one takes in."""
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:]) if values.ndim > 1 else values[0]


def _widened(call: Call[Any], running: Sequence[bool], count: int) -> Call[Any]:
    """`call` with a first dimension of `count` in place of 1."""

    def wide(tensor: TensorType) -> TensorType:
        return replace(tensor, shape=(count, *tensor.shape[1:]))

    inputs = tuple(wide(t) if t and runs else t for t, runs in zip(call.inputs, running, strict=True))
    return replace(call, inputs=inputs, outputs=tuple(map(wide, call.outputs)))


def _may_stand_together(graph: Graph, node: Node, running: Sequence[bool]) -> bool:
    """Whether samples may stand side by side in the first dimension of what `node` reads and computes."""
    call = call_of(graph, node)
    tensors = [*(t for t, runs in zip(call.inputs, running, strict=True) if t and runs), *call.outputs]
    if any(t.shape[:1] != (1,) for t in tensors) or not any(running):
        return False
    if node.op in LAYERS:
        return [i for i, runs in enumerate(running) if runs] == [OPERANDS[node.op].input]
    if node.op in WINDOWS:
        return len(call.output.shape) > 1
    rank = len(call.output.shape)
    constants = [v.shape for v in call.constants if v is not None]
    alike = all(len(t.shape) == rank for t in tensors) and all(len(s) < rank or s[:1] == (1,) for s in constants)
    return alike and (node.op in ELEMENTS or all_ops()[node.op].pointwise(call))

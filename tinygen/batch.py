# SPDX-License-Identifier: Apache-2.0
"""Running a graph on many samples at once: operators that treat the first dimension as a batch get all of them in it.

Whatever else there is runs sample by sample, so that every graph can be run. Values are arrays [samples, *shape].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, TensorType
from tinygen.ops import Call, all_ops, call_of, op_of
from tinygen.ops.convolution import OPERANDS

#: Operators whose outputs at index i of the first dimension follow from their inputs there: those with weights, those
#: on windows and rows, and (as do all that are `Op.pointwise`) those on single elements.
LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
WINDOWS = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX", "LOG_SOFTMAX"})
ELEMENTS = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "QUANTIZE", "DEQUANTIZE"})
#: Elements that a node gets at a time: what its operator copies for it (a window's taps) should fit a cache.
PIECE = 1 << 17
#: Elements of all tensors of a graph that are held at a time (256 MiB of float64).
HELD = 1 << 25
#: The same of what `few` returns, and of how many samples that is at least.
FEW, FEWEST = 1 << 22, 8

Values = dict[str, Array]
Sample = Sequence[Array]


class Typed(Protocol):
    """A graph, or one in the making."""

    @property
    def types(self) -> Mapping[str, TensorType]: ...

    @property
    def constants(self) -> Mapping[str, Array]: ...


def run_samples(graph: Graph, samples: Sequence[Sample], names: Sequence[str] | None = None) -> list[Values]:
    """The tensors called `names` (default: the outputs) for each of `samples`, as `reference.run_all` gives them."""
    return _each(graph, samples, graph.outputs if names is None else names, real=False)


def run_real_samples(graph: Graph, samples: Sequence[Sample], names: Sequence[str] | None = None) -> list[Values]:
    """The same in real numbers, as `reference.run_real` gives them, but for the rounding of float64."""
    return _each(graph, samples, graph.outputs if names is None else names, real=True)


def _each(graph: Graph, samples: Sequence[Sample], names: Sequence[str], real: bool) -> list[Values]:
    count, found = max(1, HELD // elements(graph)), list[Values]()
    for first in range(0, len(samples), count):
        some = samples[first : first + count]
        values = _run(graph, start(graph, some, real), real, set(names))
        fixed = {n: _constant(graph, n, real) for n in names if n not in values}
        found += [{n: values[n][i] if n in values else fixed[n] for n in names} for i in range(len(some))]
    return found


def _run(graph: Graph, values: Values, real: bool | None, kept: set[str] | None = None) -> Values:
    """`values` with what every node computes; of tensors that are not `kept`, only as long as they are read."""
    last = {} if kept is None else {n: i for i, node in enumerate(graph.nodes) for n in node.inputs if n not in kept}
    for index, node in enumerate(graph.nodes):
        step(graph, node, values, real)
        for name in node.inputs:
            if last.get(name) == index:
                values.pop(name, None)
    return values


def start(graph: Graph, samples: Sequence[Sample], real: bool | None = None) -> Values:
    """The inputs of `graph` on all `samples`; float64 if it is to compute in real numbers."""
    real = in_float(graph) if real is None else real
    stacks = {n: np.stack([np.asarray(s[i]) for s in samples]) for i, n in enumerate(graph.inputs)}
    return {n: graph.types[n].dequantize(values) if real else values for n, values in stacks.items()}


def in_float(graph: Typed) -> bool:
    """Whether `graph` computes in real numbers (`Op.real`), not in integers (`Op.reference`)."""
    return all(t.quant is None for name, t in graph.types.items() if name not in graph.constants)


def run_batch(graph: Graph, samples: Sequence[Sample]) -> Values:
    """Every tensor that `graph` computes from `samples`, as `reference.run_all` or `run_real` give it for one."""
    return _run(graph, start(graph, samples), in_float(graph))


def pieces(graph: Graph, samples: Sequence[Sample]) -> Iterator[tuple[int, Values]]:
    """`run_batch` on as many samples at a time as memory has room for; with the index of the first of them."""
    count = max(1, HELD // elements(graph))
    for first in range(0, len(samples), count):
        yield first, run_batch(graph, samples[first : first + count])


def few(graph: Graph, samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """The first of `samples`: `most`, or fewer of a large graph, where each tells more and takes longer."""
    return samples[: min(most, max(FEWEST, FEW // elements(graph)))]


def elements(graph: Graph) -> int:
    """Elements of all tensors of one sample."""
    return max(1, sum(t.elements for name, t in graph.types.items() if name not in graph.constants))


def step(graph: Typed, node: Node, values: Values, real: bool | None = None) -> None:
    """Add the outputs of `node`, for all samples, to `values`; `real`: in real numbers (default: as `graph` does)."""
    real = in_float(graph) if real is None else real
    given = [None if not n else values[n] if n in values else _constant(graph, n, real) for n in node.inputs]
    running = [n in values for n in node.inputs]
    samples = len(next(iter(values.values())))
    if op_of(node).view and running[0]:
        results = [np.asarray(given[0]).reshape(samples, *graph.types[node.outputs[0]].shape)]
    else:
        size = max(graph.types[n].elements for n in (*node.inputs, *node.outputs) if n and n not in graph.constants)
        count = max(1, PIECE // max(size, 1)) if _may_stand_together(graph, node, running) else 1
        parts = [
            _part(graph, node, given, running, first, min(count, samples - first), real)
            for first in range(0, samples, count)
        ]
        results = [np.concatenate(found) for found in zip(*parts, strict=True)]
    values.update(zip(node.outputs, results, strict=True))


def _constant(graph: Typed, name: str, real: bool) -> Array:
    return graph.types[name].dequantize(graph.constants[name]) if real else graph.constants[name]


def _part(
    graph: Typed,
    node: Node,
    given: Sequence[Array | None],
    running: Sequence[bool],
    first: int,
    count: int,
    real: bool,
) -> list[Array]:
    """The outputs [count, *shape] of `node` for some samples."""
    call, op = call_of(graph, node), op_of(node)
    inputs = [
        side_by_side(value[first : first + count]) if value is not None and runs else value
        for value, runs in zip(given, running, strict=True)
    ]
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


def _may_stand_together(graph: Typed, node: Node, running: Sequence[bool]) -> bool:
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

"""Many inputs at once: a graph whose first dimension is the batch, run with samples stacked along it.

Not a promise of the graph but an attempt: it counts where every operator infers the larger batch from the larger batch,
and where the first and the last sample's answers are those that they have alone. What does not stack runs one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinygen import reference
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array
from tinygen.ops import call_of, op_of

#: Samples in a batch: primes, so that hardly a dimension of a model is mistaken for one. Large tensors gain nothing.
BATCHES, MAX_ELEMENTS = (31, 7), 1 << 20

Values = Mapping[str, Array]
Run = Callable[[Graph, Sequence[Array]], Values]


def run_samples(graph: Graph, samples: Sequence[Sequence[Array]], names: Sequence[str] | None = None) -> list[Values]:
    """The tensors called `names` (default: the outputs) for each of `samples`, as `reference.run_all` gives them."""
    return _run(graph, samples, graph.outputs if names is None else names, reference.run_all)


def run_real_samples(
    graph: Graph, samples: Sequence[Sequence[Array]], names: Sequence[str] | None = None
) -> list[Values]:
    """The same in real numbers, as `reference.run_real` gives them, but for the rounding of float64."""
    return _run(graph, samples, graph.outputs if names is None else names, reference.run_real)


def _run(graph: Graph, samples: Sequence[Sequence[Array]], names: Sequence[str], run: Run) -> list[Values]:
    one_by_one = (_picked(run(graph, sample), names) for sample in samples)
    larger = _larger(graph) if len(samples) > 2 else None
    if larger is None:
        return list(one_by_one)
    count = larger.types[larger.inputs[0]].shape[0]
    pieces = (samples[start : start + count] for start in range(0, len(samples), count))
    results = [values for piece in pieces for values in _stack(larger, piece, count, names, run)]
    alone = [_picked(run(graph, samples[i]), names) for i in (0, -1)]
    stacks = _same(results[0], alone[0]) and _same(results[-1], alone[1])
    return results if stacks else list(one_by_one)


def _larger(graph: Graph) -> Graph | None:
    """`graph` for as many samples at once as are good for speed."""
    largest = max(tensor.elements for tensor in graph.types.values())
    count = next((n for n in BATCHES if n * largest <= MAX_ELEMENTS), None)
    return batched(graph, count) if count and graph.inputs else None


def _picked(values: Values, names: Sequence[str]) -> Values:
    return {name: values[name] for name in names}


def _stack(
    larger: Graph, samples: Sequence[Sequence[Array]], count: int, names: Sequence[str], run: Run
) -> Iterator[Values]:
    """What `larger` gives for at most `count` samples; the last one fills what is missing."""
    filled = [*samples, *[samples[-1]] * (count - len(samples))]
    values = run(larger, [np.concatenate(stack) for stack in zip(*filled, strict=True)])
    for index in range(len(samples)):
        yield {n: values[n] if n in larger.constants else values[n][index : index + 1] for n in names}


def _same(one: Values, other: Values) -> bool:
    """Equal integers; real numbers up to the order of sums."""
    return all(
        np.allclose(v, other[n], rtol=1e-9, atol=1e-9) if v.dtype.kind == "f" else np.array_equal(v, other[n])
        for n, v in one.items()
    )


def batched(graph: Graph, count: int) -> Graph | None:
    """`graph` for `count` samples at once; None where its operators do not stack."""
    moving = {*graph.inputs, *(n for node in graph.nodes for n in node.outputs)}
    if any(not graph.types[n].shape or graph.types[n].shape[0] != 1 for n in moving):
        return None
    types = dict(graph.types)
    for name in moving:
        types[name] = replace(types[name], shape=(count, *types[name].shape[1:]))
    larger = replace(graph, types=types, nodes=tuple(_node(node) for node in graph.nodes))
    return larger if all(_stacks(larger, node) for node in larger.nodes) else None


def _node(node: Node) -> Node:
    """A RESHAPE goes by its output's type; its second input says the shape of one sample."""
    return replace(node, inputs=node.inputs[:1]) if node.op == "RESHAPE" else node


def _stacks(graph: Graph, node: Node) -> bool:
    try:
        call, op = call_of(graph, node), op_of(node)
        shapes = [tuple(shape) for shape, _ in op.infer(call)]
    except Exception:  # operators that are asked for what they do not do
        return False
    return shapes == [graph.types[n].shape for n in node.outputs]

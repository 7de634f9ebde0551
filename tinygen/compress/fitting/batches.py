"""Running a network on many samples: several at a time, where operators allow that, since numpy is slow on few.

Tensors of all samples are stacked: [samples, *shape].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.compress.base import Sample
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, TensorType
from tinygen.ops import Call, all_ops, call_of
from tinygen.passes.base import work

#: The work (see `passes.base.work`) of all samples that are used: a few seconds; and the bytes that their tensors take.
MAX_WORK, MAX_BYTES = 1 << 32, 1 << 28
#: Elements of a node's largest tensor that are computed at a time.
MAX_ELEMENTS = 1 << 20
#: Operators that treat the first dimension as a batch.
_BATCHED = frozenset(
    {
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "AVERAGE_POOL_2D",
        "MAX_POOL_2D",
        "ADD",
        "SUB",
        "MUL",
        "SOFTMAX",
    }
    | {"RESHAPE", "QUANTIZE", "DEQUANTIZE", "LOOKUP", "RELU", "RELU6", "LOG_SOFTMAX", "LOGISTIC", "TANH", "MAXIMUM"}
)


def stacked(samples: Sequence[Sample], index: int) -> Array:
    """Input `index` of all samples."""
    return np.stack([np.asarray(sample[index]) for sample in samples])


def enough(graph: Graph, samples: Sequence[Sample]) -> Sequence[Sample]:
    """As many of the first `samples` as can be run in a few seconds and held in memory."""
    held = sum(graph.types[name].bytes for node in graph.nodes for name in node.outputs)
    return samples[: max(1, min(MAX_WORK // max(work(graph, graph.nodes), 1), MAX_BYTES // max(held, 1)))]


def run_stacked(graph: Graph, samples: Sequence[Sample]) -> dict[str, Array]:
    """Every tensor that `graph` computes and every input, for all samples."""
    values = {name: stacked(samples, index) for index, name in enumerate(graph.inputs)}
    for node in graph.nodes:
        values.update(run_node(call_of(graph, node), node, values, graph.constants))
    return values


def run_node(
    call: Call[Any], node: Node, values: Mapping[str, Array], constants: Mapping[str, Array]
) -> dict[str, Array]:
    """What `node` computes from stacked `values`, by name."""
    sources = [values.get(name) for name in node.inputs]
    count = next((len(v) for v in values.values()), 1)
    size = _piece(call) if _batches(call, sources) else 1
    pieces = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        inputs = [
            constants.get(name) if value is None else value[start:stop].reshape(-1, *value.shape[2:])
            for name, value in zip(node.inputs, sources, strict=True)
        ]
        piece = _resized(call, stop - start, sources) if size > 1 else call
        results = all_ops()[call.op].reference(piece, inputs)
        pieces.append([_declared(r, t, stop - start) for r, t in zip(results, call.outputs, strict=True)])
    return {name: np.concatenate(parts) for name, parts in zip(node.outputs, zip(*pieces, strict=True), strict=True)}


def _declared(result: Array, tensor: TensorType, samples: int) -> Array:
    return np.ascontiguousarray(result, dtype=tensor.dtype.numpy).reshape(samples, *tensor.shape)


def _batches(call: Call[Any], sources: Sequence[Array | None]) -> bool:
    """Whether several samples can be computed at once, as a batch."""
    variable = [t for t, v in zip(call.inputs, sources, strict=True) if v is not None and t is not None]
    return call.op in _BATCHED and all(t.shape[:1] == (1,) and len(t.shape) > 1 for t in (*variable, *call.outputs))


def _piece(call: Call[Any]) -> int:
    """How many samples are computed at once."""
    largest = max(t.elements for t in (*call.inputs, *call.outputs) if t is not None)
    return max(1, MAX_ELEMENTS // largest)


def _resized(call: Call[Any], batch: int, sources: Sequence[Array | None]) -> Call[Any]:
    """`call` for `batch` samples at once."""
    inputs = tuple(
        t if v is None or t is None else replace(t, shape=(batch, *t.shape[1:]))
        for t, v in zip(call.inputs, sources, strict=True)
    )
    return replace(call, inputs=inputs, outputs=tuple(replace(t, shape=(batch, *t.shape[1:])) for t in call.outputs))

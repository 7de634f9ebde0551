"""How much of a layer's error arrives at the outputs: measured by adding noise, one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.compress.batches import run_node
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array
from tinygen.ops import call_of

#: The noise's standard deviation, as a share of the tensor's; and how many samples get it.
NOISE, SAMPLES = 0.2, 16
#: What lies between logits and the outputs of a model: judged is what goes in.
_LAST = frozenset({"SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "DEQUANTIZE", "QUANTIZE", "RESHAPE"})


def sensitivities(graph: Graph, values: Mapping[str, Array], names: Sequence[str]) -> dict[str, float]:
    """For each of `names`, the share of the outputs' variance that noise makes up, over that of the tensor's.

    `values` has every tensor of `graph`, stacked over samples. The same noise each time this is called.
    """
    used = {name: value[:SAMPLES] for name, value in values.items()}
    judged = dict.fromkeys(_logits(graph, name) for name in graph.outputs)
    return {name: _sensitivity(graph, used, name, tuple(judged)) for name in dict.fromkeys(names)}


def _logits(graph: Graph, name: str) -> str:
    """The tensor of which output `name` is a function without weights."""
    producer = graph.producer(name)
    if producer is None or producer.op not in _LAST or producer.inputs[0] in graph.constants:
        return name
    return _logits(graph, producer.inputs[0])


def _sensitivity(graph: Graph, values: Mapping[str, Array], name: str, judged: Sequence[str]) -> float:
    tensor, rng = graph.types[name], np.random.default_rng(0)
    noise = rng.standard_normal(values[name].shape) * NOISE * np.sqrt(_variance(graph, values, name)) / tensor.q.scale
    noisy = np.clip(np.rint(values[name] + noise), *tensor.dtype.limits).astype(tensor.dtype.numpy)
    got, arrived = {**values, name: noisy}, 0.0
    for node in _downstream(graph, name):
        got.update(run_node(call_of(graph, node), node, got, graph.constants))
    for n in judged:
        lost = graph.types[n].dequantize(got[n]) - graph.types[n].dequantize(values[n])
        arrived += float(np.mean(lost**2)) / (_variance(graph, values, n) + 1e-30)
    return max(arrived / NOISE**2, 1e-9)


def _variance(graph: Graph, values: Mapping[str, Array], name: str) -> float:
    return float(np.var(graph.types[name].dequantize(values[name])))


def _downstream(graph: Graph, name: str) -> list[Node]:
    """The nodes that depend on tensor `name`, in order."""
    reached, nodes = {name}, []
    for node in graph.nodes:
        if reached & set(node.inputs):
            nodes.append(node)
            reached |= set(node.outputs)
    return nodes

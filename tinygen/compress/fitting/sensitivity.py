# SPDX-License-Identifier: Apache-2.0
"""How much of a layer's error arrives at the outputs: measured by adding one, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.batch import side_by_side, step
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.ops import call_of
from tinygen.quantize.layers import rows

#: The error's standard deviation, as a share of the tensor's; and how many samples get it.
NOISE, SAMPLES = 0.2, 16
#: What lies between logits and the outputs of a model: judged is what goes in.
_LAST = frozenset({"SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "DEQUANTIZE", "QUANTIZE", "RESHAPE"})


def sensitivities(graph: Graph, values: Mapping[str, Array], names: Sequence[str]) -> dict[str, float]:
    """For each of `names`, outputs of layers: the share of the outputs' variance that an error in it makes up.

    Divided by the share of its own variance that it is. `values` has every tensor of `graph`, stacked over samples.
    The same each time this is called.
    """
    used = {name: value[:SAMPLES] for name, value in values.items()}
    judged = dict.fromkeys(logits(graph, name) for name in graph.outputs)
    return {name: _sensitivity(graph, used, name, tuple(judged)) for name in dict.fromkeys(names)}


def logits(graph: Graph, name: str) -> str:
    """The tensor of which output `name` is a function without weights."""
    producer = graph.producer(name)
    if producer is None or producer.op not in _LAST or producer.inputs[0] in graph.constants:
        return name
    return logits(graph, producer.inputs[0])


def _sensitivity(graph: Graph, values: Mapping[str, Array], name: str, judged: Sequence[str]) -> float:
    tensor = graph.types[name]
    noise = _error(graph, values, name) * NOISE * np.sqrt(_variance(graph, values, name)) / tensor.q.scale
    noisy = np.clip(np.rint(values[name] + noise), *tensor.dtype.limits).astype(tensor.dtype.numpy)
    got, arrived = {**values, name: noisy}, 0.0
    for node in _downstream(graph, name):
        step(graph, node, got)
    for n in judged:
        lost = graph.types[n].dequantize(got[n]) - graph.types[n].dequantize(values[n])
        arrived += float(np.mean(lost**2)) / (_variance(graph, values, n) + 1e-30)
    return max(arrived / NOISE**2, 1e-9)


def _error(graph: Graph, values: Mapping[str, Array], name: str) -> Real:
    """An error of variance 1 such as other weights of the layer that computes `name` would make, less its mean.

    It depends on the layer's inputs, so that it does not vanish in a mean over pixels as independent noise would.
    """
    node, rng = graph.producer(name), np.random.default_rng(0)
    assert node is not None
    call = call_of(graph, node)
    source = values[node.inputs[0]]
    inputs = rows(call, call.input(0).dequantize(side_by_side(source)))
    deviation = np.std(inputs, axis=0)
    weights = rng.standard_normal((inputs.shape[1], call.output.shape[-1] // inputs.shape[1], inputs.shape[2]))
    weights /= np.maximum(deviation, deviation.max() * 1e-3 + 1e-30)[:, None, :]
    made = (inputs.transpose(1, 0, 2) @ weights.transpose(0, 2, 1)).transpose(1, 0, 2)
    centred = made - made.mean(axis=0)
    return np.asarray(centred / (np.std(centred) + 1e-30)).reshape(values[name].shape)


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

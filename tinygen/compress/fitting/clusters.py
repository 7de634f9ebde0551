# SPDX-License-Identifier: Apache-2.0
"""Channels that can go, in clusters of like ones, and in which order those of a cluster do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.compress.fitting.regression import damped
from tinygen.compress.fitting.saliency import Order, Reader, by_magnitude, order
from tinygen.compress.fitting.sensitivity import sensitivities
from tinygen.compress.fitting.walk import Walk
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.ops import call_of
from tinygen.ops.convolution import OPERANDS
from tinygen.passes.base import label
from tinygen.passes.channels import Groups, mixes
from tinygen.quantize.layers import MAX_DEPTH, is_layer


@dataclass(frozen=True)
class Cluster:
    """Groups of channels that lie in the same tensors, so that one of them is as good to remove as another.

    `groups` are their numbers, `tensors` where they lie and which share of its channels each of them is, `makers` the
    layers that compute them, `readers` those that mix them.
    """

    groups: tuple[int, ...]
    tensors: tuple[tuple[str, float], ...]
    makers: tuple[Node, ...]
    readers: tuple[Node, ...]


def clusters_of(graph: Graph, groups: Groups) -> list[Cluster]:
    """The clusters of `graph` whose channels a layer computes and another one reads, and that may go."""
    places: dict[int, list[str]] = {}
    for name, channels in groups.of.items():
        for group in channels.tolist():
            places.setdefault(group, []).append(name)
    alike: dict[tuple[str, ...], list[int]] = {}
    for group, names in places.items():
        if group not in groups.fixed:
            alike.setdefault(tuple(names), []).append(group)
    found = [_cluster(graph, members, names) for names, members in alike.items()]
    return [c for c in found if c.makers and c.readers and len(c.groups) > 1]


def _cluster(graph: Graph, members: Sequence[int], names: Sequence[str]) -> Cluster:
    tensors = {name: names.count(name) / graph.types[name].shape[-1] for name in names}
    makers = tuple(n for n in graph.nodes if is_layer(graph, n) and n.outputs[0] in tensors)
    readers = tuple(
        n for n in graph.nodes if n.inputs[0] in tensors and is_layer(graph, n) and mixes(call_of(graph, n))
    )
    return Cluster(tuple(sorted(members)), tuple(tensors.items()), makers, readers)


def declined(graph: Graph, groups: Groups) -> Iterator[str]:
    """A line for each layer all of whose channels have to stay, and why."""
    for node in graph.nodes:
        if is_layer(graph, node) and mixes(call_of(graph, node)):
            why = [groups.fixed.get(group) for group in groups.of[node.outputs[0]].tolist()]
            if all(why):
                yield f"{label(node)} keeps its channels: {why[0]}"


def magnitudes(graph: Graph, groups: Groups, cluster: Cluster) -> Real:
    """How large the weights that make each channel are (sums of absolute values), over the layer's mean; summed."""
    total = np.zeros(len(cluster.groups))
    for node in cluster.makers:
        where, index = OPERANDS[node.op], _indices(groups, node.outputs[0], cluster)
        name = node.inputs[where.weights]
        values = np.abs(graph.types[name].dequantize(graph.constants[name]))
        sums = values.sum(axis=tuple(a for a in range(values.ndim) if a != where.channel))
        total += sums[index].sum(axis=1) / max(float(sums.mean()), 1e-12)
    return total


def _indices(groups: Groups, tensor: str, cluster: Cluster, depth: int | None = None) -> Array:
    """The channels of `tensor` that belong to each group of the cluster: [groups, m].

    `depth`: the inputs of a layer, whose weights list all channels several times over.
    """
    numbers = groups.of[tensor] if depth is None else np.resize(groups.of[tensor], depth)
    return np.stack([np.flatnonzero(numbers == group) for group in cluster.groups])


def orders(
    walk: Walk, groups: Groups, clusters: Sequence[Cluster], saliency: str, floor: Mapping[Cluster, int]
) -> dict[Cluster, Order]:
    """In which order the channels of each cluster go (as indices into its groups) until `floor` of them are left."""
    if saliency == "magnitude":
        return {c: by_magnitude(magnitudes(walk.original, groups, c), floor[c]) for c in clusters}
    layers = {node.outputs[0]: node for c in clusters for node in c.readers}
    arrives = sensitivities(walk.original, walk.truth, tuple(layers))
    seen = {name: _reader(walk, node, arrives[name]) for name, node in layers.items()}
    found = {}
    for cluster in clusters:
        weight = np.ones(len(cluster.groups))
        if saliency == "mix":
            weight = magnitudes(walk.original, groups, cluster)
        readers = [_of(seen[n.outputs[0]], groups, n, cluster) for n in cluster.readers]
        found[cluster] = order(readers, len(cluster.groups), weight, floor[cluster])
    return found


def _reader(walk: Walk, node: Node, arrives: float) -> tuple[Real, Real, float]:
    """Weights, the inverse of the inputs' covariance, and the worth of an error, for a layer of the original."""
    call = call_of(walk.original, node)
    tensor, stored = call.input(OPERANDS[node.op].weights), call.constant(OPERANDS[node.op].weights)
    weights = tensor.dequantize(stored).reshape(len(stored), -1)
    sums = walk.moments(node, node).all
    covariance = damped(sums.covariance)[0]
    deep = len(covariance) > MAX_DEPTH
    inverse = np.diag(1 / np.diag(covariance)) if deep else np.linalg.inv(covariance)
    return weights, inverse, arrives / max(float(sums.variance.sum()), 1e-30)


def _of(seen: tuple[Real, Real, float], groups: Groups, node: Node, cluster: Cluster) -> Reader:
    weights, inverse, worth = seen
    return Reader(weights, inverse, _indices(groups, node.inputs[0], cluster, weights.shape[1]), worth)

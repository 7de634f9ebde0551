# SPDX-License-Identifier: Apache-2.0
"""Channels of a tensor between two layers brought to ranges of like size, so that one scale suits them all.

(M. Nagel et al., Data-Free Quantization through Weight Equalization, 2019; with the ranges of activations, as in G.
Xiao et al., SmoothQuant, 2023.) The first layer's filters are divided by factors by which the second one's inputs are
multiplied: with no activation or ReLU between them, nothing changes in real numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.batch import pieces
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real
from tinygen.ops import Activation
from tinygen.ops.convolution import OPERANDS
from tinygen.quantize.fold_affine import by_input, is_layer, parameters, with_parameters

#: Samples that ranges are taken from, and limits of a factor.
SAMPLES, LIMIT = 32, 4.0


def equalize(graph: Graph, samples: Sequence[Sequence[Array]]) -> Graph:
    """`graph` (float) with equalized channels wherever one layer alone reads another."""
    pairs = [pair for node in graph.nodes if (pair := _pair(graph, node)) is not None]
    ranges = {first.outputs[0]: np.zeros(graph.types[first.outputs[0]].shape[-1]) for first, _ in pairs}
    for _, values in pieces(graph, samples[:SAMPLES] if pairs else ()):
        for name in ranges:
            seen = np.abs(values[name]).reshape(-1, len(ranges[name])).max(axis=0)
            ranges[name] = np.maximum(ranges[name], seen)
    for first, second in pairs:
        graph = _equalized(graph, first.outputs[0], second.outputs[0], ranges[first.outputs[0]])
    return graph


def _pair(graph: Graph, node: Node) -> tuple[Node, Node] | None:
    """`node` and the layer after it, if it is a layer and scaling its channels commutes with what is between."""
    attrs: Any = node.attrs
    if not is_layer(graph, node) or attrs.activation not in (Activation.NONE, Activation.RELU):
        return None
    readers, name = graph.consumers(node.outputs[0]), node.outputs[0]
    if len(readers) != 1 or graph.is_output(name) or not is_layer(graph, readers[0]):
        return None
    second = readers[0]
    if second.inputs[OPERANDS[second.op].input] != name:
        return None
    weights, _ = parameters(graph, second)
    return (node, second) if by_input(second, weights, graph.types[name].shape[-1]) is not None else None


def _equalized(graph: Graph, name: str, after: str, ranges: Real) -> Graph:
    first, second = graph.producer(name), graph.producer(after)
    assert first is not None and second is not None
    outer, bias = parameters(graph, first)
    inner, inner_bias = parameters(graph, second)
    spread = by_input(second, inner, len(ranges))
    assert spread is not None
    factors = _factors(ranges, inner, spread, second.op == "DEPTHWISE_CONV_2D")
    along = [1] * outer.ndim
    along[OPERANDS[first.op].channel] = -1
    for old, (weights, biases) in (
        (first, (outer / factors.reshape(along), bias / factors)),
        (second, (inner * factors[spread], inner_bias)),
    ):
        node, changes = with_parameters(graph, old, weights, biases)
        graph = graph.with_nodes([node if n is old else n for n in graph.nodes], **changes)
    return graph


def _factors(ranges: Real, inner: Real, spread: Array, free: bool) -> Real:
    """What each channel is divided by; `free`: the second layer's weights have a scale for each channel anyway."""
    safe = np.maximum(ranges, ranges.max(initial=0.0) / LIMIT**2 + 1e-12)
    factors = safe / safe.max()
    if not free:
        used = np.zeros(len(ranges))
        np.maximum.at(used, spread, np.abs(inner).reshape(-1, inner.shape[-1]).max(axis=0))
        factors = np.sqrt(factors / np.maximum(used / max(used.max(), 1e-12), 1 / LIMIT**2))
    factors /= np.exp(np.mean(np.log(factors)))
    return np.asarray(np.clip(factors, 1 / LIMIT, LIMIT))

# SPDX-License-Identifier: Apache-2.0
"""Two networks side by side: the original, and one that is being made of it node by node, on the same samples.

Whoever changes a layer sees what reaches it in the network as changed so far, and what it gave in the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.batch import run_batch, side_by_side, start, step
from tinygen.compress.base import Sample
from tinygen.compress.fitting.regression import Halves
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real, TensorType
from tinygen.ops import Call, call_of
from tinygen.ops.convolution import OPERANDS, real_bias
from tinygen.passes.base import work
from tinygen.quantize.layers import columns, is_layer, rows
from tinygen.quantize.report import decibels

#: Output pixels of a layer that are looked at, over all samples; and the numbers that are held of them at a time.
MAX_ROWS, MAX_HELD = 1 << 16, 1 << 22
#: The work (see `passes.base.work`) of all samples that are used: a few seconds; and the bytes that their tensors take.
MAX_WORK, MAX_BYTES = 1 << 32, 1 << 28


@dataclass
class Walk:
    """The network in the making: its nodes so far, and the tensors of both networks, stacked over samples.

    `truth` has the original's tensors, `now` those of the network in the making. `kept` are masks of the channels that
    tensors of the original keep (by name; others keep all).
    """

    original: Graph
    types: dict[str, TensorType]
    constants: dict[str, Array]
    truth: Mapping[str, Array]
    now: dict[str, Array]
    kept: Mapping[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def call(self, node: Node) -> Call[Any]:
        return call_of(self, node)

    def add(self, node: Node) -> None:
        """`node` as the next one, and what it computes."""
        step(self, node, self.now)
        self.nodes.append(node)

    def graph(self) -> Graph:
        """The network, once all nodes are added."""
        storage = {name: form for name, form in self.original.storage.items() if name in self.constants}
        return self.original.with_nodes(self.nodes, types=self.types, constants=self.constants, storage=storage)

    def before(self, node: Node) -> Node | None:
        """The layer of the original that computes what layer `node` is to compute; None if there is none."""
        old = self.original.producer(node.outputs[0])
        return old if old is not None and is_layer(self.original, old) and old.op == node.op else None

    def changed(self, node: Node, before: Node) -> bool:
        """Whether layer `node` gets other inputs than layer `before` of the original."""
        now, then = self.now[node.inputs[0]], self.truth[before.inputs[0]]
        return now.size != then.size or not np.array_equal(now.ravel(), then.ravel())

    def moments(self, node: Node, before: Node) -> Halves:
        """What the weights of `node` multiply now, and what `before` gave in the original ahead of its activation."""
        seen = Halves()
        for half, inputs, targets in self.rows(node, before):
            seen.add(half, inputs, targets)
        return seen

    def rows(self, node: Node, before: Node) -> Iterator[tuple[int, Real, Real]]:
        """The same in pieces: the half of the samples, [rows, groups, depth] and [rows, groups, filters]."""
        call, old = self.call(node), call_of(self.original, before)
        now, then = self.now[node.inputs[0]], self.truth[before.inputs[0]]
        depth = max(c.input(1).elements // c.input(1).shape[0] for c in (call, old))
        for half, some, every in _pieces(call, len(now), depth):
            whole = _means(self._targets(old, before, then[some]), old.output.shape, call.output.shape)
            inputs, targets = _inputs(call, now[some])[::every], whole[::every]
            yield half, inputs, targets.reshape(len(inputs), inputs.shape[1], -1)

    def moments_of_sum(self, node: Node, add: Node) -> Halves:
        """What the weights of `node` multiply now, and what both inputs of `add` were together in the original."""
        call, seen, now = self.call(node), Halves(), self.now[node.inputs[0]]
        for half, some, every in _pieces(call, len(now), call.input(1).elements // call.input(1).shape[0]):
            terms = [self.original.types[name].dequantize(self.truth[name][some]) for name in add.inputs]
            inputs, targets = _inputs(call, now[some])[::every], sum(terms, start=np.zeros(()))
            flat = targets.reshape(-1, call.output.shape[-1])[::every]
            seen.add(half, inputs, flat.reshape(len(inputs), inputs.shape[1], -1))
        return seen

    def inputs(self, node: Node, limit: int) -> Real:
        """About `limit` of the rows that the weights of `node` multiply now: [rows, groups, depth]."""
        call, now = self.call(node), self.now[node.inputs[0]]
        pixels = call.output.elements // call.output.shape[-1]
        some = now[:: max(1, len(now) * min(pixels, 64) // limit)]
        found = _inputs(call, some)
        return found[:: max(1, len(found) // limit)]

    def _targets(self, call: Call[Any], before: Node, values: Array) -> Real:
        """What the original layer's sums are, bias included: [pixels, channels that are kept]."""
        where, inputs = OPERANDS[before.op], _inputs(call, values)
        weights = call.input(where.weights).dequantize(call.constant(where.weights))
        by_group = columns(before.op, weights, inputs.shape[1]).transpose(0, 2, 1)
        sums = (inputs.transpose(1, 0, 2) @ by_group).transpose(1, 0, 2)
        flat = sums.reshape(len(sums), -1) + real_bias(call, [None] * (where.bias + 1))
        mask = self.kept.get(before.outputs[0])
        return np.asarray(flat if mask is None else flat[:, mask])

    def closeness(self, name: str) -> float:
        """Signal-to-noise ratio in dB of tensor `name`, in the channels that are kept."""
        mask, exact = self.kept.get(name), self.original.types[name].dequantize(self.truth[name])
        exact = exact if mask is None else exact[..., mask]
        lost = self.types[name].dequantize(self.now[name]) - exact
        return decibels(float(np.sum(exact**2)), float(np.sum(lost**2)))


def _pieces(call: Call[Any], samples: int, depth: int) -> Iterator[tuple[int, Array, int]]:
    """The `samples` in pieces that fit memory: of which half, their indices, and every how many rows are looked at.

    `depth`: the most values that a weight's row multiplies.
    """
    pixels = call.output.elements // call.output.shape[-1]
    every, size = max(1, pixels * samples // MAX_ROWS), max(1, MAX_HELD // (pixels * depth))
    for half, picked in enumerate(Halves.halves(samples)):
        for some in np.split(picked, range(size, len(picked), size)):
            yield half, some, every


def _inputs(call: Call[Any], values: Array) -> Real:
    """The rows that the layer's weights multiply, in real numbers, for stacked `values` of its input."""
    return rows(call, call.input(0).dequantize(side_by_side(values)))


def _means(values: Real, source: tuple[int, ...], target: tuple[int, ...]) -> Real:
    """`values` [pixels, channels] of images of the shape `source`, as those of smaller ones: each a mean of several."""
    if source[1:-1] == target[1:-1]:
        return values
    image = values.reshape(-1, *source[1:-1], values.shape[-1])
    for axis in (1, 2):
        starts = np.arange(target[axis]) * source[axis] // target[axis]
        counts = np.diff(starts, append=source[axis])
        image = np.add.reduceat(image, starts, axis=axis) / counts.reshape(-1, *[1] * (3 - axis))
    return image.reshape(-1, values.shape[-1])


def walk(
    original: Graph, samples: Sequence[Sample], kept: Mapping[str, Array] | None = None, graph: Graph | None = None
) -> Walk:
    """A walk before its first node, with the types and constants of `graph` (or of the original)."""
    made = graph if graph is not None else original
    truth, started = run_batch(original, samples), start(original, samples)
    return Walk(original, dict(made.types), dict(made.constants), truth, started, kept or {})


def enough(graph: Graph, samples: Sequence[Sample]) -> Sequence[Sample]:
    """As many of the first `samples` as can be run in a few seconds and held in memory."""
    held = sum(graph.types[name].bytes for node in graph.nodes for name in node.outputs)
    return samples[: max(1, min(MAX_WORK // max(work(graph, graph.nodes), 1), MAX_BYTES // max(held, 1)))]

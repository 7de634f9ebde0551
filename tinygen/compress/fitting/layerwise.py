# SPDX-License-Identifier: Apache-2.0
"""The walk that techniques which change weights share: layer by layer, each with the inputs that it gets by then.

Every layer is fitted to what it did in the original graph, from the inputs that it gets after the layers before it
have been changed (asymmetric calibration): so later layers make good what earlier ones lost. The bias takes up the mean
of what is left (bias correction; M. Nagel et al., Data-Free Quantization, 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.batch import Values, side_by_side, start, step
from tinygen.compress.base import Sample
from tinygen.compress.fitting.moments import Hessian, Moments, moments
from tinygen.errors import UnsupportedError, UsageError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, Quant, Real, TensorType
from tinygen.kernels.base import SMALLEST
from tinygen.ops import Call, call_of, check_node
from tinygen.ops.convolution import OPERANDS, real_bias
from tinygen.passes.base import Result, label, macs
from tinygen.passes.rewrite import fresh
from tinygen.quantize.assign import bias_quant, steps
from tinygen.quantize.layers import columns, is_layer, rows, uncolumned
from tinygen.quantize.report import decibels

#: Multiply-accumulates of the original graph over all samples used; the least and the most samples.
WORK, LEAST, MOST = 1 << 30, 64, 4096
#: Output pixels of a layer that moments are taken over, in all.
PIXELS = 1 << 14
#: Samples whose pixels are copied at a time.
TOGETHER = 31


@dataclass(frozen=True)
class Layer:
    """A layer as techniques see it; arrays are [groups, filters of a group, depth] unless said otherwise.

    `target`: real weights that do with the inputs of now what the layer did in the original graph; `stored`: the
    integers so far, int64, with `scales` [groups, filters]; `smallest`: the smallest scale that the bias allows.
    Depth is window taps times `channels`, the latter inside. `constant` names the weights.
    """

    node: Node
    constant: str
    target: Real
    stored: Array
    scales: Real
    smallest: Real
    hessian: Hessian
    channels: int

    def noise(self, weights: Real) -> float:
        """The mean square, over all outputs, of what other real `weights` than the target add to them."""
        return float(self.hessian.power(weights - self.target).sum())

    @property
    def signal(self) -> float:
        """The mean square of the outputs, less their means."""
        return float(self.hessian.power(self.target).sum())


@dataclass(frozen=True)
class Fitted:
    """New integers within ±127 for a layer, and the scales [groups, filters] that they come with; what was done."""

    integers: Array
    scales: Real
    said: str = ""

    @property
    def real(self) -> Real:
        return np.asarray(self.integers * self.scales[:, :, None], np.float64)


class Declined(Exception):
    """Why a technique leaves a layer as it is."""


#: A technique for one layer; raises `Declined`.
Fit = Callable[[Layer], Fitted]


def layers_of(graph: Graph) -> tuple[Node, ...]:
    """The nodes whose constant int8 weights techniques can change."""
    return tuple(n for n in graph.nodes if is_layer(graph, n) and _is_int8(graph, n))


def _is_int8(graph: Graph, node: Node) -> bool:
    where = OPERANDS[node.op]
    tensors = [graph.types[node.inputs[i]] for i in (where.input, where.weights)]
    return all(t.dtype is DType.INT8 and t.quant is not None for t in (*tensors, graph.types[node.outputs[0]]))


def rewrite(graph: Graph, samples: Sequence[Sample], chosen: Callable[[Node], bool], fit: Fit) -> Result:
    """`graph` with what `fit` makes of each layer that is `chosen`, in order; what it says of each is in the result.

    Raises `UsageError` without samples.
    """
    walk, done, declined = LayerWalk(graph, samples), list[str](), list[str]()
    for index in walk.through(chosen):
        try:
            walk.graph, said = walk.changed(index, fit)
            done.append(f"{label(graph.nodes[index])}: {said}")
        except Declined as reason:
            declined.append(f"{label(graph.nodes[index])}: {reason}")
    return Result(walk.graph.pruned(), tuple(done), tuple(declined))


def variants(
    graph: Graph, samples: Sequence[Sample], chosen: Callable[[Node], bool], fit: Fit
) -> Iterator[tuple[Node, Graph]]:
    """For each layer that is `chosen` and not declined: `graph` with what `fit` makes of this layer only."""
    walk = LayerWalk(graph, samples)
    for index in walk.through(chosen):
        with suppress(Declined):
            yield graph.nodes[index], walk.changed(index, fit)[0]


@dataclass(frozen=True)
class Seen:
    """A layer with what its walk knows of it."""

    call: Call[Any]
    moments: Moments
    layer: Layer


class LayerWalk:
    """The original graph and the one that changes, up to a node: what both hold for all samples.

    Tensors that are the same in both are held once, in `exact`.
    """

    def __init__(self, graph: Graph, samples: Sequence[Sample]) -> None:
        if not samples:
            raise UsageError("compression needs samples of the model's inputs to fit weights to: give calibration data")
        self.original = self.graph = graph
        self.exact, self.now = start(graph, samples[: _count(graph)]), Values()
        self.last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}

    def through(self, chosen: Callable[[Node], bool]) -> Iterator[int]:
        """The indices of layers that are `chosen`, each when everything before it has run."""
        layers = {node.outputs[0] for node in layers_of(self.original) if chosen(node)}
        for index, node in enumerate(self.original.nodes):
            if node.outputs[0] in layers:
                yield index
            self._step(index)

    def _step(self, index: int) -> None:
        """Run node `index` in both graphs."""
        before, node = self.original.nodes[index], self.graph.nodes[index]
        if node is not before or any(name in self.now for name in node.inputs):
            held = {**self.exact, **self.now}
            step(self.graph, node, held)
            self.now |= {name: held[name] for name in node.outputs}
        step(self.original, before, self.exact)
        for name in before.inputs:
            if self.last[name] == index:
                self.exact.pop(name, None)
                self.now.pop(name, None)

    def changed(self, index: int, fit: Fit) -> tuple[Graph, str]:
        """The graph with the weights that `fit` gives node `index`, and what was done. Raises `Declined`."""
        seen = self.seen(index)
        fitted, layer = fit(seen.layer), seen.layer
        said = f"{fitted.said}, {decibels(layer.signal, layer.noise(fitted.real)):.1f} dB"
        return self.refitted(index, seen, fitted), said

    def seen(self, index: int) -> Seen:
        """Node `index` on the inputs that reach it."""
        node = self.graph.nodes[index]
        call, found = call_of(self.graph, node), moments(self._rows(node))
        return Seen(call, found, _layer(self.graph, node, call, found))

    def refitted(self, index: int, seen: Seen, fitted: Fitted) -> Graph:
        """The graph with these weights in node `index`. Raises `Declined`."""
        bias = _bias(seen.call, seen.moments, seen.layer, fitted)
        changed = _with(self.graph, self.graph.nodes[index], seen.call, fitted, bias)
        _check(changed, changed.nodes[index])
        return changed

    def _rows(self, node: Node) -> Iterator[tuple[Array, Array | None]]:
        """What the weights of `node` multiply, in real numbers: some pixels of every sample, always the same ones."""
        call, name = call_of(self.original, node), node.inputs[OPERANDS[node.op].input]
        tensor, exact, now = self.original.types[name], self.exact[name], self.now.get(name)
        for first in range(0, len(exact), TOGETHER):
            some = slice(first, min(first + TOGETHER, len(exact)))
            most = max(PIXELS * (some.stop - first) // len(exact), 4)
            one, *other = (
                rows(call, tensor.dequantize(side_by_side(v[some])), most) for v in (exact, now) if v is not None
            )
            yield one, other[0] if other else None


def _count(graph: Graph) -> int:
    return min(max(WORK // max(macs(graph), 1), LEAST), MOST)


def _layer(graph: Graph, node: Node, call: Call[Any], found: Moments) -> Layer:
    where = OPERANDS[node.op]
    name, groups = node.inputs[where.weights], found.mean.shape[0]
    tensor, stored = graph.types[name], graph.constants[name]
    zero = tensor.q.zero_points[0]
    scales = np.broadcast_to(np.asarray(tensor.q.scales), (graph.types[node.outputs[0]].shape[-1],))
    bias = np.broadcast_to(np.abs(real_bias(call, _bias_values(call))), scales.shape)
    smallest = np.maximum(bias / (call.input(where.input).q.scale * 2.0**29), 1e-30)
    weights = columns(node.op, tensor.dequantize(stored), groups)
    return Layer(
        node,
        name,
        found.adjusted(weights),
        columns(node.op, stored.astype(np.int64) - zero, groups),
        scales.reshape(groups, -1),
        smallest.reshape(groups, -1),
        found.hessian,
        1 if node.op == "DEPTHWISE_CONV_2D" else stored.shape[-1],
    )


def _bias_values(call: Call[Any]) -> list[Real | None]:
    return [None if value is None else value.astype(np.float64) for value in call.constants]


def _bias(call: Call[Any], found: Moments, layer: Layer, fitted: Fitted) -> Real:
    """The real bias [channels] with which the means of the outputs stay what they were."""
    before = np.asarray(layer.stored * layer.scales[:, :, None], np.float64)
    shift = np.einsum("gfd,gd->gf", before, found.original) - np.einsum("gfd,gd->gf", fitted.real, found.mean)
    return np.asarray(shift.ravel() + real_bias(call, _bias_values(call)))


def _with(graph: Graph, node: Node, call: Call[Any], fitted: Fitted, bias: Real) -> Graph:
    """`graph` with these weights and this bias in `node`; constants that other nodes read, too, stay theirs.

    The weights ask for the smallest form: what gives them few values or zeros is there to save flash.
    """
    where, types, constants = OPERANDS[node.op], dict(graph.types), dict(graph.constants)
    inputs = [*node.inputs, *[""] * (where.bias + 1 - len(node.inputs))]
    source, shape = call.input(where.input).q.scale, call.input(where.weights).shape
    scales = np.asarray(fitted.scales, np.float32).astype(np.float64).ravel()
    for index, fallback in ((where.weights, "weights"), (where.bias, "bias")):
        shared = len(graph.consumers(inputs[index])) != 1 or graph.is_output(inputs[index])
        inputs[index] = fresh(graph, f"{node.outputs[0]}:{fallback}") if not inputs[index] or shared else inputs[index]
    quant = _quant(scales, where.channel)
    constants[inputs[where.weights]] = uncolumned(node.op, fitted.integers, shape).astype(np.int8)
    types[inputs[where.weights]] = TensorType(shape, DType.INT8, quant)
    kept = np.asarray(quant.scales)
    types[inputs[where.bias]] = TensorType(bias.shape, DType.INT32, bias_quant(source, kept))
    constants[inputs[where.bias]] = steps(bias, source * kept, DType.INT32)
    changed = replace(node, inputs=tuple(inputs))
    nodes = tuple(changed if n is node else n for n in graph.nodes)
    storage = {**graph.storage, inputs[where.weights]: SMALLEST}
    return replace(graph, nodes=nodes, types=types, constants=constants, storage=storage)


def _quant(scales: Real, axis: int) -> Quant:
    """One scale for the tensor where all are equal: then its requantization takes one multiplier."""
    if len(set(scales.tolist())) == 1:
        return Quant.per_tensor(float(scales[0]), 0)
    return Quant(tuple(scales.tolist()), (0,) * len(scales), axis)


def _check(graph: Graph, node: Node) -> None:
    try:
        check_node(graph, node)
    except UnsupportedError as error:
        raise Declined(f"with such weights it could not run: {error}") from error

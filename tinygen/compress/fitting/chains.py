# SPDX-License-Identifier: Apache-2.0
"""Building the layers that a factored layer consists of, in a network in the making (see `walk`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.compress.fitting.factors import Form, Layer, channel_basis, output_basis, restricted, spatial_basis, spread
from tinygen.compress.fitting.latents import choose_latents
from tinygen.compress.fitting.refit import with_weights
from tinygen.compress.fitting.regression import Sums, damped, fit
from tinygen.compress.fitting.walk import Walk
from tinygen.ir.graph import Attrs, Node
from tinygen.ir.types import DType, Quant, Real, TensorType
from tinygen.ops import Activation
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.fully_connected import FullyConnectedAttrs
from tinygen.quantize.layers import columns

#: Output pixels, over all samples, that the range of latent values and the rounding of their weights is taken from.
MAX_ROWS = 1 << 14


def build(walk: Walk, node: Node, form: Form) -> list[Node]:
    """Adds the layers that `form` makes of `node` to the walk, and returns them. The last has the node's output.

    Raises `RefusedError` where an operator refuses the new weights.
    """
    start, filters = len(walk.nodes), walk.call(node).output.shape[-1]
    made = _start(walk, node)
    if form.kind in ("columns", "rows"):
        made = _spatial(walk, node, form)
    elif form.kind == "tucker":
        made = _channels(walk, node, form.ranks[0])
    if form.kind in ("svd", "tucker") and form.ranks[-1] < filters:
        made = _mixed(walk, node, made, form.ranks[-1])
    seen = walk.moments(made.node, node)
    walk.add(with_weights(walk, made.node, fit(seen, made.weights[None]), seen.all))
    return walk.nodes[start:]


@dataclass(frozen=True)
class _Made:
    """A layer in the place of the original one, and weights [filters, depth] to start from, in real numbers."""

    node: Node
    weights: Real


def shape_of(walk: Walk, node: Node) -> tuple[int, int, int, int]:
    """Filters, height and width of the kernel, and channels; a dense layer is a 1×1 one."""
    shape = walk.call(node).input(1).shape
    return (shape[0], 1, 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2], shape[3])


def _best(walk: Walk, node: Node, made: _Made) -> Layer:
    """What `made` would best be in real numbers, on its inputs of now, to give what `node` gave in the original."""
    seen = walk.moments(made.node, node)
    weights = fit(seen, made.weights[None])
    return Layer(weights[0], damped(seen.all.covariance)[0], shape_of(walk, made.node))


def _layer_node(
    walk: Walk, node: Node, name: str, source: str, shape: tuple[int, ...], attrs: Any, target: str
) -> Node:
    """A layer like `node` with weights of `shape`, zeros so far, that reads `source`."""
    axis = walk.types[node.inputs[1]].q.axis
    count = 1 if axis is None else shape[0]
    weights = _fresh(walk, f"{target}:weights")
    walk.types[weights] = TensorType(shape, DType.INT8, Quant((1.0,) * count, (0,) * count, axis))
    walk.constants[weights] = np.zeros(shape, np.int8)
    return Node(name, node.op, (source, weights), (target,), attrs)


def _latent(walk: Walk, made: Node, basis: Real, mix: Real) -> Real:
    """Adds `made`, which computes latent values with filters such as `basis` [rank, any].

    `mix` [any, rank] is what they are multiplied with later on. Any other basis of the same values does as well: that
    which int8 holds best is taken, and returned.
    """
    inputs = walk.inputs(made, MAX_ROWS)[:, 0]
    flat = basis.reshape(len(basis), -1)
    chosen = choose_latents(flat, mix, inputs, walk.types[made.inputs[1]].q.axis is None)
    walk.types[made.outputs[0]] = replace(walk.types[made.outputs[0]], quant=chosen.quant)
    sums = Sums.of(inputs[:, None], (inputs @ chosen.basis.T)[:, None])
    walk.add(with_weights(walk, made, chosen.basis[None], sums, bias=False))
    return chosen.basis.reshape(basis.shape)


def _fresh(walk: Walk, name: str) -> str:
    while name in walk.types:
        name += "'"
    return name


def _declare(walk: Walk, node: Node, label: str, shape: tuple[int, ...]) -> str:
    """A tensor for latent values, whose scale is not known yet."""
    name = _fresh(walk, f"{node.outputs[0]}:{label}")
    walk.types[name] = TensorType(shape, DType.INT8, Quant.per_tensor(1.0, 0))
    return name


def _mixed(walk: Walk, node: Node, made: _Made, rank: int) -> _Made:
    """Adds `made` with `rank` filters instead of all, and returns the 1×1 or dense layer that mixes them."""
    layer, call = _best(walk, node, made), walk.call(made.node)
    basis, mix = output_basis(layer, rank)
    filters, *kernel = call.input(1).shape
    inner: Attrs = FullyConnectedAttrs()
    shape: tuple[int, ...] = (call.input(0).elements // layer.shape[3], rank)
    last: tuple[int, ...] = (filters, rank)
    outer = node.attrs
    if isinstance(call.attrs, ConvAttrs):
        inner = replace(call.attrs, activation=Activation.NONE)
        outer = ConvAttrs(activation=call.attrs.activation)
        shape, last = (*call.output.shape[:3], rank), (filters, 1, 1, rank)
    target = _declare(walk, node, f"rank{rank}", shape)
    source = made.node.inputs[0]
    first = _layer_node(walk, node, f"{node.name}:rank", source, (rank, *kernel), inner, target)
    chosen = _latent(walk, first, basis, mix)
    return _Made(_layer_node(walk, node, node.name, target, last, outer, node.outputs[0]), restricted(layer, chosen))


def _channels(walk: Walk, node: Node, rank: int) -> _Made:
    """Adds a 1×1 convolution to `rank` channels, and returns `node` as a layer that reads it."""
    call, layer = walk.call(node), _best(walk, node, _start(walk, node))
    basis = channel_basis(layer)[:rank]
    filters, height, width, channels = layer.shape
    target = _declare(walk, node, f"in{rank}", (*call.input(0).shape[:3], rank))
    first = _layer_node(walk, node, f"{node.name}:in", node.inputs[0], (rank, 1, 1, channels), ConvAttrs(), target)
    chosen = _latent(walk, first, basis, _mix(layer, basis, "channels"))
    last = _layer_node(walk, node, node.name, target, (filters, height, width, rank), node.attrs, node.outputs[0])
    return _Made(last, restricted(layer, spread(chosen, "channels", layer.shape)))


def _spatial(walk: Walk, node: Node, form: Form) -> _Made:
    """Adds a k×1 (or 1×k) convolution, and returns the 1×k (or k×1) layer that reads it."""
    call, layer, rank = walk.call(node), _best(walk, node, _start(walk, node)), form.ranks[0]
    attrs: ConvAttrs = call.attrs
    basis = spatial_basis(layer, form.kind)[:rank]
    (filters, height, width, channels), pad = layer.shape, attrs.padding
    tall = (height, 1), ConvAttrs((attrs.stride[0], 1), (attrs.dilation[0], 1), (*pad[:2], 0, 0))
    wide = (1, width), ConvAttrs((1, attrs.stride[1]), (1, attrs.dilation[1]), (0, 0, *pad[2:]))
    (batch, in_h, in_w, _), (_, out_h, out_w, _) = call.input(0).shape, call.output.shape
    (near, inner), (far, outer) = (tall, wide) if form.kind == "columns" else (wide, tall)
    size = (batch, out_h, in_w, rank) if form.kind == "columns" else (batch, in_h, out_w, rank)
    target = _declare(walk, node, f"{form.kind}{rank}", size)
    first = _layer_node(walk, node, f"{node.name}:{form.kind}", node.inputs[0], (rank, *near, channels), inner, target)
    chosen = _latent(walk, first, basis, _mix(layer, basis, form.kind))
    outer = replace(outer, activation=attrs.activation)
    last = _layer_node(walk, node, node.name, target, (filters, *far, rank), outer, node.outputs[0])
    return _Made(last, restricted(layer, spread(chosen, form.kind, layer.shape)))


def _start(walk: Walk, node: Node) -> _Made:
    stored = walk.types[node.inputs[1]].dequantize(walk.constants[node.inputs[1]])
    return _Made(node, columns(node.op, stored, 1)[0])


def _mix(layer: Layer, basis: Real, kind: str) -> Real:
    """What each latent value is multiplied with later on, as [any, rank]."""
    return restricted(layer, spread(basis, kind, layer.shape)).reshape(-1, len(basis))

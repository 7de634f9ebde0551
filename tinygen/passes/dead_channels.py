# SPDX-License-Identifier: Apache-2.0
"""Channels that hold one value for every input, or that nobody reads, are removed.

Bounds on the integers (see `tinygen.passes.intervals`) prove channels constant: those that a fused activation
saturates, whose weights are zero, or that depend on such channels alone. What a constant channel adds to the sums of a
layer goes into the layer's bias, where it is the same at every position. A channel whose weights are zero in every
filter that is read itself adds nothing, and is removed likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops import call_of
from tinygen.passes.base import Keeps, Result, label
from tinygen.passes.channels import channel_groups, channels_of, mixes
from tinygen.passes.intervals import Bounds, bounds_of
from tinygen.passes.layers import layer_of
from tinygen.passes.liveness import Liveness, constants_read
from tinygen.passes.rewrite import fresh
from tinygen.passes.surgery import remove_channels

#: Channels of all tensors together that the pass looks at: a few seconds.
MAX_CHANNELS = 1 << 22


@dataclass(frozen=True)
class DeadChannels:
    """Remove channels that no output of the model depends on, and fold constant ones into the biases of their readers.

    Biases stay within 32 bits: every layer's constraint `sums_fit` bounds its bias plus all that its inputs may add.
    """

    name: str = "dead-channels"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        if sum(map(channels_of, graph.types.values())) > MAX_CHANNELS:
            return Result(graph, declined=(f"tensors have more than {MAX_CHANNELS:,} channels: too many to look at",))
        smaller = graph
        while True:
            bounds = bounds_of(smaller)
            known = _with_constants(smaller, bounds)
            liveness = Liveness(known, channel_groups(known), bounds)
            liveness.spread()
            if known is smaller and liveness.live.all():
                return Result(smaller, tuple(_lines(graph, smaller)), tuple(liveness.kept()))
            masks = liveness.groups.masks(~liveness.live)
            smaller = remove_channels(_folded(known, bounds, masks), masks)


def _with_constants(graph: Graph, bounds: Mapping[str, Bounds]) -> Graph:
    """`graph` with constants for layers whose whole output is one, if it is no larger than their weights and biases."""
    made = dict[str, Array]()
    for node in graph.nodes:
        name, tensor = node.outputs[0], graph.types[node.outputs[0]]
        if layer_of(call_of(graph, node)) is None or name not in bounds or not bounds[name].constant.all():
            continue
        if tensor.bytes <= _bytes(graph, node):
            made[name] = np.broadcast_to(bounds[name].low.astype(np.int8), tensor.shape)
    if not made:
        return graph
    nodes = [node for node in graph.nodes if node.outputs[0] not in made]
    return graph.with_nodes(nodes, constants={**graph.constants, **made})


def _folded(graph: Graph, bounds: Mapping[str, Bounds], masks: Mapping[str, Array]) -> Graph:
    """`graph` with biases that hold what the channels add that `masks` do not keep, wherever they are constant."""
    types, constants, nodes = dict(graph.types), dict(graph.constants), []
    for node in graph.nodes:
        added = _added(graph, node, bounds, masks)
        if added.any():
            name, tensor = _bias(graph, node)
            value = constants[name].astype(np.int64) if name in constants else np.zeros(len(added), np.int64)
            name = fresh(replace(graph, types=types), name)
            types[name], constants[name] = tensor, (value + added).astype(np.int32)
            node = replace(node, inputs=(*node.inputs[:2], name))
        nodes.append(node)
    return graph.with_nodes(nodes, types=types, constants=constants)


def _added(graph: Graph, node: Node, bounds: Mapping[str, Bounds], masks: Mapping[str, Array]) -> Array:
    """What the constant channels that go add to each sum of `node`, int64 [output channels]; [1] if it is no layer."""
    call = call_of(graph, node)
    layer = layer_of(call) if mixes(call) else None
    if layer is None or masks[node.inputs[0]].all() or node.inputs[0] not in bounds:
        return np.zeros(1, np.int64)
    values = np.where(masks[node.inputs[0]], 0, np.nan_to_num(constants_read(graph, node, bounds))).astype(np.int64)
    return np.asarray(np.einsum("ftd,fd->f", layer.weights[:, layer.always], values[layer.reads]))


def _bias(graph: Graph, node: Node) -> tuple[str, TensorType]:
    """Name and type of a layer's bias, or of one that it could have."""
    call = call_of(graph, node)
    if call.has(2):
        return node.inputs[2], call.input(2)
    scales = tuple(float(np.float32(call.input(0).q.scale * s)) for s in call.input(1).q.scales)
    quant = Quant(scales, (0,) * len(scales), 0 if len(scales) > 1 else None)
    return f"{node.outputs[0]}:bias", TensorType((channels_of(call.output),), DType.INT32, quant)


def _lines(graph: Graph, smaller: Graph) -> Iterator[str]:
    """For each layer that lost channels of its output or input: how many, and how many bytes."""
    left = {node.outputs[0]: node for node in smaller.nodes}
    for node in graph.nodes:
        after, before = left.get(node.outputs[0]), _bytes(graph, node)
        if layer_of(call_of(graph, node)) is None:
            continue
        if after is None:
            same = node.outputs[0] in smaller.constants
            yield f"{label(node)} {'gives the same for every input' if same else 'is not needed'}: {_less(before)}"
            continue
        (read, made), (read_now, made_now) = _channels(graph, node), _channels(smaller, after)
        if (read, made) != (read_now, made_now):
            yield (
                f"{label(node)} computes {made_now} of {made} channels from {read_now} of {read}: "
                f"{_less(before - _bytes(smaller, after))}"
            )


def _channels(graph: Graph, node: Node) -> tuple[int, int]:
    """How many channels a layer reads and makes."""
    return channels_of(graph.types[node.inputs[0]]), channels_of(graph.types[node.outputs[0]])


def _less(saved: int) -> str:
    return f"{abs(saved)} bytes {'less' if saved >= 0 else 'more, for a bias'}"


def _bytes(graph: Graph, node: Node) -> int:
    return sum(graph.types[name].bytes for name in node.inputs if name in graph.constants)

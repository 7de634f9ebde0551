# SPDX-License-Identifier: Apache-2.0
"""Which channels of a graph's tensors have to stay or go together.

A channel is an index along a tensor's last axis: of NHWC images, or the features of a dense layer. Layers that mix
channels (convolutions, dense layers) read the channels of their input and make new ones; most other operators pass each
channel through, and so tie a channel of their output to those of their inputs: residual sums, depthwise convolutions,
concatenations, pools, a flattening before a dense layer. Channels that are tied, directly or through others, form a
group: what a pass that removes channels has to remove as a whole, see `tinygen.passes.surgery.remove_channels`.
(Dependency groups: Fang et al., DepGraph, CVPR 2023.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, TensorType
from tinygen.ops import all_ops, call_of, reduction
from tinygen.ops.base import Call
from tinygen.ops.convolution import OPERANDS
from tinygen.ops.movement import constant_parameters
from tinygen.passes.base import label

#: Elements of the output come from the same channel of each input that has so many channels.
_ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU"})
_SPATIAL = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"})
_REDUCTIONS = frozenset({"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"})
#: Operators that only move elements, and that can do so with fewer channels: shapes say how many there are.
_MOVES = frozenset(
    {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CONCATENATION", "PAD", "PADV2", "MIRROR_PAD"}
    | {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"}
)
#: Operators all of whose inputs are data; of others it is the first.
_ALL_DATA = _ELEMENTWISE | {"CONCATENATION"}

#: Nodes with more elements are not looked at element by element.
MAX_ELEMENTS = 1 << 22

#: Channel `mine` of one tensor goes with channel `others` of another, index by index.
Tie = tuple[str, Array, str, Array]
#: Channels of a tensor (None: all of them) that have to stay, and why.
Whole = tuple[str, Array | None, str]


@dataclass(frozen=True)
class Groups:
    """The groups of channels of a graph.

    `of` gives for each tensor that holds data (constant operands of elementwise operators included, weights and biases
    not) the group of each of its channels, int64 [channels]. `fixed` are the groups that have to stay, and why.
    """

    of: Mapping[str, Array]
    count: int
    fixed: Mapping[int, str]

    def masks(self, removed: Array) -> dict[str, Array]:
        """What `remove_channels` takes: for each tensor, which channels are in no group that `removed` (bool [count])
        marks; bool [channels]."""
        return {name: ~removed[groups] for name, groups in self.of.items()}


def channels_of(tensor: TensorType) -> int:
    """The size of the last axis; 1 for a tensor without dimensions."""
    return tensor.shape[-1] if tensor.shape else 1


def elements(call: Call[Any]) -> int:
    """Elements of all inputs and outputs of a node."""
    return sum(t.elements for t in (*call.inputs, *call.outputs) if t is not None)


def data_inputs(node: Node) -> tuple[str, ...]:
    """The inputs of `node` that hold what flows through the network, in order, each once."""
    names = node.inputs if node.op in _ALL_DATA else node.inputs[:1]
    return tuple(dict.fromkeys(name for name in names if name))


def mixes(call: Call[Any]) -> bool:
    """Whether every output channel of the node is computed from all input channels, with constant weights.

    So a CONV_2D without groups, a depthwise convolution of a single channel, a dense layer whose rows are whole pixels.
    """
    if call.op not in OPERANDS or OPERANDS[call.op].input != 0 or call.constants[1] is None:
        return False
    channels, weights = channels_of(call.input(0)), call.input(1).shape
    if call.op == "DEPTHWISE_CONV_2D":
        return channels == 1
    if call.op == "CONV_2D":
        return channels == weights[3]
    return call.op == "FULLY_CONNECTED" and weights[1] % channels == 0


def channel_groups(graph: Graph) -> Groups:
    """The groups of `graph`. Fixed are the model's inputs and outputs, and what operators need whole."""
    names = [*graph.inputs, *(n for node in graph.nodes for n in (*data_inputs(node), *node.outputs)), *graph.outputs]
    starts, count = dict[str, int](), 0
    for name in dict.fromkeys(names):
        starts[name] = count
        count += channels_of(graph.types[name])
    tied = list[Tie]()
    whole: list[Whole] = [(n, None, f"'{n}' is an input of the model") for n in graph.inputs]
    whole += [(n, None, f"'{n}' is an output of the model") for n in graph.outputs]
    for node in graph.nodes:
        tied += list(_ties(graph, node))
        whole += list(_whole(graph, node))
    labels = _components(count, [(starts[a] + i, starts[b] + j) for a, i, b, j in tied])
    _, groups = np.unique(labels, return_inverse=True)
    of = {name: groups[start : start + channels_of(graph.types[name])] for name, start in starts.items()}
    fixed: dict[int, str] = {}
    for name, indices, why in whole:
        for group in np.unique(of[name] if indices is None else of[name][indices]).tolist():
            fixed.setdefault(group, why)
    return Groups(of, int(groups.max(initial=-1)) + 1, fixed)


def _ties(graph: Graph, node: Node) -> Iterator[Tie]:
    """The ties that `node` makes between channels of its inputs and its output."""
    call = call_of(graph, node)
    if _moves(call):
        yield from _moved(graph, node)
    elif _is_grouped(call):
        yield from _grouped(node, call)
    elif _passes(call):
        channels = channels_of(call.output)
        for name in data_inputs(node):
            if channels_of(graph.types[name]) == channels:
                yield name, np.arange(channels), node.outputs[0], np.arange(channels)


def _whole(graph: Graph, node: Node) -> Iterator[Whole]:
    """The channels that `node` cannot do without."""
    call, why = call_of(graph, node), f"{label(node)} needs every channel"
    if mixes(call) or _is_grouped(call):
        return
    if _moves(call):
        # channels of a border, which come from nowhere
        yield node.outputs[0], np.setdiff1d(np.arange(channels_of(call.output)), _origins(graph, node)[0]), why
        return
    for name in (*data_inputs(node), *node.outputs):
        if not _passes(call) or channels_of(graph.types[name]) != channels_of(call.output):
            yield name, None, why
    if not _passes(call):
        yield from ((name, None, why) for name in node.inputs if name and name not in graph.constants)


def _passes(call: Call[Any]) -> bool:
    """Whether each output channel is computed from the same channel of the inputs, or from inputs of one channel."""
    if call.op in _REDUCTIONS:
        return len(call.input(0).shape) - 1 not in reduction.axes(call) and len(call.output.shape) > 0
    return call.op in _ELEMENTWISE | _SPATIAL or all_ops()[call.op].pointwise(call)


def _moves(call: Call[Any]) -> bool:
    """Whether the node only moves elements, as its constants say, and not too many of them to follow each."""
    return (
        call.op in _MOVES
        and elements(call) <= MAX_ELEMENTS
        and (call.op == "CONCATENATION" or constant_parameters(call))
    )


def _is_grouped(call: Call[Any]) -> bool:
    """Whether the node convolves groups of channels apart from each other, depthwise or in larger groups."""
    return call.op in ("CONV_2D", "DEPTHWISE_CONV_2D") and call.constants[1] is not None and not mixes(call)


def _grouped(node: Node, call: Call[Any]) -> Iterator[Tie]:
    """A group's input and output channels go with the group's first input channel."""
    inputs, outputs = np.arange(channels_of(call.input(0))), np.arange(channels_of(call.output))
    depth = 1 if call.op == "DEPTHWISE_CONV_2D" else call.input(1).shape[3]
    filters = len(outputs) // (len(inputs) // depth)
    yield node.inputs[0], inputs, node.inputs[0], inputs // depth * depth
    yield node.outputs[0], outputs, node.inputs[0], outputs // filters * depth


def _origins(graph: Graph, node: Node) -> tuple[Array, list[tuple[str, Array]]]:
    """Where the channels of a move's output come from: the output channels that come from anywhere, int64 [n], and for
    each input the channel that each of them holds somewhere, int64 [n], -1 where it is none of that input's.

    Found by moving the numbers of channels instead of values. A channel of the output may be listed several times.
    """
    call, names = call_of(graph, node), data_inputs(node)
    starts = np.cumsum([1, *(channels_of(graph.types[n]) for n in names)])
    numbered = {n: _numbered(graph.types[n], int(s)) for n, s in zip(names, starts, strict=False)}
    values = [numbered.get(n, graph.constants.get(n)) for n in node.inputs]
    if node.op == "PADV2":
        values[2] = np.zeros(1, np.int64)
    moved = np.asarray(all_ops()[node.op].reference(_without_quant(call), values)[0])
    count = channels_of(call.output)
    numbers, channels = np.divmod(np.unique(moved.reshape(-1, count) * count + np.arange(count)), count)
    numbers, channels = numbers[numbers > 0], channels[numbers > 0]
    return channels, [
        (name, np.where((numbers >= first) & (numbers < end), numbers - first, -1))
        for name, first, end in zip(names, starts, starts[1:], strict=False)
    ]


def _numbered(tensor: TensorType, first: int) -> Array:
    """The number of each element's channel, counted from `first`, in the tensor's shape."""
    return np.broadcast_to(first + np.arange(channels_of(tensor)), tensor.shape or (1,)).reshape(tensor.shape)


def _without_quant(call: Call[Any]) -> Call[Any]:
    """`call` on plain integers, so that borders are made of 0."""
    inputs = tuple(None if t is None else replace(t, quant=None) for t in call.inputs)
    return replace(call, inputs=inputs, outputs=tuple(replace(t, quant=None) for t in call.outputs))


def _moved(graph: Graph, node: Node) -> Iterator[Tie]:
    channels, origins = _origins(graph, node)
    for name, held in origins:
        yield name, held[held >= 0], node.outputs[0], channels[held >= 0]


def _components(count: int, edges: list[tuple[Array, Array]]) -> Array:
    """The smallest node, of `count`, that each node is connected with by `edges`; int64 [count]."""
    labels = np.arange(count)
    if not edges:
        return labels
    first, second = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    while True:
        low = np.minimum(labels[first], labels[second])
        following = labels.copy()
        for ends in (labels[first], labels[second]):
            np.minimum.at(following, ends, low)
        following = following[following]
        if np.array_equal(following, labels):
            return labels
        labels = following

# SPDX-License-Identifier: Apache-2.0
"""PAD before a convolution becomes the convolution's own padding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType
from tinygen.ops.movement import zero_of
from tinygen.passes.base import Keeps, Result, label

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_PADS = frozenset({"PAD", "PADV2"})


@dataclass(frozen=True)
class FusePadding:
    """Fuse PAD and PADV2 into the convolutions that read them, where the padding is what convolutions pad with."""

    name: str = "fuse-padding"
    keeps: Keeps = Keeps.BITS

    def run(self, graph: Graph) -> Result:
        done, declined, nodes = [], [], []
        for node in graph.nodes:
            while pad := _padding_before(graph, node):
                reason = unfusable(graph, pad)
                if reason:
                    declined.append(f"{label(pad)} stays: {reason}")
                    break
                node = _padded(graph, node, pad)
                done.append(f"{label(pad)} is padding of {label(node)}")
            nodes.append(node)
        return Result(graph.with_nodes(nodes) if done else graph, tuple(done), tuple(declined))


def _padding_before(graph: Graph, node: Node) -> Node | None:
    """The PAD or PADV2 whose output the convolution `node` reads."""
    pad = graph.producer(node.inputs[0]) if node.op in _CONVOLUTIONS else None
    return pad if pad is not None and pad.op in _PADS else None


def unfusable(graph: Graph, pad: Node) -> str:
    """Why `pad` cannot be a convolution's padding; empty if it can."""
    source, target = graph.types[pad.inputs[0]], graph.types[pad.outputs[0]]
    amounts = graph.constants.get(pad.inputs[1])
    if amounts is None:
        return "its amounts are not constant"
    if len(source.shape) != 4 or amounts[0].any() or amounts[3].any():
        return "it pads other dimensions than height and width"
    if source.quant != target.quant or (source.quant is None and source.dtype is not DType.FLOAT32):
        return "its input and output do not have the same scale and zero point"
    if pad.op == "PADV2":
        value = graph.constants.get(pad.inputs[2])
        if value is None or value.ravel()[0] != zero_of(source):
            return "it pads with another value than zero"
    return ""


def _padded(graph: Graph, node: Node, pad: Node) -> Node:
    (top, bottom), (left, right) = graph.constants[pad.inputs[1]][1:3].tolist()
    attrs: Any = node.attrs
    old = attrs.padding
    padding = (old[0] + top, old[1] + bottom, old[2] + left, old[3] + right)
    return replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attrs=replace(attrs, padding=padding))

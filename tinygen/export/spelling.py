# SPDX-License-Identifier: Apache-2.0
"""Rewriting a graph so that a TFLite file can say it: TFLite knows the paddings SAME and VALID only.

Other paddings of convolutions become a PAD node in front, of MAX_POOL_2D a PADV2 with the smallest number; a
TRANSPOSE_CONV computes the rows and columns that its padding cuts off, too, and a SLICE behind it takes them away.
Convolutions get a bias of zeros where they have none, without which LiteRT (conv.cc) refuses them.
All of this computes the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops.shapes import same_padding

VALID = (0, 0, 0, 0)

#: Operators with a padding.
_PADDED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "TRANSPOSE_CONV"})


def is_same(graph: Graph, node: Node) -> bool:
    """Whether the padding of `node` is what SAME means for it."""
    attrs: Any = node.attrs
    image = graph.types[node.outputs[0] if node.op == "TRANSPOSE_CONV" else node.inputs[0]].shape[1:3]
    window = attrs.window if hasattr(attrs, "window") else graph.types[node.inputs[1]].shape[1:3]
    dilation = getattr(attrs, "dilation", (1, 1))
    sides = [same_padding(image[i], window[i], attrs.stride[i], dilation[i]) for i in range(2)]
    return tuple(attrs.padding) == (*sides[0], *sides[1])


def spelled(graph: Graph) -> Graph:
    """`graph` with SAME and VALID paddings only, and a bias for each convolution.

    Raises `UnsupportedError` for a node that has no TFLite form.
    """
    writer = _Writer(graph, dict(graph.types), dict(graph.constants))
    nodes = [made for node in graph.nodes for made in writer.written(node)]
    return graph.with_nodes(nodes, types=writer.types, constants=writer.constants)


@dataclass
class _Writer:
    """The types and constants of the new graph, as they grow."""

    graph: Graph
    types: dict[str, TensorType]
    constants: dict[str, Array]

    def written(self, node: Node) -> Iterator[Node]:
        """What stands for `node`."""
        if node.op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            node = self.biased(node)
        attrs: Any = node.attrs
        if node.op not in _PADDED or tuple(attrs.padding) == VALID or is_same(self.graph, node):
            yield node
        elif node.op == "TRANSPOSE_CONV":
            yield from self.cropped(node)
        elif node.op == "AVERAGE_POOL_2D":
            raise UnsupportedError(
                f"AVERAGE_POOL_2D '{node.name}' has padding {list(attrs.padding)}, which TFLite cannot say: "
                "its averages leave the padding out for SAME and VALID only"
            )
        else:
            yield from self.padded(node)

    def biased(self, node: Node) -> Node:
        """`node` with a bias of zeros if it has none."""
        if len(node.inputs) > 2 and node.inputs[2]:
            return node
        data, weights = (self.types[name].quant for name in node.inputs[:2])
        kind, quant = DType.FLOAT32, None
        if data is not None and weights is not None:
            scales = tuple(float(np.float32(data.scale * s)) for s in weights.scales)
            kind, quant = DType.INT32, Quant(scales, (0,) * len(scales), 0 if len(scales) > 1 else None)
        channels = self.types[node.outputs[0]].shape[3]
        bias = self.tensor(f"{node.outputs[0]}_bias", TensorType((channels,), kind, quant))
        self.constants[bias] = np.zeros(channels, kind.numpy)
        return replace(node, inputs=(*node.inputs[:2], bias))

    def padded(self, node: Node) -> Iterator[Node]:
        attrs: Any = node.attrs
        top, bottom, left, right = attrs.padding
        source = node.inputs[0]
        old = self.types[source]
        batch, height, width, channels = old.shape
        shape = (batch, height + top + bottom, width + left + right, channels)
        target = self.tensor(f"{source}_padded", replace(old, shape=shape))
        amounts = self.constant(f"{target}_amounts", [[0, 0], [top, bottom], [left, right], [0, 0]])
        extremum = node.op == "MAX_POOL_2D"
        extra = (self.lowest(f"{target}_value", old),) if extremum else ()
        yield Node(target, "PADV2" if extremum else "PAD", (source, amounts, *extra), (target,))
        yield replace(node, inputs=(target, *node.inputs[1:]), attrs=replace(attrs, padding=VALID))

    def cropped(self, node: Node) -> Iterator[Node]:
        attrs: Any = node.attrs
        top, _, left, _ = attrs.padding
        out = self.types[node.outputs[0]]
        batch, height, width, channels = out.shape
        shape = (batch, height + top, width + left, channels)
        whole = self.tensor(f"{node.outputs[0]}_whole", replace(out, shape=shape))
        sizes = self.constant(f"{whole}_shape", list(shape))
        yield replace(node, inputs=(sizes, *node.inputs[1:]), outputs=(whole,), attrs=replace(attrs, padding=VALID))
        begin = self.constant(f"{whole}_begin", [0, top, left, 0])
        size = self.constant(f"{whole}_size", list(out.shape))
        yield Node(node.name, "SLICE", (whole, begin, size), node.outputs)

    def tensor(self, name: str, kind: TensorType) -> str:
        """A new tensor, and what it is called."""
        while name in self.types:
            name += "'"
        self.types[name] = kind
        return name

    def constant(self, name: str, values: Any) -> str:
        array = np.array(values, np.int32)
        name = self.tensor(name, TensorType(array.shape, DType.INT32))
        self.constants[name] = array
        return name

    def lowest(self, name: str, like: TensorType) -> str:
        """A constant: the smallest number of the type of `like`."""
        low = np.finfo(np.float32).min if like.dtype is DType.FLOAT32 else like.dtype.limits[0]
        name = self.tensor(name, replace(like, shape=(1,)))
        self.constants[name] = np.array([low], like.dtype.numpy)
        return name

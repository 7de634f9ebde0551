# SPDX-License-Identifier: Apache-2.0
"""What a network is made of in bytes, multiply-accumulates or channels, when some of its channels are gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tinygen.ir.graph import Graph, Node
from tinygen.ops import call_of, op_of
from tinygen.passes.channels import mixes
from tinygen.quantize.layers import is_layer

Measure = Literal["bytes", "macs", "channels"]
#: Bytes of flash for each output channel: the bias, and where scales are by channel, multiplier and shift.
BIAS, REQUANTIZATION = 4, 5


@dataclass(frozen=True)
class Sizes:
    """The layers of a graph: output, input (if mixed), what shrinks with the output's channels alone, and with both."""

    layers: tuple[tuple[str, str | None, float, float], ...]

    def total(self, left: Mapping[str, float]) -> float:
        """The size when of each tensor the share that `left` says (1 by default) of its channels is left."""
        return sum(
            left.get(target, 1.0) * (alone + both * (left.get(source, 1.0) if source else 1.0))
            for target, source, alone, both in self.layers
        )


def sizes(graph: Graph, measure: Measure) -> Sizes:
    """The sizes of `graph`, as `measure` says."""
    return Sizes(tuple(_layer(graph, node, measure) for node in graph.nodes if is_layer(graph, node)))


def _layer(graph: Graph, node: Node, measure: Measure) -> tuple[str, str | None, float, float]:
    call = call_of(graph, node)
    mixed, channels = mixes(call), call.output.shape[-1]
    source = node.inputs[0] if mixed else None
    if measure == "channels":
        return node.outputs[0], None, float(channels if mixed else 0), 0.0
    if measure == "macs":
        return node.outputs[0], source, 0.0, float(op_of(node).macs(call))
    weights = call.input(1)
    each = BIAS + (REQUANTIZATION if weights.q.axis is not None else 0)
    return node.outputs[0], source, float(channels * each), float(weights.elements)


def weight_bytes(graph: Graph, node: Node) -> int:
    """The bytes of a layer's weights and what belongs to them."""
    _, _, alone, both = _layer(graph, node, "bytes")
    return round(alone + both)

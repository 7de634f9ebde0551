# SPDX-License-Identifier: Apache-2.0
"""Biases in 8 or 16 bits: whole multiples of a unit, of which each layer has one, in place of 32 bits each.

Where weights take two or three bits, biases of 32 are a good part of a small network. What is stored is what kernels
add to sums of products: the bias with the zero point of the input folded in. So that is what gets a unit, and the bias
of the graph is what comes of it: an integer of 32 bits as before, which `tinygen.narrow` finds to fit fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from tinygen.compress.base import Evidence, Setting, Stage
from tinygen.compress.fitting.layerwise import layers_of
from tinygen.errors import UsageError
from tinygen.ir.graph import ABSENT, Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.kernels.base import NARROW
from tinygen.ops import call_of
from tinygen.ops.convolution import OPERANDS, bias_of, channel_sums, effective_scales, input_of, weights_of
from tinygen.passes.base import Result, label
from tinygen.passes.rewrite import fresh
from tinygen.quantize.assign import bias_quant


@dataclass(frozen=True)
class Biases:
    """Round each layer's biases to integers of `bits` (8 or 16) times a unit; a layer of "none" keeps its own."""

    bits: Setting = field(default=Setting(8), metadata={"main": True})
    name: ClassVar[str] = "biases"
    stage: ClassVar[Stage] = Stage.STORAGE

    def __post_init__(self) -> None:
        for value in self.bits.values():
            if value not in (None, 8, 16):
                raise UsageError(f"biases of {value!r} bits are unknown; give 8 or 16")

    def run(self, graph: Graph, evidence: Evidence) -> Result:
        """See `Technique`."""
        done = list[str]()
        for node in layers_of(graph):
            bits = self.bits.of(node)
            if bits is not None:
                graph, what = _rounded(graph, node, bits)
                done.append(f"{label(node)}: {what}")
        return Result(graph, tuple(done))


def unit_of(values: Array, bits: int) -> int:
    """The smallest unit of which `values` are at most 2^(bits - 1) - 1 each way; for 16 bits a power of two.

    Zero points are often multiples of such a power: then the bias fits with the zero point folded in and without, and
    kernels of all cores find it so.
    """
    most = (1 << bits - 1) - 1
    unit = max(1, -(-int(np.abs(values).max(initial=0)) // most))
    return 1 << (unit - 1).bit_length() if bits == 16 else unit


def _rounded(graph: Graph, node: Node, bits: int) -> tuple[Graph, str]:
    """`graph` with another bias in `node` (its own, if others read the same), and what was done."""
    call, where = call_of(graph, node), OPERANDS[node.op]
    weights = call.constant(where.weights).astype(np.int64) - call.input(where.weights).q.zero_points[0]
    fold = input_of(call).q.zero_point * channel_sums(call, weights)
    folded = bias_of(call) - fold
    unit = unit_of(folded, bits)
    bias = (np.rint(folded / unit).astype(np.int64) * unit + fold).astype(np.int32)
    steps = np.abs(bias - bias_of(call)) * np.asarray(effective_scales(call))
    made = with_bias(graph, node, bias, bias_quant(input_of(call).q.scale, np.asarray(weights_of(call).q.scales)))
    return made, f"units of {unit}, off by up to {steps.max():.2f} steps of the output"


def with_bias(graph: Graph, node: Node, bias: Array, quant: Quant) -> Graph:
    """`graph` with `bias` [channels] in `node`, which asks to lie in flash in few bits."""
    index = OPERANDS[node.op].bias
    inputs = [*node.inputs, *[ABSENT] * (index + 1 - len(node.inputs))]
    shared = inputs[index] == ABSENT or len(graph.consumers(inputs[index])) != 1 or graph.is_output(inputs[index])
    name = inputs[index] = fresh(graph, f"{node.outputs[0]}:bias") if shared else inputs[index]
    return replace(
        graph,
        nodes=tuple(replace(node, inputs=tuple(inputs)) if n is node else n for n in graph.nodes),
        types={**graph.types, name: TensorType(bias.shape, DType.INT32, quant)},
        constants={**graph.constants, name: bias},
        storage={**graph.storage, name: NARROW},
    ).pruned()


TECHNIQUE = Biases

# SPDX-License-Identifier: Apache-2.0
"""A model that was quantized elsewhere (ONNX): a float graph in which QUANTIZE nodes say the scales → int8 graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Attrs, Graph
from tinygen.ir.types import Array, Quant, Real
from tinygen.ops.limits import check_graph
from tinygen.ops.quantize import Given
from tinygen.passes.base import random_inputs
from tinygen.passes.remove_identities import RemoveIdentities
from tinygen.quantize.assign import EXACT, assign
from tinygen.quantize.groups import Groups, group
from tinygen.quantize.prepare import prepare
from tinygen.quantize.ranges import symmetric_scales

#: What these cut off need not be represented in front of them either.
_CLAMPS = frozenset({"RELU", "RELU6", "RELU_N1_TO_1"})
#: So many weights of a channel are looked at before all of them are.
FIRST = 64


def from_given(graph: Graph) -> Graph:
    """The int8 graph of a float `graph` whose QUANTIZE nodes carry scales.

    A tensor has the scale of the QUANTIZE that makes or reads it, or of the tensors it must share one with. Raises
    `UnsupportedError` for a tensor that has none.
    """
    groups = group(prepare(graph, random_inputs(graph, 0)))
    made = assign(groups, _quants(groups), stored_scales, stored=True)
    nodes = [replace(n, attrs=Attrs()) if isinstance(n.attrs, Given) else n for n in made.nodes]
    integers = RemoveIdentities().run(replace(made, nodes=tuple(nodes))).graph
    check_graph(integers)
    return integers


def _quants(groups: Groups) -> dict[str, Quant]:
    """The quantization of each group of tensors."""
    quants = {name: Quant.per_tensor(rule.scale, rule.zero_point) for name, rule in groups.fixed.items()}
    for node in groups.graph.nodes:
        if isinstance(node.attrs, Given):
            quants.setdefault(groups.of[node.outputs[0]], Quant.per_tensor(node.attrs.scale, node.attrs.zero_point))
    for node in reversed(groups.graph.nodes):
        if isinstance(node.attrs, Given) or node.op in _CLAMPS:
            source, target = groups.of.get(node.inputs[0]), groups.of[node.outputs[0]]
            if source is not None and target in quants:
                quants.setdefault(source, quants[target])
    for name, root in groups.of.items():
        if root not in quants and name not in groups.graph.constants:
            raise UnsupportedError(
                f"tensor '{name}' is not quantized in the model: quantize every activation, or pass the float model"
            )
    return quants


def stored_scales(weights: Array, axis: int, floor: Array | float = 0.0) -> Real:
    """The scales with which weights that were int8 become those integers again; as `symmetric_scales` for others.

    For each channel, the finest scale, not below a 127th of its largest weight, of which all weights are multiples.
    """
    scales = symmetric_scales(weights, axis, floor)
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    for channel in np.flatnonzero((largest > 0) & (scales * 127 <= largest * (1 + 1e-6))):
        row = rows[channel] / largest[channel]
        levels = (k for k in range(127, 0, -1) if _whole(row[:FIRST] * k) and _whole(row * k))
        scales[channel] = np.float32(largest[channel] / next(levels, 127))
    return scales


def _whole(values: Array) -> bool:
    return bool(np.all(np.abs(values - np.rint(values)) < EXACT))

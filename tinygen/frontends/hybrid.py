# SPDX-License-Identifier: Apache-2.0
"""Models with int8 weights under float activations (dynamic-range quantization), taken as float models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, DType


def as_float(graph: Graph) -> Graph:
    """`graph` with its constants in float32, if they are all that is quantized in a model that computes in float32.

    DEQUANTIZE of such a constant goes, too. Any other graph stays as it is.
    """
    stored = {n for n in graph.constants if graph.types[n].quant is not None}
    computed = {n: t for n, t in graph.types.items() if n not in graph.constants}
    quantized = any(t.quant is not None for t in computed.values())
    if not stored or quantized or all(t.dtype is not DType.FLOAT32 for t in computed.values()):
        return graph
    types, constants = dict(graph.types), dict(graph.constants)
    for name in stored:
        types[name] = replace(types[name], dtype=DType.FLOAT32, quant=None)
        constants[name] = _floats(graph, name)
    nodes = []
    for node in graph.nodes:
        if node.op == "DEQUANTIZE" and node.inputs[0] in stored:
            constants[node.outputs[0]] = constants[node.inputs[0]]
        else:
            nodes.append(node)
    return Graph(graph.name, graph.inputs, graph.outputs, tuple(nodes), types, constants).pruned()


def _floats(graph: Graph, name: str) -> Array:
    return graph.types[name].dequantize(graph.constants[name]).astype(np.float32)

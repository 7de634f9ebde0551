# SPDX-License-Identifier: Apache-2.0
"""What training learned, back in the int8 Graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType, TensorType
from tinygen.ops import call_of, check_node
from tinygen.ops.convolution import OPERANDS
from tinygen.quantize.assign import bias_quant, steps
from tinygen.train.layers import Learned, is_trainable, quant_of
from tinygen.train.structure import structure_of


def trainable(graph: Graph) -> list[Node]:
    """The layers whose weights are constants of their own."""
    return [n for n in graph.nodes if n.op in _LAYERS and _own(graph, n) and is_trainable(call_of(graph, n))]


_LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


def _own(graph: Graph, node: Node) -> bool:
    """Whether weights and bias are constants that no one else reads."""
    names = [name for name in node.inputs[1:] if name]
    return all(n in graph.constants and len(graph.consumers(n)) == 1 and not graph.is_output(n) for n in names)


def rebuilt(graph: Graph, learned: Mapping[str, Learned]) -> Graph:
    """`graph` with what layers learned, by their outputs' names. Layers that could not run so stay as they were."""
    for name, found in learned.items():
        node = next(n for n in graph.nodes if n.outputs[0] == name)
        changed = _with(graph, node, found)
        try:
            check_node(changed, node)
        except UnsupportedError:  # sums that would leave 32 bits
            continue
        graph = changed
    return graph


def _with(graph: Graph, node: Node, found: Learned) -> Graph:
    where, types, constants = OPERANDS[node.op], dict(graph.types), dict(graph.constants)
    weights, source = node.inputs[where.weights], graph.types[node.inputs[where.input]].q.scale
    if not structure_of(constants[weights]).allows(found.weights):
        raise AssertionError(f"training '{node.name}' lost the structure of its weights")
    constants[weights] = found.weights
    types[weights] = replace(types[weights], quant=quant_of(types[weights].q, found.scales))
    if len(node.inputs) > where.bias and node.inputs[where.bias]:
        bias = node.inputs[where.bias]
        types[bias] = TensorType(types[bias].shape, DType.INT32, bias_quant(source, found.scales))
        constants[bias] = steps(np.asarray(found.bias), source * found.scales, DType.INT32).reshape(types[bias].shape)
    return replace(graph, types=types, constants=constants)

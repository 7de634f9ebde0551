# SPDX-License-Identifier: Apache-2.0
"""What is asked of a graph as a whole."""

from __future__ import annotations

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.types import DType
from tinygen.ops import call_of, check_float_node, check_node, op_of
from tinygen.ops.quantize import Given
from tinygen.ops.supposed import is_float as is_float_node

#: More multiply-accumulates than any microcontroller computes in a useful time (seconds at 1 GHz).
MAX_MACS = 1 << 32
#: More than the flash of any microcontroller.
MAX_CONSTANT_BYTES = 1 << 24
#: Operators that compile to float C.
FLOAT_IN_C = frozenset({"CAST", "DEQUANTIZE", "LOG_SOFTMAX", "QUANTIZE"})


def check_graph(graph: Graph) -> None:
    """Raise for the first node that cannot be compiled, and for a graph that is far too much work."""
    for node in graph.nodes:
        check_node(graph, node)
    _check_size(graph, sum(value.nbytes for value in graph.constants.values()))


def is_float(graph: Graph) -> bool:
    """Whether `graph` is a float model, which has to be quantized first: nothing is, and it computes in float32."""
    if any(t.quant is not None and t.dtype is not DType.FLOAT32 for t in graph.types.values()):
        return False
    return any(n.op not in FLOAT_IN_C and is_float_node(call_of(graph, n)) for n in graph.nodes)


def is_given(graph: Graph) -> bool:
    """Whether float `graph` carries scales: it was quantized elsewhere, and needs no calibration."""
    return any(isinstance(node.attrs, Given) for node in graph.nodes)


def check_float(graph: Graph) -> None:
    """Raise for the first node of a float graph that could not be compiled after quantization."""
    for node in graph.nodes:
        check_float_node(graph, node)
    _check_size(graph, sum(value.size for value in graph.constants.values()))


def check_model(graph: Graph) -> None:
    """`check_float` for float models, `check_graph` for all others."""
    (check_float if is_float(graph) else check_graph)(graph)


def _check_size(graph: Graph, constants: int) -> None:
    if constants > MAX_CONSTANT_BYTES:
        raise UnsupportedError(
            f"the model's constants take {constants:,} bytes, more than the {MAX_CONSTANT_BYTES:,} that make sense on "
            "a microcontroller: use a smaller model"
        )
    macs = sum(op_of(node).macs(call_of(graph, node)) for node in graph.nodes)
    if macs > MAX_MACS:
        raise UnsupportedError(
            f"the model takes {macs:,} multiply-accumulates, more than the {MAX_MACS:,} that make sense on a "
            "microcontroller: reduce its input or its layers"
        )

"""What is asked of a graph as a whole."""

from __future__ import annotations

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ops import call_of, check_node, op_of

#: More multiply-accumulates than any microcontroller computes in a useful time (seconds at 1 GHz).
MAX_MACS = 1 << 32
#: More than the flash of any microcontroller.
MAX_CONSTANT_BYTES = 1 << 24


def check_graph(graph: Graph) -> None:
    """Raise for the first node that cannot be compiled, and for a graph that is far too much work."""
    for node in graph.nodes:
        check_node(graph, node)
    constants = sum(value.nbytes for value in graph.constants.values())
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

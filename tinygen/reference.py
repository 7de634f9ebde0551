# SPDX-License-Identifier: Apache-2.0
"""Running a graph in numpy: with its exact integers, or in real numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops import call_of, op_of


def run_all(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every tensor of `graph` by name, for one set of inputs (in the graph's order, shapes and dtypes as declared).

    Bit for bit what the generated C computes; see `Op.reference`.
    """
    values: dict[str, Array] = {**graph.constants, **dict(zip(graph.inputs, inputs, strict=True))}
    for node in graph.nodes:
        call = call_of(graph, node)
        results = op_of(node).reference(call, [values[n] if n else None for n in node.inputs])
        for name, result in zip(node.outputs, results, strict=True):
            declared = graph.types[name]
            values[name] = np.ascontiguousarray(result, dtype=declared.dtype.numpy).reshape(declared.shape)
    return values


def run(graph: Graph, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs of `graph`, in its order, for one set of inputs."""
    values = run_all(graph, inputs)
    return tuple(values[name] for name in graph.outputs)


def run_real(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every tensor as float64 real numbers, computed without any rounding to integers, from quantized inputs."""
    known: Mapping[str, Array] = {**graph.constants, **dict(zip(graph.inputs, inputs, strict=True))}
    values = {name: graph.types[name].dequantize(value) for name, value in known.items()}
    for node in graph.nodes:
        real: Callable[..., Any] = op_of(node).real
        results = real(call_of(graph, node), [values[n] if n else None for n in node.inputs])
        values.update(zip(node.outputs, results, strict=True))
    return values

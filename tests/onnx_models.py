# SPDX-License-Identifier: Apache-2.0
"""ONNX models for tests, and onnxruntime as their oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tinygen.frontends.onnx import read
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.passes.cancel_transposes import CancelTransposes
from tinygen.reference import run_real

Shape = Sequence[int | str | None]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of float32 inputs and outputs."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def one_node(
    op: str,
    shape: Sequence[int],
    constants: Sequence[Array | None] = (),
    opset: int = 17,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node with input `x` and constants after it (None: absent)."""
    named = {f"c{i}": value for i, value in enumerate(constants) if value is not None}
    names = ["x", *(f"c{i}" if value is not None else "" for i, value in enumerate(constants))]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="the_node", **attributes)
    return model([node], {"x": shape}, results, named, opset)


def graph_of(proto: onnx.ModelProto) -> Graph:
    return read(Path("model.onnx"), proto.SerializeToString()).graph


def runtime(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """What onnxruntime computes, without its own rewriting of the graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(inputs))]


def difference(graph: Graph, inputs: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference from what is expected, relative to the largest value; infinite for other shapes."""
    values, worst = run_real(graph, inputs), 0.0
    for name, wanted in zip(graph.outputs, expected, strict=True):
        got = np.asarray(values[name])
        if got.shape != wanted.shape or graph.types[name].shape != wanted.shape:
            return float("inf")
        size = max(float(np.max(np.abs(wanted), initial=0)), 1e-6)
        worst = max(worst, float(np.max(np.abs(got - wanted), initial=0)) / size)
    return worst


def check(proto: onnx.ModelProto, seed: int = 0, positive: bool = False) -> Graph:
    """Compare the graph read from `proto`, before and after its transpositions cancel, with onnxruntime."""
    graph, rng = graph_of(proto), np.random.default_rng(seed)
    values = [rng.standard_normal(graph.types[name].shape).astype(np.float32) for name in graph.inputs]
    values = [np.abs(v) + np.float32(0.1) for v in values] if positive else values
    expected = runtime(proto, dict(zip(graph.inputs, values, strict=True)))
    cancelled = CancelTransposes().run(graph).graph
    for candidate in (graph, cancelled):
        off = difference(candidate, values, expected)
        assert off < 1e-4, f"off by {off}: {[n.op for n in candidate.nodes]}"
    assert cancelled.inputs == graph.inputs and cancelled.outputs == graph.outputs
    return cancelled

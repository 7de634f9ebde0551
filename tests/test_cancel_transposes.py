# SPDX-License-Identifier: Apache-2.0
"""Transpositions cancel, and the graph means the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen.frontends.onnx.build import Builder
from tinygen.ir.graph import Graph
from tinygen.ir.types import DType
from tinygen.ops.concatenation import ConcatenationAttrs
from tinygen.ops.fully_connected import FullyConnectedAttrs
from tinygen.ops.gather import GatherAttrs
from tinygen.ops.reduction import ReducerAttrs
from tinygen.ops.split import SplitAttrs
from tinygen.ops.strided_slice import StridedSliceAttrs
from tinygen.passes import run_passes
from tinygen.passes.base import random_inputs
from tinygen.passes.cancel_transposes import CancelTransposes
from tinygen.reference import run_real

SOME = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def order_of(draw: st.DrawFn, rank: int) -> list[int]:
    return draw(st.permutations(range(rank)))


def step(draw: st.DrawFn, b: Builder, tensors: list[str]) -> str:
    """One more node, of a kind that transpositions move through, or that stops them."""
    x = draw(st.sampled_from(tensors))
    shape, rank = b.shape(x), b.rank(x)
    axis = draw(st.integers(0, rank - 1))
    kind = draw(
        st.sampled_from(
            ["transpose"] * 4
            + ["relu", "add", "const", "low", "concat", "pad", "slice", "strided"]
            + ["split", "gather", "pick", "mean", "max", "ones", "flat", "dense", "softmax"]
            + ["divide", "merge"] * 2
        )
    )
    if kind == "relu":
        return b.emit("RELU", [x])
    if kind == "add":
        others = [t for t in tensors if b.shape(t) == shape]
        return b.emit("ADD", [x, draw(st.sampled_from(others))])
    if kind in ("const", "low"):
        size = shape if kind == "const" else shape[axis:]
        return b.emit("MUL", [b.floats(np.arange(np.prod(size)).reshape(size) % 7 - 3), x])
    if kind == "concat":
        others = [t for t in tensors if b.rank(t) == rank and _rest(b.shape(t), axis) == _rest(shape, axis)]
        return b.emit("CONCATENATION", [x, draw(st.sampled_from(others))], ConcatenationAttrs(axis))
    if kind == "pad":
        return b.emit("PAD", [x, b.integers(np.array([[i == axis, 2 * (i == axis)] for i in range(rank)]))])
    if kind == "slice" and shape[axis] > 1:
        sizes = [n - (i == axis) for i, n in enumerate(shape)]
        return b.emit("SLICE", [x, b.integers([int(i == axis) for i in range(rank)]), b.integers(sizes)])
    if kind == "strided":
        steps = [1 + (i == axis) for i in range(rank)]
        bounds = [b.integers([0] * rank), b.integers([0] * rank), b.integers(steps)]
        return b.emit("STRIDED_SLICE", [x, *bounds], StridedSliceAttrs(end_mask=(1 << rank) - 1))
    if kind == "split" and shape[axis] % 2 == 0:
        return b.emit_all("SPLIT", [b.integers(np.array(axis)), x], SplitAttrs(2), [(), ()])[1]
    if kind == "gather":
        return b.emit("GATHER", [x, b.integers([0, shape[axis] - 1])], GatherAttrs(axis))
    if kind == "pick" and rank > 2:
        return b.emit("GATHER", [x, b.integers(np.array(0))], GatherAttrs(axis))
    if kind in ("mean", "max"):
        keep = rank < 3 or draw(st.booleans())
        return b.emit({"mean": "MEAN", "max": "REDUCE_MAX"}[kind], [x, b.integers([axis])], ReducerAttrs(keep))
    if kind == "ones" and rank < 5:
        return b.reshape(x, [*shape[:axis], 1, *shape[axis:]])
    if kind == "divide" and shape[axis] % 2 == 0 and rank < 5:
        return b.reshape(x, [*shape[:axis], 2, shape[axis] // 2, *shape[axis + 1 :]])
    if kind == "merge" and axis and rank > 2:
        return b.reshape(x, [*shape[: axis - 1], shape[axis - 1] * shape[axis], *shape[axis + 1 :]])
    if kind == "flat":
        return b.reshape(x, [shape[0], int(np.prod(shape[1:]))])
    if kind == "dense":
        weights = b.floats(np.arange(3 * shape[-1]).reshape(3, shape[-1]) % 5 - 2)
        return b.emit("FULLY_CONNECTED", [x, weights], FullyConnectedAttrs(keep_num_dims=draw(st.booleans())))
    if kind == "softmax":
        return b.emit("SOFTMAX", [x])
    return b.emit("TRANSPOSE", [x, b.integers(order_of(draw, rank))])


def _rest(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to 14 nodes, every second of which reads a recent tensor."""
    b = Builder("drawn")
    tensors = [b.add_input("x", tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))), DType.FLOAT32)]
    for _ in range(draw(st.integers(1, 14))):
        tensors.append(step(draw, b, tensors[-3:]))
    chosen = [*draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=2)), tensors[-1]]
    return b.graph({f"y{i}": tensor for i, tensor in enumerate(chosen)})


@SOME
@given(graphs())
def test_meaning(graph: Graph) -> None:
    result = CancelTransposes().run(graph)
    assert (result.graph.inputs, result.graph.outputs) == (graph.inputs, graph.outputs)
    inputs = random_inputs(graph, 1)
    before, after = run_real(graph, inputs), run_real(result.graph, inputs)
    for name in graph.outputs:
        assert result.graph.types[name] == graph.types[name]
        assert np.allclose(before[name], after[name], rtol=1e-9, atol=1e-9)
    for node in result.graph.nodes:
        for name in node.outputs:
            assert after[name].shape == result.graph.types[name].shape
    assert moved(result.graph) <= moved(graph)


def moved(graph: Graph) -> int:
    return sum(graph.types[n.outputs[0]].elements for n in graph.nodes if n.op == "TRANSPOSE")


def test_every_bit_of_int8_graphs_is_kept() -> None:
    """The pass runner compares; and what is left says why."""
    b, quant = ModelBuilder(), (0.1, -5)
    x, a, c = (
        b.tensor((1, 2, 3, 4), "int8", *quant),
        b.tensor((1, 4, 2, 3), "int8", *quant),
        b.tensor((1, 2, 3, 4), "int8", *quant),
    )
    m, y = b.tensor((1, 4, 2, 3), "int8", 0.2, 3), b.tensor((1, 2, 3, 4), "int8", 0.2, 3)
    b.op("TRANSPOSE", [x, b.constant([0, 3, 1, 2])], [a])
    b.op("ADD", [a, a], [m], "AddOptions")
    b.op("TRANSPOSE", [m, b.constant([0, 2, 3, 1])], [y])
    b.op("TRANSPOSE", [a, b.constant([0, 2, 3, 1])], [c])
    graph, (outcome,) = run_passes(load(b.finish([x], [y, a])), [CancelTransposes()])
    assert [n.op for n in graph.nodes] == ["ADD", "TRANSPOSE"]
    assert outcome.done == ("3 transpositions became 1",)
    assert outcome.declined == (
        f"TRANSPOSE '{graph.nodes[1].name}' stays: the model's output needs this order of dimensions",
    )


def test_graphs_without_transpositions_stay() -> None:
    b = Builder("plain")
    graph = b.graph({"y": b.emit("RELU", [b.add_input("x", (2, 3), DType.FLOAT32)])})
    result: Any = CancelTransposes().run(graph)
    assert result.graph is graph and not result.done

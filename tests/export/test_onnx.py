# SPDX-License-Identifier: Apache-2.0
"""What is exported as ONNX is read back as the same integers, and onnxruntime computes them within a step a layer."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests import zoo
from tests.differential.corpus import files
from tests.laws import assert_equal, draw_inputs, load
from tests.odd_models import all_models
from tests.onnx_models import one_node as onnx_node
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.export.onnx import dumps
from tinygen.frontends.onnx import read
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops import check_node
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.limits import check_model, is_float, is_given
from tinygen.ops.transpose_conv import TransposeConvAttrs
from tinygen.passes import LOSSLESS, run_passes
from tinygen.reference import run, run_all

ort = pytest.importorskip("onnxruntime")

GROUPS = 8
#: Operators without a form in the exported file; every other one of the corpus has to have one.
REFUSED = {
    "ARG_MAX",
    "ARG_MIN",
    "BATCH_TO_SPACE_ND",
    "L2_NORMALIZATION",
    "SHAPE",
    "SPACE_TO_BATCH_ND",
    "SQUARED_DIFFERENCE",
}


def again(graph: Graph) -> Graph:
    """`graph` after its way through a file."""
    return api.integers(read(Path("model.onnx"), dumps(graph)).graph)


def assert_same_answers(name: str, graph: Graph) -> None:
    """The graph and what is read back compute the same bits; ports of float32 and uint8 have become int8."""
    back = again(graph)
    for node in back.nodes:
        check_node(back, node)
    for drawn in draw_inputs(back, seed=1, count=2):
        given = [as_port(graph.types[n], back.types[m], v) for n, m, v in ports(graph.inputs, back.inputs, drawn)]
        answers = zip(graph.outputs, back.outputs, run(back, drawn), run(graph, given), strict=True)
        for tensor, port, got, expected in answers:
            assert_equal(f"{name} {tensor}", as_port(graph.types[tensor], back.types[port], got), expected)


def ports(names: Sequence[str], others: Sequence[str], values: Sequence[Array]) -> Iterator[tuple[str, str, Array]]:
    return zip(names, others, values, strict=True)


def as_port(kind: TensorType, stored: TensorType, value: Array) -> Array:
    """int8 `value`, quantized as `stored` says, as a port of type `kind` has it."""
    if kind.dtype is DType.UINT8:
        return (value.astype(np.int16) + 128).astype(np.uint8)
    if kind.dtype is DType.FLOAT32:
        steps = (value.astype(np.int32) - stored.q.zero_point).astype(np.float32)
        return np.asarray(np.float32(stored.q.scale) * steps)
    assert kind == stored
    return value


def sound(graph: Graph) -> bool:
    try:
        check_model(graph)
    except TinygenError:
        return False
    return True


@pytest.mark.parametrize("group", range(GROUPS))
def test_converted_networks_keep_their_bits(group: int) -> None:
    done: Counter[str] = Counter()
    for name, data in files().items():
        graph = load(data)
        if zlib.crc32(name.encode()) % GROUPS != group or not sound(graph):
            continue
        if not {n.op for n in graph.nodes} & REFUSED and all(t.dtype is DType.INT8 for t in computed(graph)):
            assert_same_answers(name, graph)
            done["same"] += 1
    assert done["same"] > 15


def computed(graph: Graph) -> list[TensorType]:
    """The types of all tensors that are not constant."""
    return [graph.types[n] for node in graph.nodes for n in (*node.inputs, *node.outputs) if n not in graph.constants]


def steps_apart(graph: Graph, node: Node, values: dict[str, Array]) -> float:
    """How far onnxruntime is from the reference at one node that reads what the reference computed, in steps."""
    inputs = tuple(dict.fromkeys(n for n in node.inputs if n and n not in graph.constants))
    one = Graph("one", inputs, node.outputs, (node,), graph.types, graph.constants).pruned()
    given = {n: graph.types[n].dequantize(values[n]).astype(np.float32) for n in inputs}
    worst = 0.0
    for name, got in zip(node.outputs, runtime(dumps(one), given), strict=True):
        kind = graph.types[name]
        assert got.shape == kind.shape
        worst = max(worst, float(np.max(np.abs(got - kind.dequantize(values[name])))) / kind.q.scale)
    return worst


def runtime(data: bytes, inputs: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [np.asarray(v) for v in session.run(None, inputs)]


@pytest.mark.parametrize("group", range(GROUPS))
def test_onnxruntime_is_within_a_step_at_each_layer(group: int) -> None:
    """Most layers are equal; a step comes from rounding halves to even, and from products in float."""
    seen: Counter[bool] = Counter()
    for name, data in files().items():
        graph = load(data)
        if zlib.crc32(name.encode()) % GROUPS != group or not all(t.dtype is DType.INT8 for t in computed(graph)):
            continue
        values = run_all(graph, draw_inputs(graph, seed=2, count=1)[0])
        done: set[str] = set()  # one of each kind is enough
        for node in graph.nodes:
            if node.op not in REFUSED and node.op not in done:
                done.add(node.op)
                apart = steps_apart(graph, node, values)
                assert apart < 1.01, (name, node.op, node.name, apart)
                seen[apart < 0.01] += 1
    assert seen[True] > 2 * seen[False]


@pytest.mark.parametrize("name", all_models())
def test_odd_models_keep_their_bits_or_say_why_not(name: str) -> None:
    graph = load(all_models()[name])
    try:
        data = dumps(graph)
    except UnsupportedError as error:
        assert "'" in str(error)  # the node's name
    else:
        assert data == dumps(graph)
        assert_same_answers(name, graph)


X = Quant.per_tensor(0.1, -7)


def one_node(op: str, attrs: Any, shape: tuple[int, ...], weights: tuple[int, ...], out: tuple[int, ...]) -> Graph:
    """A layer with random weights by channel, and a bias."""
    rng = np.random.default_rng(len(op))
    axis = 3 if op == "DEPTHWISE_CONV_2D" else 0
    count = weights[axis]
    scales = tuple(float(np.float32(s)) for s in rng.uniform(0.01, 0.03, count))
    types = {
        "x": TensorType(shape, DType.INT8, X),
        "w": TensorType(weights, DType.INT8, Quant(scales, (0,) * count, axis)),
        "b": TensorType(
            (count,), DType.INT32, Quant(tuple(float(np.float32(0.1 * s)) for s in scales), (0,) * count, 0)
        ),
        "y": TensorType(out, DType.INT8, Quant.per_tensor(0.2, 3)),
        "shape": TensorType((4,), DType.INT32),
    }
    # the largest weight is small, so that the finest scale that fits them is not the scale they have
    constants = {
        "w": rng.integers(-31, 32, weights).astype(np.int8),
        "b": rng.integers(-(1 << 20), 1 << 20, count).astype(np.int32) // 256,
        "shape": np.array(out, np.int32),
    }
    inputs = ("shape", "w", "x", "b") if op == "TRANSPOSE_CONV" else ("x", "w", "b")
    graph = Graph("m", ("x",), ("y",), (Node("y", op, inputs, ("y",), attrs),), types, constants).pruned()
    check_node(graph, graph.nodes[0])
    return graph


LAYERS = {
    "conv": one_node("CONV_2D", ConvAttrs((2, 1), (1, 2), (1, 2, 3, 0)), (2, 7, 6, 3), (4, 3, 2, 3), (2, 4, 7, 4)),
    "depthwise": one_node(
        "DEPTHWISE_CONV_2D", ConvAttrs((2, 2), (1, 1), (1, 0, 0, 1)), (1, 8, 8, 2), (1, 3, 3, 4), (1, 4, 4, 4)
    ),
    "transposed": one_node(
        "TRANSPOSE_CONV", TransposeConvAttrs((2, 2), (1, 0, 2, 1)), (1, 4, 3, 2), (3, 3, 3, 2), (1, 8, 6, 3)
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back_with_their_weights_and_scales(name: str) -> None:
    """Also where padding differs on each side, and weights do not use their whole range."""
    graph = LAYERS[name]
    back = again(graph)
    (node,) = [n for n in back.nodes if n.op == graph.nodes[0].op]
    for old, new in zip(graph.nodes[0].inputs, node.inputs, strict=True):
        if old in ("w", "b"):
            assert np.array_equal(back.constants[new], graph.constants[old])
        if old == "w":
            assert back.types[new].quant == graph.types[old].quant
    assert_same_answers(name, graph)
    values = run_all(graph, draw_inputs(graph, seed=0, count=1)[0])
    assert steps_apart(graph, graph.nodes[0], values) < 1.01


def test_images_are_transposed_at_the_ends_only() -> None:
    written = [n.op_type for n in onnx.load_from_string(dumps(LAYERS["conv"])).graph.node]
    assert written.count("Transpose") == 2
    assert written.index("Transpose") < written.index("Conv") and written[-1] == "Transpose"


def test_equal_constants_are_stored_once_and_the_file_says_who_wrote_it() -> None:
    model = onnx.load_from_string(dumps(LAYERS["conv"]))
    contents = [t.raw_data for t in model.graph.initializer]
    assert len(set(contents)) == len(contents) and model.producer_name == "tinygen"
    assert [i.name for i in model.graph.input] == ["x"] and [o.name for o in model.graph.output] == ["y"]
    assert not any(i.type.tensor_type.elem_type != onnx.TensorProto.FLOAT for i in model.graph.input)


@pytest.mark.filterwarnings("ignore:random noise")
def test_a_model_that_was_nchw_gets_no_transposition() -> None:
    proto = onnx_node("Conv", (1, 3, 8, 8), [np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)])
    made = api.quantize_model(read(Path("m.onnx"), proto.SerializeToString()).graph, "random").graph
    written = onnx.load_from_string(dumps(made))
    assert "Transpose" not in [n.op_type for n in written.graph.node]


def test_what_onnx_cannot_say() -> None:
    b = ModelBuilder()
    x, y, z = b.tensor((1, 4), "int8", 0.1), b.tensor((1, 4), "int8", 0.1), b.tensor((1, 4), "int8", 1 / 128, name="z")
    b.op("ELU", [x], [y])
    b.op("TANH", [y], [z])
    folded = run_passes(load(b.finish([x], [z])), LOSSLESS)[0]
    with pytest.raises(UnsupportedError, match="LOOKUP 'z' has no form among ONNX's quantized operators: export the"):
        dumps(folded)
    b = ModelBuilder()
    x, y = b.tensor((1, 4), "int8", 0.1), b.tensor((1, 4), "int8", 1 / 128, name="unit")
    b.op("L2_NORMALIZATION", [x], [y])
    with pytest.raises(UnsupportedError, match=r"L2_NORMALIZATION 'unit' has no form .*: export the model as \.tflite"):
        dumps(load(b.finish([x], [y])))


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize(
    "file",
    [
        "mlperf_tiny/kws01_int8.tflite",
        "mlperf_tiny/ad01_int8_floatio.tflite",
        "mlperf_tiny/ic01_int8.tflite",
        "mlperf_onnx/kws01_qdq.onnx",
        "ort_quantized/cifar_pytorch_winml_qop_u8s8_pertensor.onnx",
        "cntk_mnist/mnist_opset8.onnx",
        "tinymaix/mnist_dw_q.tflite",
        "coral/split_concat.tflite",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_published_networks_keep_their_bits(file: str) -> None:
    graph = api.load(zoo.FOLDER / "models" / file)
    float_model = is_float(graph) and not is_given(graph)
    made = api.quantize_model(graph, "random", limit=2).graph if float_model else api.integers(graph)
    assert_same_answers(file, made)

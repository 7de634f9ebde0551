# SPDX-License-Identifier: Apache-2.0
"""What is exported reads back as the same graph, and TFLM computes the same from both files."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tflite

from tests import zoo
from tests.differential.corpus import files
from tests.laws import assert_equal, draw_inputs, load, tflm
from tests.odd_models import all_models
from tests.small_models import float_add, two_inputs
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.errors import UnsupportedError
from tinygen.export.spelling import spelled
from tinygen.export.tflite import dumps
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import DType, Quant, TensorType
from tinygen.ops import all_ops, call_of, check_node
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.limits import is_given
from tinygen.ops.pooling import PoolAttrs
from tinygen.ops.transpose_conv import TransposeConvAttrs
from tinygen.passes import LOSSLESS, run_passes
from tinygen.reference import run

GROUPS = 8
OPERATORS = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}


def assert_same(a: Graph, b: Graph) -> None:
    """The graphs are equal in every field, bit for bit, orders included."""
    assert (a.name, a.inputs, a.outputs, a.nodes) == (b.name, b.inputs, b.outputs, b.nodes)
    assert list(a.types.items()) == list(b.types.items())
    assert list(a.constants) == list(b.constants)
    for name, value in a.constants.items():
        assert value.dtype == b.constants[name].dtype and value.tobytes() == b.constants[name].tobytes(), name


def versions(data: bytes) -> dict[tuple[str, bool], int]:
    """The highest version of each operator in a file, those with int8 tensors (True) apart."""
    model = tflite.Model.GetRootAsModel(data, 0)
    graph, found = model.Subgraphs(0), {}
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        tensors = [graph.Tensors(n) for n in [*operator.InputsAsNumpy(), *operator.OutputsAsNumpy()] if n >= 0]
        key = OPERATORS[code.BuiltinCode()], any(t.Type() == tflite.TensorType.INT8 for t in tensors)
        found[key] = max(found.get(key, 0), code.Version())
    return found


@pytest.mark.parametrize("group", range(GROUPS))
def test_converted_networks_round_trip(group: int) -> None:
    for name, data in files().items():
        if zlib.crc32(name.encode()) % GROUPS != group:
            continue
        graph = load(data)
        exported = dumps(graph)
        assert_same(graph, load(exported))
        sets = draw_inputs(graph, seed=group, count=1)
        for a, b in zip(tflm(exported, sets), tflm(data, sets), strict=True):
            assert_equal(name, a, b)


def test_versions_are_those_of_the_converter_or_later() -> None:
    for name, data in files().items():
        written = versions(dumps(load(data)))
        for key, version in versions(data).items():
            assert written[key] >= version, (name, key)


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize("name", [n for n in zoo.names() if zoo.PRESENT and zoo.reason_not_covered(n) is None])
def test_published_networks_round_trip(name: str) -> None:
    data = zoo.path_of(name).read_bytes()
    graph = load(data)
    exported = dumps(graph)
    assert_same(graph, load(exported))


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize("name", ["mlperf_tiny/kws01_int8", "mlperf_tiny/ad01_int8_floatio", "tflm/person_detect"])
def test_published_networks_compute_their_golden_outputs(name: str) -> None:
    runs = zoo.golden(name)
    answers = tflm(dumps(load(zoo.path_of(name).read_bytes())), [r.inputs for r in runs])
    assert zoo.difference(runs, answers) is None


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize(
    "file",
    [
        "cntk_mnist/mnist_opset8.onnx",
        "kazuhito/keypoint_classifier.tflite",
        "mlperf_onnx/ic01_float.onnx",
        "mlperf_onnx/kws01_qdq.onnx",
        "mlperf_tiny/kws01_hybrid_named_float32.tflite",
        "mlperf_tiny/vww01_fp32.tflite",
        "ort_quantized/cifar_pytorch_winml_qop_u8s8_pertensor.onnx",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantized_networks_compute_the_same_in_tflm(file: str) -> None:
    graph = api.load(zoo.FOLDER / "models" / file)
    made = api.integers(graph) if is_given(graph) else api.quantize_model(graph, "random", limit=2).graph
    data, sets = dumps(made), draw_inputs(made, seed=0, count=1)[:1]
    assert_equal(file, tflm(data, sets)[0], run(made, sets[0]))


@pytest.mark.parametrize("data", [*all_models().values(), two_inputs(), float_add()])
def test_odd_models_round_trip(data: bytes) -> None:
    graph = spelled(load(data))
    assert_same(graph, load(dumps(graph)))


def test_the_same_graph_gives_the_same_bytes_and_equal_constants_are_stored_once() -> None:
    graph = load(all_models()["convolutions"])
    assert dumps(graph) == dumps(graph)
    weights = max(graph.constants.values(), key=lambda v: v.nbytes)
    name = "copy"
    more = replace(
        graph,
        outputs=(*graph.outputs, name),
        types={**graph.types, name: TensorType(weights.shape, DType.of(weights))},
        constants={**graph.constants, name: weights},
    )
    assert len(dumps(more)) - len(dumps(graph)) < weights.nbytes


def test_constants_are_aligned() -> None:
    data = dumps(load(all_models()["convolutions"]))
    model, found = tflite.Model.GetRootAsModel(data, 0), 0
    for i in range(model.BuffersLength()):
        values = model.Buffers(i).DataAsNumpy()
        if not isinstance(values, int):
            found += 1
            assert (values.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).ctypes.data) % 16 == 0
    assert found > 3


# --- Paddings that TFLite does not know --------------------------------------------------------------------------

X = Quant.per_tensor(0.1, -7)


def one_node(
    op: str, attrs: Any, shape: tuple[int, ...], weights: tuple[int, ...] | None = None, out: Any = None
) -> Graph:
    """A graph of one node with random weights; its output has shape `out` or what `infer` says."""
    rng = np.random.default_rng(len(op))
    types, constants, inputs = {"x": TensorType(shape, DType.INT8, X)}, {}, ["x"]
    if weights is not None:
        types["w"] = TensorType(weights, DType.INT8, Quant.per_tensor(0.02, 0))
        constants["w"] = rng.integers(-127, 128, weights).astype(np.int8)
        inputs.append("w")
    if op == "TRANSPOSE_CONV":
        types["shape"] = TensorType((4,), DType.INT32)
        constants["shape"] = np.array(out, np.int32)
        inputs = ["shape", "w", "x"]
    quant = X if op.endswith("POOL_2D") else Quant.per_tensor(0.5, 3)
    node = Node("y", op, tuple(inputs), ("y",), attrs)
    probe = Graph(
        "m", ("x",), ("y",), (node,), {**types, "y": TensorType(out or (1, 1, 1, 1), DType.INT8, quant)}, constants
    )
    ((inferred, _),) = all_ops()[op].infer(call_of(probe, node))
    graph = replace(probe, types={**types, "y": TensorType(inferred, DType.INT8, quant)})
    check_node(graph, node)
    return graph


ODD = {
    "conv": one_node("CONV_2D", ConvAttrs((2, 1), (1, 2), (1, 2, 3, 0)), (2, 7, 6, 3), (4, 3, 2, 3)),
    "depthwise": one_node("DEPTHWISE_CONV_2D", ConvAttrs((2, 2), padding=(1, 1, 1, 1)), (1, 8, 8, 2), (1, 3, 3, 4)),
    "max": one_node("MAX_POOL_2D", PoolAttrs((3, 3), (2, 2), (1, 1, 1, 1)), (1, 8, 6, 2)),
    "transpose": one_node(
        "TRANSPOSE_CONV", TransposeConvAttrs((2, 2), (1, 0, 2, 1)), (1, 4, 3, 2), (3, 3, 3, 2), (1, 8, 6, 3)
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_paddings_become_nodes_that_compute_the_same(name: str) -> None:
    graph = ODD[name]
    assert len(spelled(graph).nodes) == 2
    data = dumps(graph)
    again, sets = load(data), draw_inputs(graph, seed=1)
    for values, answer in zip(sets, tflm(data, sets), strict=True):
        assert_equal("read back", run(again, values), run(graph, values))
        assert_equal("TFLM", answer, run(graph, values))


def test_convolutions_get_a_bias() -> None:
    graph = one_node("CONV_2D", ConvAttrs(), (1, 4, 4, 2), (3, 1, 1, 2))
    again = load(dumps(graph))
    (bias,) = again.nodes[0].inputs[2:]
    assert not again.constants[bias].any() and again.types[bias].q.scales == pytest.approx([0.1 * 0.02])
    types = {name: TensorType(kind.shape, DType.FLOAT32) for name, kind in graph.types.items()}
    weights = {name: value.astype(np.float32) for name, value in graph.constants.items()}
    real = spelled(replace(graph, types=types, constants=weights))
    (bias,) = real.nodes[0].inputs[2:]
    assert real.types[bias] == TensorType((3,), DType.FLOAT32) and not real.constants[bias].any()


def test_same_and_valid_stay_attributes() -> None:
    graph = one_node("CONV_2D", ConvAttrs((2, 2), padding=(0, 1, 0, 1)), (1, 8, 8, 2), (4, 3, 3, 2))
    assert [n.op for n in spelled(graph).nodes] == ["CONV_2D"]
    assert load(dumps(graph)).nodes[0].attrs == graph.nodes[0].attrs


def test_what_tflite_cannot_say() -> None:
    graph = one_node("AVERAGE_POOL_2D", PoolAttrs((3, 3), (2, 2), (1, 1, 1, 1)), (1, 8, 6, 2))
    with pytest.raises(UnsupportedError, match=r"AVERAGE_POOL_2D 'y' has padding \[1, 1, 1, 1\]"):
        dumps(graph)
    b = ModelBuilder()
    x, y, z = b.tensor((1, 4), "int8", 0.1), b.tensor((1, 4), "int8", 0.1), b.tensor((1, 4), "int8", 1 / 128, name="z")
    b.op("ELU", [x], [y])
    b.op("TANH", [y], [z])
    folded = run_passes(load(b.finish([x], [z])), LOSSLESS)[0]
    with pytest.raises(UnsupportedError, match="LOOKUP 'z' has no TFLite form: export"):
        dumps(folded)


def test_forms_that_are_asked_for_are_kept() -> None:
    """Also where constants share a buffer; what is no such entry asks for nothing."""
    dense = ModelBuilder()
    x, y = dense.tensor((1, 4), "int8", 0.1, 0), dense.tensor((1, 4), "int8", 0.1, 0)
    weights = [dense.tensor((4, 4), "int8", 0.1, 0, np.eye(4)) for _ in range(2)]
    middle = dense.tensor((1, 4), "int8", 0.1, 0)
    dense.op("FULLY_CONNECTED", [x, weights[0], -1], [middle], "FullyConnectedOptions")
    dense.op("FULLY_CONNECTED", [middle, weights[1], -1], [y], "FullyConnectedOptions")
    graph = load(dense.finish([x], [y]))
    asked = replace(graph, storage={graph.nodes[1].inputs[1]: "smallest"})
    data = dumps(asked)
    assert dict(load(data).storage) == dict(asked.storage) and not load(dumps(graph)).storage
    assert_same(load(data), load(dumps(graph)))
    broken = data.replace(b'"smallest"}', b'"smallest"]')
    assert broken != data and not load(broken).storage

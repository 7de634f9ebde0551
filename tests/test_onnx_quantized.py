# SPDX-License-Identifier: Apache-2.0
"""Quantized ONNX models: every layer within a step of onnxruntime, and as accurate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tinygen
from tests import zoo
from tinygen import api
from tinygen.errors import UnsupportedError, UsageError
from tinygen.evaluation import evaluate
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.quantize.given import stored_scales
from tinygen.reference import run

ort = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
MICROSOFT = "com.microsoft"


class Model:
    """An ONNX model in the making; values are names."""

    def __init__(self, zero: type[np.generic] = np.int8) -> None:
        self.zero = zero
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **attributes))
        return name

    def scale(self, scale: float, zero: int) -> tuple[str, str]:
        """Scale and zero point; `zero` is what it is in int8."""
        return self.const(scale), self.const(zero + (128 if self.zero is np.uint8 else 0), self.zero)

    def fake(self, x: str, scale: float, zero: int) -> str:
        """QuantizeLinear and DequantizeLinear."""
        pair = self.scale(scale, zero)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *pair), *pair)

    def weights(self, shape: tuple[int, ...], axis: int | None = 0) -> str:
        """Constant int8 weights, dequantized by channel or per tensor (None)."""
        values = RNG.integers(-127, 128, shape)
        scale = RNG.uniform(0.005, 0.02, () if axis is None else shape[axis])
        zero = self.const(np.zeros(scale.shape), np.int8)
        return self.node("DequantizeLinear", self.const(values, np.int8), self.const(scale), zero, axis=axis or 0)

    def save(self, folder: Path, shapes: dict[str, tuple[int, ...]], output: str) -> Path:
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(MICROSOFT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "model.onnx")
        return folder / "model.onnx"


def conv(m: Model, x: str) -> str:
    bias = m.const(RNG.normal(size=6))
    return m.node("Relu", m.node("Conv", x, m.weights((6, 4, 3, 3)), bias, pads=[1, 0, 2, 1], strides=[1, 2]))


def depthwise(m: Model, x: str) -> str:
    return m.node("Conv", x, m.weights((4, 1, 3, 3)), group=4)


def gemm(m: Model, x: str) -> str:
    flat = m.node("Reshape", x, m.const([1, -1], np.int64))
    return m.node("Gemm", flat, m.weights((5, 120)), m.const(RNG.normal(size=5)), transB=1)


def matmul(m: Model, x: str) -> str:
    return m.node("MatMul", x, m.weights((5, 7), axis=None))


def add(m: Model, x: str) -> str:
    return m.node("Add", x, m.fake(m.node("Sigmoid", x), 1 / 256, -128))


def mean(m: Model, x: str) -> str:
    return m.node("GlobalAveragePool", x)


def pool(m: Model, x: str) -> str:
    return m.node("Transpose", m.node("MaxPool", x, kernel_shape=[2, 2]), perm=[0, 3, 1, 2])


LAYERS = (conv, depthwise, gemm, matmul, add, mean, pool)


def steps_apart(path: Path, graph: Graph, count: int = 10) -> float:
    """The largest difference to onnxruntime, in steps of the output, on inputs that need no rounding."""
    return float(differences(path, graph, count).max())


def differences(path: Path, graph: Graph, count: int) -> Array:
    """Those of all outputs, for `count` inputs that are always the same ones."""
    rng, found = np.random.default_rng(3), list[Array]()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source, target = graph.types[graph.inputs[0]], graph.types[graph.outputs[0]]
    shape = [d if isinstance(d, int) else 1 for d in session.get_inputs()[0].shape]
    for _ in range(count):
        values = rng.integers(-128, 128, source.shape).astype(np.int8)
        real = source.dequantize(values).astype(np.float32).reshape(shape)
        (expected,) = session.run(None, {session.get_inputs()[0].name: real})
        got = target.dequantize(run(graph, [values])[0])
        assert expected.shape == got.shape
        found.append(np.abs(got - expected).ravel() / target.q.scale)
    return np.concatenate(found)


@pytest.mark.parametrize("zero", [np.int8, np.uint8])
@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_is_within_a_step(layer: Any, zero: Any, tmp_path: Path) -> None:
    m = Model(zero)
    x = m.fake("x", 0.05, 3)
    scale, offset = (0.05, 3) if layer is pool else (0.06, -20)
    path = m.save(tmp_path, {"x": (1, 4, 6, 5)}, m.fake(layer(m, x), scale, offset))
    graph = api.integers(api.load(path))
    assert all(t.dtype.value in ("int8", "int32") for t in graph.types.values())
    assert steps_apart(path, graph) <= 1.001


def qlinear_conv(m: Model, x: str, pair: tuple[str, str], out: tuple[str, str]) -> str:
    weights, bias = m.const(RNG.integers(-127, 128, (6, 4, 3, 3)), np.int8), m.const(RNG.integers(-99, 99, 6), np.int32)
    scales, zeros = m.const(RNG.uniform(0.005, 0.02, 6)), m.const(np.zeros(6), np.int8)
    return m.node("QLinearConv", x, *pair, weights, scales, zeros, *out, bias)


def qlinear_matmul(m: Model, x: str, pair: tuple[str, str], out: tuple[str, str]) -> str:
    scale, zero = m.scale(0.01, 0)
    weights = m.const(RNG.integers(-127, 128, (5, 7)) + (128 if m.zero is np.uint8 else 0), m.zero)
    return m.node("QLinearMatMul", x, *pair, weights, scale, zero, *out)


def qgemm(m: Model, x: str, pair: tuple[str, str], out: tuple[str, str]) -> str:
    flat, weights = (
        m.node("Reshape", x, m.const([1, -1], np.int64)),
        m.const(RNG.integers(-127, 128, (120, 5)), np.int8),
    )
    bias = m.const(RNG.integers(-99, 99, 5), np.int32)
    return m.node("QGemm", flat, *pair, weights, m.const(0.01), m.const(0, np.int8), bias, *out, domain=MICROSOFT)


def qlinear_add(m: Model, x: str, pair: tuple[str, str], out: tuple[str, str]) -> str:
    return m.node("QLinearAdd", x, *pair, x, *pair, *out, domain=MICROSOFT)


def qlinear_mean(m: Model, x: str, pair: tuple[str, str], out: tuple[str, str]) -> str:
    return m.node("QLinearGlobalAveragePool", x, *pair, *out, domain=MICROSOFT, channels_last=0)


@pytest.mark.parametrize("zero", [np.int8, np.uint8])
@pytest.mark.parametrize("layer", [qlinear_conv, qlinear_matmul, qgemm, qlinear_add, qlinear_mean])
def test_each_integer_operator_is_within_a_step(layer: Any, zero: Any, tmp_path: Path) -> None:
    if layer is qgemm and zero is np.int8:
        pytest.skip("onnxruntime has no QGemm of int8 activations")
    m = Model(zero)
    pair, out = m.scale(0.05, 3), m.scale(0.06, -20)
    result = layer(m, m.node("QuantizeLinear", "x", *pair), pair, out)
    path = m.save(tmp_path, {"x": (1, 4, 6, 5)}, m.node("DequantizeLinear", result, *out))
    assert steps_apart(path, api.integers(api.load(path))) <= 1.001


def test_stored_weights_find_their_integers_again() -> None:
    integers = RNG.integers(-90, 91, (8, 50))
    scales = RNG.uniform(1e-4, 10, (8, 1)).astype(np.float32)
    weights = (integers * scales).astype(np.float32)
    found = stored_scales(weights.astype(np.float64), 0)
    assert np.allclose(found, scales.ravel(), rtol=1e-6)
    assert np.array_equal(np.rint(weights / found[:, None]), integers)
    free = RNG.normal(size=(4, 50))
    assert np.allclose(stored_scales(free, 0), np.abs(free).max(axis=1) / 127)
    assert stored_scales(np.zeros((2, 3)), 0).shape == (2,)


def test_a_quantized_model_needs_no_calibration(tmp_path: Path) -> None:
    m = Model()
    path = m.save(tmp_path, {"x": (1, 4, 6, 5)}, m.fake(conv(m, m.fake("x", 0.05, 3)), 0.06, -20))
    made = tinygen.build(path, "host")
    assert made.graph.types[made.graph.inputs[0]].q.scale == pytest.approx(0.05)
    with pytest.raises(UsageError, match="drop --calibration"):
        tinygen.build(path, calibration="random")
    assert list(evaluate(path, np.zeros((2, 4, 6, 5)), metric="mse").scores) == ["float", "reference", "host"]
    assert not any("calibration" in line for line in tinygen.inspect(path).lines())


def refusal(m: Model, output: str, folder: Path) -> str:
    with pytest.raises(UnsupportedError) as caught:
        api.integers(api.load(m.save(folder, {"x": (1, 4, 6, 5)}, output)))
    return str(caught.value)


def test_what_is_refused(tmp_path: Path) -> None:
    m = Model()
    assert "is not quantized in the model: quantize every activation" in refusal(
        m, m.node("Sub", m.node("Add", m.fake("x", 0.05, 3), m.const(1.0)), m.const(RNG.normal(size=5))), tmp_path
    )
    m = Model()
    many = m.node("QuantizeLinear", "x", m.const([0.1] * 4), m.const([0] * 4, np.int8), axis=1)
    assert "needs one scale" in refusal(m, m.node("DequantizeLinear", many, m.const([0.1] * 4), axis=1), tmp_path)


#: Steps of the output, before a softmax, between us and onnxruntime over a whole network, at most and in the mean of
#: 200 inputs: those of its layers add up.
NETWORKS = {
    "mlperf_onnx/ad01_qdq": (4, 0.3),
    "mlperf_onnx/ic01_qdq": (4, 0.5),
    "mlperf_onnx/kws01_qdq": (2, 0.2),
    "mlperf_onnx/vww01_qdq": (4, 0.9),
    "ort_quantized/cifar_pytorch_winml_qdq_s8s8_perch": (1, 0.1),
    "ort_quantized/cifar_pytorch_winml_qop_u8s8_pertensor": (1, 0.15),
    "ort_quantized/mnist_cntk_qdq_s8s8_pertensor": (1, 0.02),
    "ort_quantized/mnist_cntk_qop_u8s8_pertensor": (1, 0.02),
}


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize("name, bounds", NETWORKS.items())
def test_published_networks(name: str, bounds: tuple[float, float], tmp_path: Path) -> None:
    model = onnx.load(zoo.FOLDER / "models" / f"{name}.onnx")
    if model.graph.node[-1].op_type == "Softmax":
        model.graph.output[0].name = model.graph.node.pop().input[0]
    onnx.save(model, tmp_path / "model.onnx")
    apart = differences(tmp_path / "model.onnx", api.integers(api.load(tmp_path / "model.onnx")), 200)
    assert apart.max() <= bounds[0] + 1e-3 and apart.mean() <= bounds[1]


def ort_accuracy(path: Path, inputs: Array, labels: Array) -> float:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape
    found = [session.run(None, {name: value.reshape(shape)})[0].argmax() for value in inputs]
    return float(np.mean(np.array(found) == labels))


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize(
    "name, dataset",
    [
        ("mlperf_onnx/kws01_qdq", "mlperf_kws01/all"),
        ("ort_quantized/mnist_cntk_qdq_s8s8_pertensor", "mnist_t10k/dev"),
        ("ort_quantized/mnist_cntk_qop_u8s8_pertensor", "mnist_t10k/dev"),
    ],
)
def test_published_networks_are_as_accurate(name: str, dataset: str) -> None:
    data, path = zoo.dataset(dataset), zoo.FOLDER / "models" / f"{name}.onnx"
    inputs = data["x"][:1000].astype(np.float32)
    if data["x"].dtype == np.int8:
        inputs = (inputs - 83) * np.float32(0.584703)
    inputs = inputs.reshape(-1, *api.load(path).types[api.load(path).inputs[0]].shape)
    expected = ort_accuracy(path, inputs, data["y"][:1000])
    found = evaluate(path, {"x": inputs, "y": data["y"][:1000]}, on="host")
    assert abs(found.scores["host"] - expected) <= 0.003 and found.scores["host"] == found.scores["reference"]

# SPDX-License-Identifier: Apache-2.0
"""Activations in int16 for some layers: which are chosen, what they buy, and that files and C compute the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.laws import assert_equal, load, tflm
from tinygen import api
from tinygen.errors import UsageError
from tinygen.export.tflite import dumps
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, DType, TensorType
from tinygen.ops import Activation, all_ops
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.fully_connected import FullyConnectedAttrs
from tinygen.ops.limits import check_graph
from tinygen.ops.pooling import PoolAttrs
from tinygen.ops.reduction import ReducerAttrs
from tinygen.ops.softmax import SoftmaxAttrs
from tinygen.quantize import Options, quantize
from tinygen.quantize.borders import OPERATORS
from tinygen.quantize.report import inputs_of
from tinygen.reference import run, run_real
from tinygen.running import verify
from tinygen.shrink import Compression, shrink
from tinygen.target import load_target

REAL = DType.FLOAT32
#: Where the way to int8 does not matter.
FAST = Options(ranges="minmax", equalize=False, rounding="bias")


class Net:
    """A float graph, node by node."""

    def __init__(self, *shape: int) -> None:
        self.rng = np.random.default_rng(0)
        self.types, self.constants, self.nodes = {"x": TensorType(shape, REAL)}, dict[str, Array](), list[Node]()

    def constant(self, value: Array) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name], self.types[name] = value, TensorType(value.shape, DType.of(value))
        return name

    def weights(self, *shape: int) -> str:
        return self.constant((self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    def node(self, op: str, inputs: list[str], shape: tuple[int, ...], attrs: object = None, name: str = "") -> str:
        name = name or f"{op.lower()}{len(self.nodes)}"
        self.types[name] = TensorType(shape, REAL)
        made = all_ops()[op].attrs() if attrs is None else attrs
        self.nodes.append(Node(name, op, tuple(inputs), (name,), made))  # type: ignore[arg-type]
        return name

    def graph(self, *outputs: str) -> Graph:
        return Graph("net", ("x",), outputs, tuple(self.nodes), self.types, self.constants)


def cancelling() -> Graph:
    """Large values that cancel: int8 between the two layers loses what matters, int16 does not.

    The weights are whole numbers up to 127, which int8 holds exactly.
    """
    net = Net(1, 16)
    loud = np.repeat(net.rng.integers(-120, 121, (1, 16)), 16, 0)
    loud[:, 0] = 127
    quiet = net.rng.integers(-7, 8, (16, 16)) * (np.arange(16) > 0)
    a, b = (
        net.node("FULLY_CONNECTED", ["x", net.constant(w.astype(np.float32)), ""], (1, 16), FullyConnectedAttrs(), name)
        for name, w in (("a", loud + quiet), ("b", loud))
    )
    c = net.node("SUB", [a, b], (1, 16), ActivationAttrs(), "c")
    last = net.weights(4, 16)
    return net.graph(net.node("FULLY_CONNECTED", [c, last, ""], (1, 4), FullyConnectedAttrs(), "d"))


def varied() -> Graph:
    """Convolutions, pools, sigmoids, arithmetic, data movement, a mean and a softmax."""
    net = Net(1, 8, 8, 4)
    relu = ConvAttrs(padding=(1, 1, 1, 1), activation=Activation.RELU)
    a = net.node("CONV_2D", ["x", net.weights(8, 3, 3, 4), net.weights(8)], (1, 8, 8, 8), relu, "conv")
    dw = net.constant(net.rng.normal(size=(1, 3, 3, 8)).astype(np.float32) / 3)
    b = net.node("DEPTHWISE_CONV_2D", [a, dw, net.weights(8)], (1, 8, 8, 8), relu, "depthwise")
    c = net.node("LOGISTIC", [a], (1, 8, 8, 8))
    d = net.node("MUL", [b, c], (1, 8, 8, 8), ActivationAttrs())
    e = net.node("ADD", [d, a], (1, 8, 8, 8), ActivationAttrs())
    f = net.node("MAX_POOL_2D", [e], (1, 4, 4, 8), PoolAttrs((2, 2), (2, 2)))
    g = net.node("TANH", [f], (1, 4, 4, 8))
    h = net.node("CONCATENATION", [f, g], (1, 4, 4, 16), replace(all_ops()["CONCATENATION"].attrs(), axis=3))
    i = net.node("AVERAGE_POOL_2D", [h], (1, 2, 2, 16), PoolAttrs((2, 2), (2, 2)))
    j = net.node("MEAN", [i, net.constant(np.array([1, 2], np.int32))], (1, 16), ReducerAttrs())
    k = net.node("FULLY_CONNECTED", [j, net.weights(5, 16), net.weights(5)], (1, 5), FullyConnectedAttrs(), "dense")
    return net.graph(net.node("SOFTMAX", [k], (1, 5), SoftmaxAttrs(), "probabilities"))


def samples(graph: Graph, count: int = 64) -> list[list[Array]]:
    rng = np.random.default_rng(7)
    return [[rng.uniform(-1, 1, graph.types[n].shape).astype(np.float32) for n in graph.inputs] for _ in range(count)]


def closeness(real: Graph, integer: Graph) -> float:
    """Signal-to-noise ratio of the first output in dB, on samples that nothing was fitted to."""
    signal = noise = 0.0
    rng = np.random.default_rng(99)
    for _ in range(50):
        sample = [rng.uniform(-1, 1, real.types[n].shape).astype(np.float32) for n in real.inputs]
        exact = run_real(real, sample)[real.outputs[0]]
        got = integer.types[integer.outputs[0]].dequantize(run(integer, inputs_of(integer, sample))[0])
        signal, noise = signal + float(np.sum(exact**2)), noise + float(np.sum((got - exact) ** 2))
    return 10 * float(np.log10(signal / noise))


def in_int16(graph: Graph) -> set[str]:
    return {n for n, t in graph.types.items() if t.dtype is DType.INT16}


def test_nothing_is_wide_unless_asked() -> None:
    assert not in_int16(quantize(cancelling(), samples(cancelling()), FAST).graph)


def test_chosen_layers_raise_the_signal_to_noise_ratio() -> None:
    """The gain is measured on fresh samples; the model's inputs and outputs stay int8."""
    graph = cancelling()
    narrow = quantize(graph, samples(graph))
    wide = quantize(graph, samples(graph), Options(wide="auto", wide_gain=30.0))
    before, after = closeness(graph, narrow.graph), closeness(graph, wide.graph)
    assert before < 25 and after > before + 10, (before, after)
    assert {"a", "b"} <= {name for bought in wide.report.wide for name in bought.nodes}
    assert sum(bought.gain for bought in wide.report.wide) > 10 and all(bought.gain > 0 for bought in wide.report.wide)
    assert all(bought.bytes == 16 for bought in wide.report.wide)
    assert {wide.graph.types[n].dtype for n in (*wide.graph.inputs, *wide.graph.outputs)} == {DType.INT8}


def test_no_more_layers_than_the_target_needs() -> None:
    graph = cancelling()
    counts = [
        len(quantize(graph, samples(graph), replace(FAST, wide="auto", wide_gain=g)).report.wide)
        for g in (0.0, 5.0, 40.0)
    ]
    assert counts[0] == 0 and counts[1] < counts[2]


@pytest.mark.parametrize("wide", ["auto", "all", ("depthwise",), ("dense",), ("conv", "probabilities")])
def test_tflm_computes_mixed_models_alike(wide: object) -> None:
    """The exported file, read back, equals the graph, and TFLM's answers equal the reference's."""
    graph = varied()
    made = quantize(graph, samples(graph, 16), replace(FAST, wide=wide, wide_gain=30.0)).graph  # type: ignore[arg-type]
    check_graph(made)
    assert in_int16(made) or wide == "auto"
    sets = [inputs_of(made, sample) for sample in samples(graph, 4)]
    data = dumps(made)
    again = load(data, made.name)
    assert again.types == made.types
    for inputs, expected in zip(sets, tflm(data, sets), strict=True):
        assert_equal(f"{wide}", run(made, inputs), expected)
        assert_equal(f"{wide}", run(again, inputs), expected)


def test_borders() -> None:
    """Int8 goes into int16 without loss, by a step of 1/128; each tensor is converted once; outputs only if named."""
    graph = varied()
    made = quantize(graph, samples(graph), replace(FAST, wide=("depthwise", "probabilities"))).graph
    (into,) = [n for n in made.nodes if n.op == "QUANTIZE" and n.inputs == ("conv",)]
    before, after = made.types["conv"].q, made.types[into.outputs[0]].q
    assert (after.scale, after.zero_point) == (before.scale / 128, 0)
    assert made.types["depthwise"].dtype is DType.INT16 and made.types["conv"].dtype is DType.INT8
    assert made.types["probabilities"].dtype is DType.INT16 and made.types["probabilities"].q.scale == 2**-15
    sources = [(n.inputs[0], made.types[n.outputs[0]].dtype) for n in made.nodes if n.op == "QUANTIZE"]
    kinds = {(made.types[name].dtype, kind) for name, kind in sources}
    assert kinds >= {(DType.INT8, DType.INT16), (DType.INT16, DType.INT8)}
    assert len(set(sources)) == len(sources)
    assert made.types[next(n for n in made.nodes if n.name == "depthwise").inputs[2]].dtype is DType.INT64


def test_operators_have_int16_forms() -> None:
    """Every operator that may become int16 says so in one of its constraints, or moves values of any type."""
    moving = {"CONCATENATION", "PACK", "UNPACK", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE", "PAD", "TRANSPOSE"}
    for op in OPERATORS - moving - {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}:
        assert any("int16" in (c.__doc__ or "") for c in all_ops()[op].constraints), op


class Idle:
    """A technique that does nothing."""

    name, stage = "idle", "weights"


def test_wrong_requests() -> None:
    graph = varied()
    with pytest.raises(UsageError, match="16 bits for 'nothing': the prepared model has no such node"):
        quantize(graph, samples(graph, 2), replace(FAST, wide=("nothing",)))
    made = quantize(graph, samples(graph, 2), FAST).graph
    with pytest.raises(UsageError, match=r"quantized already.*drop --mixed"):
        api.build(made, mixed="auto")
    with pytest.raises(UsageError, match="--mixed and compression do not go together"):
        shrink(graph, "net", "random", None, Compression([Idle()], load_target("host")), "auto")


@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m4"])
def test_mixed_models_are_built_and_verified(target: str, tmp_path: Path) -> None:
    """Host C and C under QEMU equal the reference at every layer."""
    graph = varied()
    built = api.build(graph, target, calibration=samples(graph, 16), mixed="all")
    assert built.report["command"].endswith("--mixed all")
    assert built.report["quantization"]["wide"][0]["bytes"] > 500
    assert sum(output["dtype"] == "int16" for layer in built.report["layers"] for output in layer["outputs"]) > 8
    found = verify(built.write(tmp_path / "net"), vectors=2)
    found.raise_if_wrong()
    assert len(found.checked) == 2

# SPDX-License-Identifier: Apache-2.0
"""ONNX models: those of the zoo compute what onnxruntime computes, and what is not supported says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from tests import zoo
from tests.onnx_models import check, difference, graph_of, model, one_node, runtime
from tests.test_onnx_quantized import NETWORKS
from tinygen import api, frontends
from tinygen.cli import main
from tinygen.errors import ModelError, TinygenError, UnsupportedError, UsageError
from tinygen.frontends.onnx import read
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, DType
from tinygen.ops.limits import check_float
from tinygen.passes.base import random_inputs
from tinygen.passes.cancel_transposes import CancelTransposes

needs_zoo = pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)


def transposes(graph: Graph) -> int:
    return sum(node.op == "TRANSPOSE" for node in graph.nodes)


# --- The zoo ------------------------------------------------------------------------------------------------------

#: Every float model: how many transpositions are left, all of them at the model's input.
FLOAT = {
    "cntk_mnist/mnist_opset8": 0,
    "mlperf_onnx/ic01_float": 1,
    "mlperf_onnx/vww01_float": 1,
    "onnx2c/atmega_mnist_14x14": 0,
    "ultraface/version-slim-320_simplified": 1,
    "winml/pytorch_image_classifier": 1,
}
#: Every other model, with words of the reason that is given.
REFUSED = {
    "dtln/model_1": "the ONNX operator LSTM is not supported: recurrent layers",
}


def path_of(name: str) -> Path:
    return zoo.FOLDER / "models" / f"{name}.onnx"


def golden(name: str, graph: Graph) -> list[tuple[list[Array], list[Array]]]:
    """Input sets and outputs: the stored ones, or onnxruntime's for random inputs."""
    file = zoo.FOLDER / "golden" / f"{name}.onnx.npz"
    if not file.exists():
        inputs = random_inputs(graph, 0)
        return [(inputs, runtime(onnx.load(path_of(name)), dict(zip(graph.inputs, inputs, strict=True))))]
    with np.load(file) as archive:
        runs = sorted({key.rpartition("_")[2] for key in archive.files})
        count = [
            sum(key.startswith(kind) and key.endswith(f"_{runs[0]}") for key in archive.files) for kind in ("in", "out")
        ]
        return [
            ([archive[f"in{i}_{run}"] for i in range(count[0])], [archive[f"out{i}_{run}"] for i in range(count[1])])
            for run in runs
        ]


@needs_zoo
@pytest.mark.zoo
def test_every_model_of_the_zoo_is_listed() -> None:
    folder = zoo.FOLDER / "models"
    assert {str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.onnx")} == {*FLOAT, *NETWORKS, *REFUSED}


@needs_zoo
@pytest.mark.zoo
@pytest.mark.parametrize("name", FLOAT)
def test_float_models(name: str) -> None:
    graph = frontends.load(path_of(name))
    check_float(graph)
    cancelled = CancelTransposes().run(graph).graph
    assert transposes(cancelled) == FLOAT[name]
    assert all(node.inputs[0] in cancelled.inputs for node in cancelled.nodes if node.op == "TRANSPOSE")
    for inputs, outputs in golden(name, graph):
        assert difference(graph, inputs, outputs) < 1e-4
        assert difference(cancelled, inputs, outputs) < 1e-4


@needs_zoo
@pytest.mark.zoo
@pytest.mark.parametrize("name", REFUSED)
def test_refused_models(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        frontends.load(path_of(name))
    assert REFUSED[name] in str(caught.value)
    assert str(caught.value).startswith(f"{path_of(name).name}: node '")


# --- Whole graphs -------------------------------------------------------------------------------------------------


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def weights(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


CONVOLVED = {"w": weights(4, 3, 3, 3), "v": weights(4, 4, 3, 3)}
PADDED = {"pads": [1, 1, 1, 1]}


def test_shape_arithmetic_folds() -> None:
    """Flatten as PyTorch exports view(x.size(0), -1)."""
    nodes = [
        node("Conv", "x w", "a", **PADDED),
        node("Shape", "a", "shape"),
        node("Gather", "shape zero", "batch", axis=0),
        node("Unsqueeze", "batch axes", "first"),
        node("Concat", "first rest", "target", axis=0),
        node("Reshape", "a target", "y"),
    ]
    constants = {**CONVOLVED, "zero": np.int64(0), "axes": np.array([0]), "rest": np.array([-1])}
    graph = check(model(nodes, {"x": [1, 3, 6, 6]}, ["y"], constants))
    assert [n.op for n in graph.nodes] == ["TRANSPOSE", "CONV_2D", "TRANSPOSE", "RESHAPE"]


def test_residuals_concatenations_and_several_outputs() -> None:
    nodes = [
        node("Conv", "x w", "a", **PADDED),
        node("Relu", "a", "b"),
        node("Conv", "b v", "c", **PADDED),
        node("Add", "b c", "d"),
        node("Concat", "d x", "e", axis=1),
        node("Identity", "e", "y"),
        node("GlobalAveragePool", "d", "z"),
        node("Identity", "x", "same"),
    ]
    graph = check(model(nodes, {"x": [2, 3, 6, 5]}, ["y", "z", "same", "e"], CONVOLVED))
    assert graph.outputs == ("y", "z", "same", "e")


def test_squeeze_and_excite_has_no_transposition_inside() -> None:
    nodes = [
        node("Conv", "x w", "a", **PADDED),
        node("GlobalAveragePool", "a", "pooled"),
        node("Conv", "pooled one", "s"),
        node("HardSigmoid", "s", "gate"),
        node("Mul", "a gate", "scaled"),
        node("Conv", "scaled v", "y", **PADDED),
    ]
    graph = check(model(nodes, {"x": [1, 3, 6, 5]}, ["y"], {**CONVOLVED, "one": weights(4, 4, 1, 1)}))
    kinds = [n.op for n in graph.nodes]
    assert transposes(graph) == 2 and kinds[0] == kinds[-1] == "TRANSPOSE"


def test_flatten_is_absorbed_by_the_dense_layer() -> None:
    nodes = [
        node("Conv", "x w", "a", **PADDED),
        node("MaxPool", "a", "b", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "b", "c"),
        node("Relu", "c", "d"),
        node("Gemm", "d dense bias", "y", transB=1),
    ]
    constants = {**CONVOLVED, "dense": weights(5, 36), "bias": weights(5)}
    graph = check(model(nodes, {"x": [1, 3, 6, 6]}, ["y"], constants))
    assert transposes(graph) == 1 and graph.nodes[0].op == "TRANSPOSE"


def test_shuffled_channels() -> None:
    """ShuffleNet's: the only transpositions inside are those that shuffle."""
    nodes = [
        node("Conv", "x w", "a", **PADDED),
        node("Reshape", "a divided", "b"),
        node("Transpose", "b", "c", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "c joined", "d"),
        node("Split", "d", "e f", axis=1),
        node("Conv", "e half", "g", **PADDED),
        node("Concat", "g f", "y", axis=1),
    ]
    constants = {"divided": np.array([0, 2, 2, 6, 5]), "joined": np.array([0, -1, 6, 5]), "half": weights(3, 2, 3, 3)}
    made = model(nodes, {"x": [1, 3, 6, 5]}, ["y"], {**CONVOLVED, **constants}, opset=13)
    graph = check(made)
    assert [n.op for n in graph.nodes if n.op != "RESHAPE"] == [
        *("TRANSPOSE", "CONV_2D", "TRANSPOSE", "SPLIT", "CONV_2D", "CONCATENATION", "TRANSPOSE")
    ]


def test_signals() -> None:
    """1-D convolutions one after the other need no transposition between them."""
    nodes = [
        node("Conv", "x u", "a", pads=[1, 1]),
        node("Relu", "a", "b"),
        node("AveragePool", "b", "c", kernel_shape=[2], strides=[2]),
        node("Conv", "c t", "y"),
    ]
    graph = check(model(nodes, {"x": [1, 3, 20]}, ["y"], {"u": weights(4, 3, 3), "t": weights(2, 4, 3)}))
    assert transposes(graph) == 2


def test_initializers_among_the_inputs() -> None:
    """As files of version 3 of the format have them."""
    made = one_node("Add", (2, 3), [weights(3)], opset=8)
    made.graph.input.append(helper.make_tensor_value_info("c0", TensorProto.FLOAT, [3]))
    made.ir_version = 3
    assert check(made).inputs == ("x",)


def test_everything_constant() -> None:
    nodes = [node("Add", "a b", "y")]
    graph = graph_of(model(nodes, {"x": [2]}, ["y"], {"a": weights(2), "b": weights(2)}))
    assert [n.op for n in graph.nodes] == ["RESHAPE"]


# --- Sizes --------------------------------------------------------------------------------------------------------


def dynamic(*shape: Any) -> bytes:
    return model([node("Relu", "x", "y")], {"x": shape}, ["y"]).SerializeToString()


def test_dynamic_batch() -> None:
    reading = read(Path("m.onnx"), dynamic("N", 3))
    assert reading.graph.types["x"].shape == (1, 3)
    assert reading.notes == ("input 'x': the batch dimension 'N' is taken as 1",)


def test_other_dynamic_dimensions() -> None:
    with pytest.raises(
        UnsupportedError, match=r"m.onnx: input 'x' has the dynamic dimension 'width' \(axis 2\)"
    ) as caught:
        read(Path("m.onnx"), dynamic(1, 3, "width", 8))
    assert "--shape x=1,3,32,8" in str(caught.value)
    reading = read(Path("m.onnx"), dynamic("N", 3, "width", 8), {"x": (2, 3, 5, 8)})
    assert reading.graph.types["y"].shape == (2, 3, 5, 8)
    assert not reading.notes


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"z": (1,)}, "--shape names input 'z', which the model does not have; its inputs: x"),
        ({"x": (1, 3)}, "--shape gives 2 dimensions for input 'x', which has 3"),
        ({"x": (1, 4, 5)}, "--shape gives dimension 1 of input 'x' the size 4; expected 3"),
        ({"x": (1, 3, 0)}, "--shape gives dimension 2 of input 'x' the size 0; expected at least 1"),
    ],
)
def test_wrong_shapes(shapes: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(Path("m.onnx"), dynamic("N", 3, "width"), shapes)


def test_shapes_are_for_onnx(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"\0\0\0\0TFL3")
    with pytest.raises(UsageError, match="--shape is for ONNX and Keras models"):
        frontends.load(path, {"x": (1,)})


# --- Refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (one_node("Mish", (2, 3), opset=18), "node 'the_node': the ONNX operator Mish is not supported: use HardSwish"),
        (one_node("Conv", (1, 3, 4, 4, 4), [weights(2, 3, 1, 1, 1)]), "its input has 3 spatial dimensions; 1 and 2"),
        (one_node("Clip", (2,), opset=5), "the model uses ONNX operator set 5; expected 7 to"),
        (one_node("Div", (2,), [np.float32(0)]), "'the_node' (ONNX Div): it divides by a constant that holds 0"),
        (one_node("Cast", (2,), to=TensorProto.INT32), "only casts from float to float are supported at run time"),
        (one_node("Pow", (2,), [weights(2)]), "the exponent must be a constant, the same for all elements"),
        (one_node("MaxPool", (1, 1, 4, 4), kernel_shape=[2, 2], dilations=[2, 2]), "dilations other than 1"),
        (one_node("ConstantOfShape", (2,)), "supported only where its inputs are constant"),
        (
            model([node("Conv", "x w", "y")], {"x": [1, 1, 4, 4], "w": [1, 1, 2, 2]}, ["y"]),
            "(ONNX Conv): the weights must be constant",
        ),
        (
            model([node("Expand", "x s", "y")], {"x": [1]}, ["y"], {"s": np.array([1 << 40])}),
            "(ONNX Expand) makes a tensor that is larger than any for a microcontroller",
        ),
    ],
)
def test_refusals(proto: onnx.ModelProto, words: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        graph_of(proto)
    assert words in str(caught.value)
    assert str(caught.value).startswith("model.onnx: ")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x08\x07\x12\x07pytorch", "holds no graph"),
        (b"\x08\x08\x3a\xff\xff\xff\x0f", "damaged or truncated"),
        (one_node("Relu", (2,)).SerializeToString()[:-9], "m.onnx: "),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=words):
        frontends.load(tmp_path / "m.onnx")


def test_contradictions() -> None:
    with pytest.raises(ModelError, match=r"node 'the_node' \(ONNX Conv\) is malformed"):
        graph_of(one_node("Conv", (1, 3, 4, 4), [weights(2, 5, 1, 1)]))
    with pytest.raises(ModelError, match="do not broadcast"):
        graph_of(one_node("Add", (2, 3), [weights(4)]))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"strides": [2]}, "strides has 1 values, expected 2"),
        ({"dilations": [1, 1, 1]}, "dilations has 3 values, expected 2"),
        ({"kernel_shape": [3, 3]}, r"kernel_shape \[3, 3\] is not that of the weights, \[2, 2\]"),
    ],
)
def test_windows_that_contradict_their_weights(attributes: dict[str, list[int]], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        graph_of(one_node("Conv", (1, 3, 4, 4), [weights(2, 3, 2, 2)], **attributes))


def test_dilations_that_would_fill_the_memory() -> None:
    proto = one_node("ConvTranspose", (1, 2, 4, 4), [weights(2, 3, 2, 2)], dilations=[1 << 16, 1 << 16])
    with pytest.raises(UnsupportedError, match="make its weights larger than any model"):
        graph_of(proto)


# --- Weights in files beside the model ----------------------------------------------------------------------------


def beside(folder: Path, **changes: str) -> Path:
    """A convolution whose weights lie in weights.bin; `changes` are made to what the model says about them."""
    proto = model([node("Conv", "x w", "y")], {"x": [1, 3, 6, 6]}, ["y"], CONVOLVED)
    onnx.save_model(proto, folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = onnx.load(folder / "m.onnx", load_external_data=False)
    for entry in stored.graph.initializer[0].external_data:
        entry.value = changes.get(entry.key, entry.value)
    (folder / "m.onnx").write_bytes(stored.SerializeToString())
    return folder / "m.onnx"


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    path = beside(tmp_path)
    whole = graph_of(onnx.load(path))
    for name, value in frontends.load(path).constants.items():
        np.testing.assert_array_equal(value, whole.constants[name])
    before = frontends.identified(path)
    weights_file = tmp_path / "weights.bin"
    weights_file.write_bytes(weights_file.read_bytes()[::-1])
    assert frontends.identified(path) != before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"location": "gone.bin"},
            "'gone.bin', which is not beside the model: copy it there, or save the model as one",
        ),
        ({"location": "../weights.bin"}, "outside the model's folder"),
        ({"location": "/dev/zero"}, "outside the model's folder"),
        ({"location": "\0"}, "cannot be read"),
        ({"location": ""}, "is not beside the model"),
        ({"length": "99999"}, "beyond the end of 'weights.bin'"),
        ({"offset": "-1"}, "beyond the end of 'weights.bin'"),
        ({"length": "many"}, "cannot be read"),
        ({"length": "8"}, "malformed"),
    ],
)
def test_weights_that_are_not_there(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 17))
    (tmp_path / "m").mkdir()
    with pytest.raises(ModelError, match=r"^m\.onnx: ") as caught:
        frontends.load(beside(tmp_path / "m", **changes))
    assert words in str(caught.value)


def test_names_that_are_no_text() -> None:
    data = one_node("Relu", (2,)).SerializeToString().replace(b"the_node", b"\xff\xfe_node")
    with pytest.raises(ModelError, match="the ONNX"):
        read(Path("m.onnx"), data)


def test_cut_and_flipped_files_are_refused_or_read() -> None:
    """Whatever the bytes are, the answer is a graph or a sentence."""
    data = model([node("Conv", "x w", "a"), node("Relu", "a", "y")], {"x": [1, 3, 6, 6]}, ["y"], CONVOLVED)
    good, rng = bytearray(data.SerializeToString()), np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            broken[place] = rng.integers(0, 256)
        try:
            read(Path("m.onnx"), bytes(broken[: rng.integers(len(good) // 2, len(good) + 1)]))
        except TinygenError as error:
            assert str(error).startswith("m.onnx: ")


def test_detection(tmp_path: Path) -> None:
    """By content, whatever the name."""
    path = tmp_path / "model.bin"
    path.write_bytes(one_node("Relu", (2, 3)).SerializeToString())
    assert frontends.operators(path) == ["Relu"]
    graph = frontends.load(path)
    assert [n.op for n in graph.nodes] == ["RELU"] and graph.types["x"].dtype is DType.FLOAT32


# --- The command line ---------------------------------------------------------------------------------------------


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_build_and_verify(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "a", **PADDED),
        node("BatchNormalization", "a s b m v", "n"),
        node("Relu", "n", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "y"),
    ]
    statistics = {"s": weights(4), "b": weights(4) + 1, "m": weights(4) - 1, "v": abs(weights(4)) + 1}
    data = model(nodes, {"x": ["N", 3, "side", 6]}, ["y"], {"w": weights(4, 3, 3, 3), **statistics})
    (tmp_path / "net.onnx").write_bytes(data.SerializeToString())
    words = ("build", str(tmp_path / "net.onnx"), "--calibration", "random", "--out", str(tmp_path / "out"))
    refused = invoke(*words)
    assert refused.exit_code == 4 and "dynamic dimension 'side' (axis 2)" in refused.stderr
    made = invoke(*words, "--shape", "x=1,3,5,6")
    assert made.exit_code == 0, made.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["model"]["format"] == "onnx"
    assert "--shape x=1,3,5,6" in report["command"]
    assert [layer["op"] for layer in report["layers"]].count("CONV_2D") == 1
    verified = invoke("verify", str(tmp_path / "out"), "--on", "host")
    assert verified.exit_code == 0, verified.stderr


def test_batch_is_said(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(dynamic("N", 8))
    with pytest.warns(UserWarning, match="net.onnx: input 'x': the batch dimension 'N' is taken as 1"):
        api.load(tmp_path / "net.onnx")


@pytest.mark.parametrize("shape", ["x", "x=", "=1", "x=1,a", "x=1.5"])
def test_wrong_shape_options(tmp_path: Path, shape: str) -> None:
    result = invoke("build", str(tmp_path / "net.onnx"), "--shape", shape)
    assert result.exit_code == 2
    assert f"--shape {shape}: expected an input's name and its sizes: input=1,3,32,32" in result.stderr

# SPDX-License-Identifier: Apache-2.0
"""TFLite files that are unusual, unsupported or wrong: what the graph is, or the exact error and what it says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from tests import odd_models
from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen import api, frontends, inspection
from tinygen.errors import ModelError, TinygenError, UnsupportedError, UsageError
from tinygen.frontends import tflite
from tinygen.ops.base import Activation

Change = Callable[[Any], None]


def elu(x: dict[str, Any] | None = None, y: dict[str, Any] | None = None) -> bytes:
    """The smallest model: y = ELU(x), with changed tensors."""
    b = ModelBuilder()
    quantized = {"shape": (1, 4), "scale": 0.1, "zero_point": 3}
    ins, outs = b.tensor(**quantized | (x or {})), b.tensor(**quantized | (y or {}))
    b.op("ELU", [ins], [outs])
    return b.finish([ins], [outs])


def changed(change: Change, data: bytes | None = None) -> bytes:
    """A model whose unpacked form `change` has altered."""
    model = schema.ModelT.InitFromPackedBuf(elu() if data is None else data, 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def refusal(path: Path, data: bytes) -> TinygenError:
    """The error that a build of `data` ends in; it names the file and is one printable line."""
    path = path / "kws.tflite"
    path.write_bytes(data)
    with pytest.raises(TinygenError) as caught:
        api.load(path)
    assert "kws.tflite: " in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    return caught.value


# --- Unusual, but right ------------------------------------------------------------------------------------------


def test_names() -> None:
    """Empty and doubled names get the tensor's number; what does not print is replaced."""
    b = ModelBuilder()
    tensors = [b.tensor((1,), "int8", 0.1, name=name) for name in ("", "a", "a", "", "b\nc\x1b", "a:2", "a;b/c")]
    for source, target in pairwise(tensors):
        b.op("ELU", [source], [target])
    graph = load(b.finish(tensors[:1], tensors[-1:]))
    assert graph.inputs == ("tensor:0",)
    assert [n.outputs[0] for n in graph.nodes] == ["a", "a:2", "tensor:3", "b_c_", "a:2:5", "a;b/c"]
    assert graph.nodes[-1].name == "a"  # the first of the names that a converter joined


def test_long_name() -> None:
    """A name is cut, so that messages stay sentences."""
    (name,) = load(changed(tensor(0, name="very_long;" * 100))).inputs
    assert (len(name), name[-1]) == (tflite.SHOWN_NAME, "…")


def test_no_name_at_all() -> None:
    def anonymous(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.name = None

    assert load(changed(anonymous)).inputs == ("tensor:0",)


def test_absent_optional_input() -> None:
    graph = load(odd_models.convolutions())
    depthwise = next(n for n in graph.nodes if n.op == "DEPTHWISE_CONV_2D")
    assert depthwise.inputs[2] == ""


def test_operator_code_of_old_files() -> None:
    """Before schema 3a there was only the 8-bit field."""

    def old(model: Any) -> None:
        model.operatorCodes[0].builtinCode = 0  # ADD, as absent fields read
        model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.ELU

    assert [n.op for n in load(changed(old)).nodes] == ["ELU"]


def test_options_become_attributes() -> None:
    conv = load(odd_models.convolutions()).nodes[0]
    attrs: Any = conv.attrs
    assert (attrs.stride, attrs.padding, attrs.activation) == ((2, 2), (1, 1, 1, 1), Activation.RELU)


def test_absent_options_are_defaults() -> None:
    def bare(model: Any) -> None:
        model.subgraphs[0].operators[0].builtinOptionsType = 0
        model.subgraphs[0].operators[0].builtinOptions = None

    attrs: Any = load(changed(bare, odd_models.convolutions())).nodes[0].attrs
    assert (attrs.stride, attrs.padding, attrs.activation) == ((1, 1), (0, 0, 0, 0), Activation.NONE)


def test_axis_beyond_a_vector() -> None:
    """person_detect.tflite has quantized_dimension 3 for one-dimensional biases."""

    def beyond(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            if tensor.type == schema.TensorType.INT32:
                tensor.quantization.quantizedDimension = 3

    graph = load(changed(beyond, odd_models.convolutions()))
    bias = graph.types[graph.nodes[0].inputs[2]]
    assert bias.q.axis == 0
    assert len(bias.q.scales) == 4


def test_scales_without_zero_points() -> None:
    def symmetric(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.quantization.zeroPoint = None

    graph = load(changed(symmetric))
    assert graph.types[graph.inputs[0]].q.zero_points == (0,)


def test_one_zero_point_for_all_channels() -> None:
    def shared(model: Any) -> None:
        model.subgraphs[0].tensors[1].quantization.zeroPoint = [0]

    graph = load(changed(shared, odd_models.convolutions()))
    assert graph.types[graph.nodes[0].inputs[1]].q.zero_points == (0, 0, 0, 0)


def test_no_node() -> None:
    graph = load(odd_models.nothing())
    assert graph.nodes == ()
    assert graph.outputs == (*graph.inputs, "t1", *graph.inputs)


def test_scalar() -> None:
    assert load(elu({"shape": ()}, {"shape": ()})).types["t0"].shape == ()


def test_constants_do_not_alias_the_file() -> None:
    graph = load(odd_models.convolutions())
    for value in graph.constants.values():
        assert value.flags.aligned
        assert not value.flags.writeable


# --- Not a TFLite file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("kws.tflite", b"", "is empty: copy or export it again"),
        ("kws.tflite", b"TFL3", "not a TFLite model"),
        ("kws.tflite", b"\x08\x00\x00\x00ABCD" + bytes(100), "not a TFLite model"),
        ("kws.onnx", b"\x08\x07\x12\x07pytorch", "the ONNX file holds no graph"),
        ("kws.dat", b"\x89HDF\r\n\x1a\n" + bytes(64), "is HDF5: if it is a Keras model, give it a name"),
        ("kws.zip", b"PK\x03\x04" + bytes(64), "is a zip archive"),
        ("kws.tflite", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("kws.tflite", b"<!DOCTYPE html><html>", "download the model itself"),
        ("kws.txt", b"print('hello')", "no ONNX model: export it as one of them"),
    ],
)
def test_other_files(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    for use in (frontends.load, frontends.operators, inspection.inspect):
        with pytest.raises(ModelError) as caught:
            use(tmp_path / name)
        assert str(caught.value).startswith(f"{name}: ")
        assert words in str(caught.value)


def test_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read model '.*kws.tflite': No such file"):
        frontends.load(tmp_path / "kws.tflite")
    with pytest.raises(UsageError, match=r"is a folder; expected a .tflite, .onnx or .keras file"):
        frontends.load(tmp_path)
    with pytest.raises(UsageError, match="not a regular file"):
        frontends.load(Path("/dev/zero"))
    with pytest.raises(UsageError, match="cannot read model"):
        frontends.load(Path("a\0b"))


def test_enormous_file(tmp_path: Path) -> None:
    path = tmp_path / "kws.tflite"
    with path.open("wb") as file:
        file.truncate(frontends.MAX_FILE_BYTES + 1)
    with pytest.raises(ModelError, match=r"kws.tflite: .* too large for a microcontroller"):
        frontends.load(path)


@pytest.mark.parametrize("end", [8, 20, 60, 200, -200, -20])
def test_truncated(tmp_path: Path, end: int) -> None:
    assert isinstance(refusal(tmp_path, odd_models.convolutions()[:end]), ModelError)


def test_vector_that_claims_billions(tmp_path: Path) -> None:
    """Each 32-bit word in turn as 2^32 - 1 and 2^31 - 1: never a crash, never much memory."""
    data = elu()
    for at in range(8, len(data) - 3, 4):
        for claim in (0xFFFFFFFF, 0x7FFFFFFF):
            broken = bytearray(data)
            struct.pack_into("<I", broken, at, claim)
            try:
                tflite.read(Path("kws.tflite"), bytes(broken))
            except TinygenError as error:
                assert str(error).startswith("kws.tflite: ")


# --- Models that are wrong ---------------------------------------------------------------------------------------


def tensor(index: int, **values: Any) -> Change:
    """Sets fields of a tensor."""

    def change(model: Any) -> None:
        for key, value in values.items():
            setattr(model.subgraphs[0].tensors[index], key, value)

    return change


def quantization(index: int, **values: Any) -> Change:
    """Sets fields of a tensor's quantization."""

    def change(model: Any) -> None:
        for key, value in values.items():
            setattr(model.subgraphs[0].tensors[index].quantization, key, value)

    return change


def operator(**values: Any) -> Change:
    """Sets fields of the first operator."""

    def change(model: Any) -> None:
        for key, value in values.items():
            setattr(model.subgraphs[0].operators[0], key, value)

    return change


def subgraph(**values: Any) -> Change:
    """Sets fields of the subgraph."""

    def change(model: Any) -> None:
        for key, value in values.items():
            setattr(model.subgraphs[0], key, value)

    return change


def code(number: int, custom: str | None = None) -> Change:
    """Sets the operator code."""

    def change(model: Any) -> None:
        model.operatorCodes[0].builtinCode, model.operatorCodes[0].customCode = number, custom
        model.operatorCodes[0].deprecatedBuiltinCode = min(number, 127)

    return change


def model(**values: Any) -> Change:
    """Sets fields of the model."""

    def change(unpacked: Any) -> None:
        for key, value in values.items():
            setattr(unpacked, key, value)

    return change


def subgraphs(count: int) -> Change:
    def change(unpacked: Any) -> None:
        unpacked.subgraphs = unpacked.subgraphs * count

    return change


def outside_data(unpacked: Any) -> None:
    unpacked.buffers[0].offset, unpacked.buffers[0].size = 4096, 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (model(version=2), "schema version 2, expected 3"),
        (model(operatorCodes=[]), "operator code 0 does not exist"),
        (subgraphs(0), "no subgraph"),
        (code(999), "operator number 999 is unknown"),
        (code(-7), "operator number -7 is unknown"),
        (operator(opcodeIndex=9), "operator code 9 does not exist"),
        (operator(inputs=[99]), "tensor number 99 does not exist"),
        (operator(inputs=[-2]), "tensor number -2 does not exist"),
        (operator(outputs=[]), "an operator ELU has no output"),
        (operator(outputs=[-1]), "an operator ELU has no output"),
        (operator(outputs=[0]), "defines 't0', which is defined already"),
        (operator(inputs=[1]), "reads 't1', which nothing before it computes"),
        (operator(inputs=[]), "malformed"),
        (subgraph(operators=[]), "graph output 't1' is computed by no node"),
        (subgraph(inputs=[0, 0]), "lists an input twice"),
        (subgraph(outputs=[7]), "tensor number 7 does not exist"),
        (tensor(0, buffer=9), "names buffer 9, which does not exist"),
        (tensor(0, shape=[1] * 9), "9 dimensions of tensor 't0', more than the 8"),
        (tensor(0, name="x" * 5000), "5000 characters in a name"),
        (tensor(1, shape=[2, 2]), "declares outputs int8[2, 2], but its inputs give int8[1, 4]"),
        (quantization(0, scale=[0.0]), "tensor 't0' has a scale outside"),
        (quantization(0, scale=[-0.5]), "tensor 't0' has a scale outside"),
        (quantization(0, scale=[float("nan")]), "tensor 't0' has a scale outside"),
        (quantization(0, scale=[float("inf")]), "tensor 't0' has a scale outside"),
        (quantization(0, scale=[1e-40]), "tensor 't0' has a scale outside"),
        (quantization(0, zeroPoint=[128]), "zero point outside int8 (-128 to 127)"),
        (quantization(0, zeroPoint=[1, 2]), "2 zero points for 1 scales"),
        (quantization(0, scale=[0.1] * 3), "3 scales for axis 0 of shape [1, 4]"),
        (quantization(0, scale=[0.1] * 4, quantizedDimension=-3), "4 scales for axis -3"),
    ],
)
def test_malformed(tmp_path: Path, change: Change, words: str) -> None:
    error = refusal(tmp_path, changed(change))
    assert isinstance(error, ModelError), error
    assert words in str(error)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (code(32, "FlexErf"), "operators not supported: CUSTOM(FlexErf)"),
        (code(32), "operators not supported: CUSTOM(?)"),
        (code(32, "a\nb"), "operators not supported: CUSTOM(a_b)"),
        (code(schema.BuiltinOperator.WHILE), "operators not supported: WHILE (docs/operators.md"),
        (subgraphs(2), "several subgraphs (control flow or state)"),
        (tensor(0, isVariable=True), "tensor 't0' is a variable (state)"),
        (tensor(0, sparsity=schema.SparsityParametersT()), "tensor 't0' is stored sparse"),
        (tensor(0, type=schema.TensorType.STRING), "tensor 't0' is of type string"),
        (tensor(0, type=99), "tensor 't0' is of type number 99"),
        (tensor(0, shape=[1, -1]), "every dimension must be at least 1"),
        (tensor(0, shape=[0, 4]), "every dimension must be at least 1"),
        (tensor(0, shape=[2**31 - 1] * 8), "is larger than 16 MiB"),
        (tensor(0, shape=[2**24 + 1]), "is larger than 16 MiB"),
        (subgraph(inputs=[]), "the model has no inputs"),
        (subgraph(inputs=[-1]), "the model has no inputs, or an absent one"),
        (subgraph(outputs=[]), "the model has no outputs"),
        (operator(inputs=[-1]), "ELU): Input and output must be int8"),
        (outside_data, "keeps its data outside the flatbuffer"),
    ],
)
def test_unsupported(tmp_path: Path, change: Change, words: str) -> None:
    error = refusal(tmp_path, changed(change))
    assert isinstance(error, UnsupportedError), error
    assert words in str(error)


def test_options_of_another_operator(tmp_path: Path) -> None:
    def swap(model: Any) -> None:
        model.subgraphs[0].operators[0].builtinOptions = schema.SoftmaxOptionsT()
        model.subgraphs[0].operators[0].builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions

    error = refusal(tmp_path, changed(swap, odd_models.convolutions()))
    assert isinstance(error, ModelError)
    assert "an operator CONV_2D carries the options of another (SoftmaxOptions)" in str(error)


def test_wrong_activation(tmp_path: Path) -> None:
    def activation(model: Any) -> None:
        model.subgraphs[0].operators[0].builtinOptions.fusedActivationFunction = 77

    error = refusal(tmp_path, changed(activation, odd_models.convolutions()))
    assert isinstance(error, ModelError)
    assert "CONV_2D has activation number 77" in str(error)


def test_buffer_of_wrong_size(tmp_path: Path) -> None:
    def shorter(model: Any) -> None:
        buffer = model.buffers[model.subgraphs[0].tensors[1].buffer]
        buffer.data = buffer.data[:100]

    error = refusal(tmp_path, changed(shorter, odd_models.convolutions()))
    assert isinstance(error, ModelError)
    assert "tensor 't1' (int8[4,3,3,3]) has 100 bytes of data, expected 108" in str(error)


def test_many_tensors_of_one_buffer(tmp_path: Path) -> None:
    """A small file may name the same megabytes often: the sum is bounded."""

    def repeat(model: Any) -> None:
        tensors = model.subgraphs[0].tensors
        tensors += [schema.TensorT(name=f"big{i}", shape=[1 << 24], type=9, buffer=0) for i in range(9)]

    error = refusal(tmp_path, changed(repeat))
    assert isinstance(error, UnsupportedError)
    assert "all tensors together are larger than 128 MiB" in str(error)


def test_too_many_multiplications(tmp_path: Path) -> None:
    """A 2 MB file can ask for 10^12 multiply-accumulates."""
    b = ModelBuilder()
    x, y = b.tensor((1, 2048, 2048, 1), scale=0.1), b.tensor((1, 1024, 1024, 1), scale=0.1)
    w = b.tensor((1, 1025, 1025, 1), scale=1e-6, data=np.zeros((1, 1025, 1025, 1), np.int8))
    size = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    b.op("CONV_2D", [x, w], [y], "Conv2DOptions", padding=1, **size)
    error = refusal(tmp_path, b.finish([x], [y]))
    assert isinstance(error, UnsupportedError)
    assert "1,101,659,111,424 multiply-accumulates" in str(error) or "multiply-accumulates, more than" in str(error)


# --- Models that are not int8 ------------------------------------------------------------------------------------


def dense(activations: str, weights: str) -> bytes:
    """FULLY_CONNECTED with these element types."""
    b = ModelBuilder()

    def quant(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "scale": None if dtype == "float32" else 0.1}

    x, y = b.tensor((1, 4), **quant(activations)), b.tensor((1, 2), **quant(activations))
    w = b.tensor((2, 4), **quant(weights), data=np.zeros((2, 4)))
    b.op("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions")
    return b.finish([x], [y])


@pytest.mark.parametrize(
    ("activations", "weights", "words"),
    [
        ("uint8", "uint8", "uint8 quantization of before 2020"),
        ("int16", "int16", "Not every operator takes int16 activations"),
    ],
)
def test_other_element_types(tmp_path: Path, activations: str, weights: str, words: str) -> None:
    error = refusal(tmp_path, dense(activations, weights))
    assert isinstance(error, UnsupportedError)
    assert words in str(error)
    assert "full-integer (int8) post-training quantization" in str(error)
    assert "node 't1' (FULLY_CONNECTED)" in str(error)


# --- Inspection --------------------------------------------------------------------------------------------------


def inspected(path: Path, data: bytes) -> inspection.Inspection:
    (path / "kws.tflite").write_bytes(data)
    return inspection.inspect(path / "kws.tflite")


def test_inspection_of_a_good_model(tmp_path: Path) -> None:
    found = inspected(tmp_path, odd_models.convolutions())
    text = "\n".join(found.lines())
    assert found.problems == ()
    assert "kws.tflite: 5 operators: CONV_2D, DEPTHWISE_CONV_2D" in text
    assert "input   t0: int8[1,9,7,3] (0.05, 3)" in text
    assert "every operator is supported" in text
    assert found.as_dict()["macs"] == 5 * 4 * 4 * 27 + 3 * 2 * 8 * 4 + 40


def test_inspection_names_every_problem(tmp_path: Path) -> None:
    found = inspected(tmp_path, dense("int16", "int16"))
    assert len(found.problems) == 1
    assert "1 problem(s):" in found.lines()
    assert found.as_dict()["macs"] is None


def test_inspection_of_what_no_graph_expresses(tmp_path: Path) -> None:
    found = inspected(tmp_path, changed(code(32, "FlexErf")))
    assert found.graph is None
    assert found.operators == ("CUSTOM(FlexErf)",)
    assert found.as_dict()["inputs"] is None


def test_inspection_of_too_much_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.ops.limits.MAX_MACS", 100)
    (problem,) = inspected(tmp_path, odd_models.convolutions()).problems
    assert "multiply-accumulates, more than the 100" in problem

# SPDX-License-Identifier: Apache-2.0
"""Evaluating what there is: float models, int8 models, folders with C, on the host and under QEMU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tests import zoo
from tests.laws import assert_equal, draw_inputs, load, tflm
from tests.small_models import dense_layers, two_inputs
from tests.tflite_builder import ModelBuilder
from tinygen.data.preprocessing import Preprocessing
from tinygen.errors import UsageError
from tinygen.evaluation import evaluate, quantized
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops import all_ops, call_of
from tinygen.reference import run

RNG = np.random.default_rng(0)


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """An int8 network with 6 inputs of scale 0.1 and zero point -5, and 4 outputs."""
    path = tmp_path / "dense.tflite"
    path.write_bytes(dense_layers())
    return path


def data(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", allow_pickle=False, **arrays)
    return folder / "data.npz"


def float_function(op: str, shape: tuple[int, ...] = (1, 2)) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(shape, "float32", name="x"), b.tensor(shape, "float32", name="y")
    b.op(op, [x], [y])
    return b.finish([x], [y])


def expected_classes(file: Path, inputs: Array) -> Array:
    graph = load(file.read_bytes())
    return np.array([run(graph, [value[None]])[0].argmax() for value in inputs])


def test_a_model_file_runs_in_the_reference_and_as_c(dense: Path, tmp_path: Path) -> None:
    inputs = RNG.integers(-128, 128, (20, 6)).astype(np.int8)
    labels = expected_classes(dense, inputs)
    labels[:5] = (labels[:5] + 1) % 4
    found = evaluate(dense, data(tmp_path, x=inputs, y=labels))
    assert (found.model, found.metric, found.samples, found.against) == ("dense", "top1", 20, "labels")
    assert found.scores == {"reference": 0.75, "host": 0.75}
    assert evaluate(dense, data(tmp_path, x=inputs, y=np.eye(4)[labels]), on="reference", metric="top1").scores == {
        "reference": 0.75
    }


@pytest.mark.qemu
def test_a_folder_runs_as_the_c_that_lies_there(dense: Path, tmp_path: Path) -> None:
    tinygen.build(dense, "cortex-m4").write(tmp_path / "out")
    source = tmp_path / "out" / "dense.c"
    inputs = RNG.integers(-128, 128, (20, 6)).astype(np.int8)
    file = data(tmp_path, x=inputs, y=expected_classes(dense, inputs))
    found = evaluate(tmp_path / "out", file, on="qemu")
    assert list(found.scores.values()) == [1.0, 1.0, 1.0] and list(found.scores)[2].startswith("qemu")
    # a program that returns at once leaves what was in memory
    text = source.read_text()
    stopped = re.sub(r"(void dense_run\(dense_arena_t \*(\w+)\)\s*\{)", r"\1 memset(\2, 0, sizeof *\2); return;", text)
    assert stopped != text
    source.write_text(stopped)
    broken = evaluate(tmp_path / "out", file)
    assert broken.scores["reference"] == 1.0 > broken.scores["host"]


def test_float_data_is_quantized_with_the_models_scale(dense: Path, tmp_path: Path) -> None:
    integers = RNG.integers(-128, 128, (10, 6)).astype(np.int8)
    real = (integers.astype(np.float32) + 5) * np.float32(0.1)
    labels = expected_classes(dense, integers)
    assert evaluate(dense, data(tmp_path, x=real, y=labels), on="reference").scores == {"reference": 1.0}


def test_samples_in_other_units_are_noticed(dense: Path) -> None:
    with pytest.warns(UserWarning, match=r"100% of input 0 lies outside of -12.3 to 13.2, which is all"):
        evaluate(dense, {"x": np.full((3, 6), 200, np.uint8), "y": [0, 1, 2]}, on="reference")


@pytest.fixture
def float_dense(tmp_path: Path) -> tuple[Path, dict[str, Array]]:
    """A float model of one layer, and labelled samples: 3 × its input is what it takes."""
    b = ModelBuilder()
    weights = RNG.normal(size=(4, 6)).astype(np.float32)
    x, w = b.tensor((1, 6), "float32", name="x"), b.tensor((4, 6), "float32", data=weights)
    y = b.tensor((1, 4), "float32", name="y")
    b.op("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions")
    (tmp_path / "layer.tflite").write_bytes(b.finish([x], [y]))
    inputs = RNG.normal(size=(100, 6))
    return tmp_path / "layer.tflite", {"x": inputs / 3, "y": (inputs @ weights.T).argmax(axis=1)}


TRIPLED = Preprocessing(scale=(3.0,))


def test_a_float_model_is_measured_beside_its_int8_form(float_dense: tuple[Path, dict[str, Array]]) -> None:
    model, samples = float_dense
    found = evaluate(model, samples, calibration=samples, preprocessing=TRIPLED)
    assert list(found.scores) == ["float", "reference", "host"]
    assert found.scores["float"] == 1.0 and found.scores["reference"] == found.scores["host"] > 0.9


def test_a_quantized_model_is_saved_and_measured_again(
    float_dense: tuple[Path, dict[str, Array]], tmp_path: Path
) -> None:
    model, samples = float_dense
    made = tinygen.quantize_model(model, samples, preprocessing=TRIPLED, limit=50)
    file = tinygen.save(made.graph, tmp_path / "int8.tflite")
    sets = draw_inputs(made.graph, seed=0)
    for values, answer in zip(sets, tflm(file.read_bytes(), sets), strict=True):
        assert_equal("TFLM", answer, run(made.graph, values))
    assert evaluate(file, samples, on="reference", preprocessing=TRIPLED).scores["reference"] > 0.9
    with pytest.raises(UsageError, match=r"int8\.tflite is quantized already: there is nothing to quantize"):
        tinygen.quantize_model(file, samples)
    with pytest.raises(UsageError, match=r"expected a name that ends in \.tflite or \.onnx or \.tg"):
        tinygen.save(made.graph, tmp_path / "int8.pb")


def test_quantizing_is_what_the_operator_does() -> None:
    tensor = TensorType((1, 200), DType.INT8, Quant.per_tensor(0.37, 4))
    values = np.concatenate([RNG.normal(0, 20, 180), np.arange(-10, 10) * 0.185]).astype(np.float32)[None]
    b = ModelBuilder()
    x, y = b.tensor((1, 200), "float32"), b.tensor((1, 200), "int8", 0.37, 4)
    b.op("QUANTIZE", [x], [y])
    graph = load(b.finish([x], [y]))
    (expected,) = all_ops()["QUANTIZE"].reference(call_of(graph, graph.nodes[0]), [values])
    assert np.array_equal(quantized(values, tensor), expected)


def test_float_models_run_in_real_numbers(tmp_path: Path) -> None:
    (tmp_path / "tanh.tflite").write_bytes(float_function("TANH"))
    inputs = RNG.normal(size=(9, 2))
    found = evaluate(tmp_path / "tanh.tflite", {"x": inputs, "y": np.tanh(inputs)})
    assert found.metric == "mse" and list(found.scores) == ["float"] and found.scores["float"] < 1e-12
    shifted = evaluate(tmp_path / "tanh.tflite", {"x": inputs, "y": np.tanh(inputs) - 0.5}, metric="mae")
    assert shifted.scores["float"] == pytest.approx(0.5, rel=1e-6)


def test_auc_of_two_outputs_and_of_a_reconstruction(tmp_path: Path) -> None:
    (tmp_path / "two.tflite").write_bytes(float_function("TANH"))
    inputs = np.array([[0, 1], [0, 2], [1, 0], [0, 1.5]])
    assert evaluate(tmp_path / "two.tflite", {"x": inputs, "y": [1, 1, 0, 0]}, metric="auc").scores["float"] == 0.75
    # RELU gives back what is positive: the error is that of the negative part
    (tmp_path / "auto.tflite").write_bytes(float_function("RELU", (1, 3)))
    found = evaluate(tmp_path / "auto.tflite", {"x": np.array([[1, 1, 1], [-1, 1, 1], [-2, 0, 0]]), "y": [0, 1, 1]})
    assert (found.metric, found.scores["float"]) == ("auc", 1.0)


def test_without_labels_the_first_runner_is_the_measure(tmp_path: Path, dense: Path) -> None:
    inputs = RNG.integers(-128, 128, (6, 6)).astype(np.int8)
    found = evaluate(dense, inputs)
    assert (found.metric, found.against, found.scores) == ("agreement", "reference", {"reference": 1.0, "host": 1.0})
    assert evaluate(dense, inputs, metric="mse").scores == {"reference": 0.0, "host": 0.0}


def test_several_inputs(tmp_path: Path) -> None:
    (tmp_path / "two.tflite").write_bytes(two_inputs())
    real = RNG.normal(size=(3, 4))
    sides = {side: RNG.integers(-128, 128, (3, 2, 3)).astype(np.int8) for side in ("left", "right")}
    found = evaluate(tmp_path / "two.tflite", {**sides, "real": real}, metric="mae")
    assert found.scores == {"reference": 0.0, "host": 0.0}


@pytest.mark.parametrize(
    "options, words",
    [
        ({"metric": "f1"}, "metric 'f1': expected one of top1"),
        ({"on": "board"}, "on 'board': expected reference, host or qemu"),
        ({"metric": "top1"}, "metric top1 or top5 needs labels: expected y or labels in the data, got none"),
        ({"metric": "agreement"}, "metric agreement: nothing to compare with"),
        ({"metric": "top1", "y": [0, 1, 4]}, "expected one class of 0 to 3 for each sample, got int64[3] of 0 to 4"),
        ({"metric": "top5", "y": [0, 1, 0.5]}, "expected one class of 0 to 3"),
        (
            {"metric": "auc", "y": [1, 1, 1]},
            "expected 0 and 1, one for each sample and both of them, got int64[3] of 1",
        ),
        ({"metric": "auc", "y": [1, 0, 1]}, "expected a model with one or two outputs, got 4"),
        ({"metric": "mse", "y": [1, 0, 1]}, "expected the output's 4 values for each sample, got 1"),
    ],
)
def test_what_makes_no_sense_is_said(options: dict[str, Any], words: str, dense: Path) -> None:
    labels = {"y": np.array(options["y"])} if "y" in options else {}
    options = {key: value for key, value in options.items() if key != "y"}
    with pytest.raises(UsageError) as caught:
        evaluate(dense, {"x": np.zeros((3, 6), np.int8), **labels}, **{"on": "reference", **options})
    assert words in str(caught.value)


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize(
    "name, dataset, options, expected",
    [
        ("mlperf_tiny/kws01_int8", "mlperf_kws01/all", {"limit": 200}, 0.915),
        ("kazuhito/keypoint_classifier", "hand_gesture_mediapipe/keypoint", {}, 0.9652),
    ],
)
def test_published_accuracy(name: str, dataset: str, options: Any, expected: float) -> None:
    file = zoo.FOLDER / "datasets" / f"{dataset}.npz"
    found = evaluate(zoo.path_of(name), file, on="reference", metric="top1", **options)
    assert [round(score, 4) for score in found.scores.values()] == [expected]

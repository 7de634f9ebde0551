# SPDX-License-Identifier: Apache-2.0
"""Published networks compute, bit for bit, what TensorFlow Lite Micro computes; and what is not covered says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench
from tests import zoo
from tinygen import toolchain
from tinygen.ir.types import Array
from tinygen.target import load_target
from tinygen.verify.build_dir import BuildDir
from tinygen.verify.execution import Execution
from tinygen.verify.host import run_host
from tinygen.verify.qemu import run_qemu

pytestmark = [pytest.mark.zoo, pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)]

#: Every model that is covered: it must build and equal its golden vectors.
COVERED = (
    "ai_edge_quantizer/conv_fc_mnist_srq_a8w8",
    "ambiq/har_int8",
    "arm_mlexamples/kws_micronet_m",
    "arm_mlexamples/yolo-fastest_192_face_v4",
    "coral/split_concat",
    "mit_tinyengine/ptq_mnist_lenet-300-100",
    "mlperf_tiny/ad01_int8",
    "mlperf_tiny/ad01_int8_floatio",
    "mlperf_tiny/ic01_int8",
    "mlperf_tiny/ic_large_int8",
    "mlperf_tiny/kws01_int8",
    "mlperf_tiny/sww01_int8",
    "mlperf_tiny/vww01_int8",
    "tflm/arduino_magic_wand_int8",
    "tflm/hello_world_int8",
    "tflm/micro_speech_quantized",
    "tflm/person_detect",
    "tflm/simple_add_int8",
    "tflm/test_conv_model_floatio",
    "tinymaix/cifar10_q",
    "tinymaix/mbnet96_0.25_q",
    "tinymaix/mnist_arduino_q",
    "tinymaix/mnist_dw_q",
    "tinymaix/mnist_resnet_q",
    "tinymaix/mnist_valid_q",
)

#: Models that TensorFlow Lite Micro rejects: their golden vectors are LiteRT's.
NOT_TFLM = ("coral/split_concat",)

FLOAT = "a float model: needs --calibration"
UINT8 = "The uint8 quantization"
STATE = "ASSIGN_VARIABLE, CALL_ONCE, READ_VARIABLE, VAR_HANDLE"
#: Every other model, with words of the reason that is given.
NOT_COVERED = {
    "ai_edge_quantizer/conv_fc_mnist": FLOAT,
    "coral/mobilenet_v1_0.25_128_quant": UINT8,
    "dtln/model_1": FLOAT,
    "efinix/magic_wand_float_2019": FLOAT,
    "efinix/micro_speech_uint8_2019": UINT8,
    "kazuhito/keypoint_classifier": FLOAT,
    "micro_wake_word/v1_alexa": STATE,
    "micro_wake_word/v2_hey_jarvis": STATE,
    "mlperf_tiny/ad01_fp32": FLOAT,
    "mlperf_tiny/ad01_hybrid_dynrange": FLOAT,
    "mlperf_tiny/ic01_fp32": FLOAT,
    "mlperf_tiny/ic_large_fp32": FLOAT,
    "mlperf_tiny/kws01_hybrid_named_float32": FLOAT,
    "mlperf_tiny/vww01_fp32": FLOAT,
    "tflm/hello_world_float": FLOAT,
    "tflm/keyword_scrambled": "SVDF",
    "tflm/mnist_lstm_float": "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "tflm/mnist_lstm_int8": "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "tinymaix/cifar10_f": FLOAT,
    "tinymaix/mnist_dw_f": FLOAT,
    "tinymaix/mnist_resnet_f": FLOAT,
}

#: Models that run under QEMU here; `make zoo` runs them all.
MLPERF = tuple(f"mlperf_tiny/{name}_int8" for name in ("ad01", "ic01", "kws01", "sww01", "vww01"))
#: Models that fit the smallest machine.
SMALL = ("tflm/hello_world_int8", "tflm/micro_speech_quantized", "tinymaix/mnist_resnet_q")
#: A core for each of the emulated machines.
CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")


def test_every_model_is_listed() -> None:
    assert sorted([*COVERED, *NOT_COVERED]) == zoo.names()


@pytest.mark.parametrize("name", COVERED)
def test_host_equals_golden_and_every_layer_tflm(name: str, tmp_path: Path) -> None:
    runs = zoo.golden(name)
    assert len(runs) == 5
    built = zoo.build(name, tmp_path)
    done = run_host(built, [run.inputs for run in runs], trace=True)
    assert zoo.difference(runs, done.outputs) is None
    assert done.warnings == ""
    if name not in NOT_TFLM:
        _assert_layers_equal(built, done, zoo.tflm_layers(name, runs[0].inputs))


def _assert_layers_equal(built: BuildDir, done: Execution, expected: dict[str, Array]) -> None:
    """Hold every layer's outputs in the first run against those of TensorFlow Lite Micro: softmax hides errors.

    Where channels were removed, those that are left must be, in order, among those of TensorFlow Lite Micro.
    """
    assert done.trace is not None
    assert len(done.trace[0]) == len(built.steps) > 0
    for places, arrays in zip(built.steps, done.trace[0], strict=True):
        for place, array in zip(places, arrays, strict=True):
            assert _is_among(array, expected[place.name]), place.name


def _is_among(array: Array, whole: Array) -> bool:
    """Whether the channels (last axis) of `array` are channels of `whole` in the same order; all of them if as many."""
    if array.size == whole.size:
        return array.tobytes() == whole.tobytes()
    channels = iter(whole.reshape(-1, whole.shape[-1]).T)
    return all(
        any(np.array_equal(mine, theirs) for theirs in channels) for mine in array.reshape(-1, array.shape[-1]).T
    )


@pytest.mark.qemu
@pytest.mark.parametrize("name", MLPERF)
def test_cortex_m4_equals_golden(name: str, tmp_path: Path) -> None:
    runs = zoo.golden(name)
    done = run_qemu(zoo.build(name, tmp_path), [run.inputs for run in runs], load_target("cortex-m4"))
    assert zoo.difference(runs, done.outputs) is None
    assert done.warnings == ""


@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", SMALL)
def test_small_models_equal_golden_on_every_machine(name: str, core: str, tmp_path: Path) -> None:
    runs = zoo.golden(name)
    done = run_qemu(zoo.build(name, tmp_path, core), [run.inputs for run in runs], load_target(core))
    assert zoo.difference(runs, done.outputs) is None


@pytest.mark.parametrize("name, words", NOT_COVERED.items())
def test_what_is_not_covered_says_why(name: str, words: str) -> None:
    assert words in (zoo.reason_not_covered(name) or "nothing is wrong with it")


def classify(name: str, inputs: Array, folder: Path) -> Array:
    """The outputs [N, classes] of the emitted C for `inputs` [N, …], which are given the shape of the model's input."""
    built = zoo.build(name, folder)
    sets = [[x] for x in inputs.reshape(-1, *built.inputs[0].type.shape)]
    return np.concatenate([outputs[0] for outputs in run_host(built, sets, sanitize=False).outputs])


def accuracy(outputs: Array, labels: Array) -> float:
    return float(np.mean(outputs.argmax(axis=1) == labels))


def test_keywords_are_spotted_as_by_tflm(tmp_path: Path) -> None:
    data = zoo.dataset("mlperf_kws01/all")
    outputs = classify("mlperf_tiny/kws01_int8", data["x"], tmp_path)
    assert np.array_equal(outputs, zoo.dataset("mlperf_kws01/tflm_out")["out"])
    assert accuracy(outputs, data["y"]) == 0.901


def test_wake_words_are_spotted_as_by_tflm(tmp_path: Path) -> None:
    data = zoo.dataset("mlperf_sww01/calib45")
    inputs = np.clip(np.round(data["specs"] / 0.00370104) - 128, -128, 127).astype(np.int8)
    assert round(accuracy(classify("mlperf_tiny/sww01_int8", inputs, tmp_path), data["y"]), 4) == 0.9111


#: Share of the 5000 digits that TensorFlow Lite Micro gets right.
DIGITS = {
    "ai_edge_quantizer/conv_fc_mnist_srq_a8w8": 0.9422,
    "tinymaix/mnist_arduino_q": 0.8408,
    "tinymaix/mnist_dw_q": 0.9114,
    "tinymaix/mnist_resnet_q": 0.9742,
    "tinymaix/mnist_valid_q": 0.9488,
}


@pytest.mark.parametrize("name, expected", DIGITS.items())
def test_digits_are_read_as_by_tflm(name: str, expected: float, tmp_path: Path) -> None:
    data = zoo.dataset("mnist_t10k/dev")
    inputs = (data["x"].astype(np.int16) - 128).astype(np.int8)
    assert round(accuracy(classify(name, inputs, tmp_path), data["y"]), 4) == expected


def test_digits_are_read_with_floats_at_both_ends(tmp_path: Path) -> None:
    data = zoo.dataset("mnist_t10k/dev")
    inputs = ((data["x"].astype(np.float32) / 255 - 0.1307) / 0.3081).astype(np.float32)
    assert round(accuracy(classify("mit_tinyengine/ptq_mnist_lenet-300-100", inputs, tmp_path), data["y"]), 4) == 0.9754


def test_a_person_is_seen_where_there_is_one(tmp_path: Path) -> None:
    pictures = [_pixels(zoo.FOLDER / "datasets" / "tflm_testdata" / f"{name}.bmp") for name in ("person", "no_person")]
    seen = classify("tflm/person_detect", np.stack(pictures), tmp_path).argmax(axis=1)
    assert seen.tolist() == [1, 0]


def _pixels(bmp: Path) -> Array:
    """The bytes of an 8-bit bitmap, from its top row down, as int8."""
    data = bmp.read_bytes()
    start, width, height = (int.from_bytes(data[at : at + 4], "little") for at in (10, 18, 22))
    return np.frombuffer(data, np.int8, width * height, start).reshape(height, width)[::-1]


@pytest.mark.qemu
def test_the_readme_shows_what_was_measured() -> None:
    """README.md holds the table that `python -m benchmarks.bench --markdown` prints."""
    gcc = toolchain.version(toolchain.find_cross())
    if not gcc.startswith("12.2"):
        pytest.skip(f"README.md's figures are gcc 12.2's; this is {gcc}")
    _, peers = bench.read_peers()
    rows = bench.measure_all(peers, (bench.CORE,), "balanced")
    assert bench.markdown(rows) in (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

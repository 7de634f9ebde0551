# SPDX-License-Identifier: Apache-2.0
"""The float models of the zoo, and the data that each is quantized by and judged on.

Every set is shuffled with the number of a split as seed, unless it is said to be in order; the first samples calibrate,
others test.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests import zoo
from tinygen import api
from tinygen.ir.types import Array
from tinygen.reference import run_real

#: Ways to split each set.
SPLITS = 3
#: Arrays for all inputs of a model, in its order.
Sample = tuple[Array, ...]


@dataclass(frozen=True)
class Data:
    """Samples in the layout of a model's inputs, the class of each where it is known, and what they are in words."""

    samples: Sequence[Sample]
    labels: Array | None
    source: str

    def part(self, first: int, last: int) -> Data:
        labels = None if self.labels is None else self.labels[first:last]
        return Data(self.samples[first:last], labels, self.source)


@dataclass(frozen=True)
class Case:
    """A float model, its data, and how many samples calibrate and test it; `tests` 0 stands for all that are left.

    `data` gives them in the order of a split. `limit`: how many points of accuracy quantization may cost. `twin`: the
    ONNX file of the same network, where `model` is a TFLite file; its input is NCHW.
    """

    model: str
    data: Callable[[int], Data]
    limit: float | None = None
    calibration: int = 100
    tests: int = 0
    twin: str | None = None
    splits: int = SPLITS

    @property
    def path(self) -> Path:
        return zoo.FOLDER / "models" / self.model

    @property
    def onnx(self) -> Path | None:
        """The ONNX file of the network, if there is one."""
        name = self.model if self.path.suffix == ".onnx" else self.twin
        return zoo.FOLDER / "models" / name if name else None

    @property
    def hybrid(self) -> bool:
        """Whether weights are int8 and activations float."""
        return "hybrid" in self.model

    def split(self, most: int = 0, number: int = 0) -> tuple[Data, Data]:
        """Split `number`: calibration and test data, which have no sample in common; at most `most` tests unless 0."""
        data, counts = self.data(number), [n for n in (self.tests, most) if n]
        last = min(len(data.samples), self.calibration + min(counts, default=len(data.samples)))
        return data.part(0, self.calibration), data.part(self.calibration, last)


def _shuffled(values: Array, labels: Array | None, source: str, split: int) -> Data:
    order = np.random.default_rng(split).permutation(len(values))
    real = np.asarray(values, np.float32)
    return Data([(real[i : i + 1],) for i in order], None if labels is None else labels[order].astype(int), source)


def _mnist(shape: tuple[int, ...], scale: float = 255.0) -> Callable[[int], Data]:
    def read(split: int) -> Data:
        found = zoo.dataset("mnist_t10k/dev")
        pixels = found["x"].astype(np.float32) / np.float32(scale)
        if shape[-1] == 14:
            pixels = pixels.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
        return _shuffled(pixels.reshape(-1, *shape), found["y"], "mnist_t10k", split)

    return read


def _keywords(split: int) -> Data:
    found = zoo.dataset("mlperf_kws01/all")
    features = (found["x"].astype(np.float32) - 83) * np.float32(0.584703)
    return _shuffled(features, found["y"], "mlperf_kws01", split)


def _hands(split: int) -> Data:
    found = zoo.dataset("hand_gesture_mediapipe/keypoint")
    return _shuffled(found["x"], found["y"], "hand_gesture_mediapipe", split)


def _pictures(
    scale: float, offset: float = 0.0, nchw: bool = False, size: tuple[int, int] = (32, 32)
) -> Callable[[int], Data]:
    """CIFAR-10 pictures as x / scale - offset; larger ones are made by repeating pixels."""

    def read(split: int) -> Data:
        pixels = zoo.dataset("cifar10_calib500/all")["x_raw"].reshape(-1, 32, 32, 3)
        values = pixels.astype(np.float32) / np.float32(scale) - np.float32(offset)
        factor = -(-max(size) // 32)
        if factor > 1:  # 100 pictures take 100 MB at 240 × 320
            values = values[:200].repeat(factor, axis=1).repeat(factor, axis=2)[:, : size[0], : size[1]]
        source = "cifar10_calib500" + (f", pixels {factor} × {factor} times" if factor > 1 else "")
        return _shuffled(values.transpose(0, 3, 1, 2) if nchw else values, None, source, split)

    return read


def _gestures(split: int) -> Data:
    """Acceleration in thousandths of g at 50 Hz, from m/s² at 100 Hz."""
    windows = zoo.dataset("har_pamap2_s102/windows256")["x"][:, ::2] / 9.81 * 1000
    return _shuffled(windows[..., None], None, "har_pamap2_s102, in mg", split)


def _normal(mean: float, deviation: float, *shape: int) -> Callable[[int], Data]:
    def draw(split: int) -> Data:
        values = np.random.default_rng(1).normal(mean, deviation, (400, *shape))
        return _shuffled(values, None, f"random: normal, mean {mean:g}, deviation {deviation:g}", split)

    return draw


def _angles(split: int) -> Data:
    return _shuffled(np.random.default_rng(1).uniform(0, 2 * np.pi, (1100, 1)), None, "random: uniform in 0..2π", split)


def _speech(split: int) -> Data:
    """Magnitudes of spectra (512 samples, every 128) of four recordings, with the states that the float model reaches.

    In order, whatever the split: two recordings calibrate, two others test.
    """
    graph = api.load(zoo.FOLDER / "models" / "dtln" / "model_1.tflite")
    samples: list[Sample] = []
    for name in ("yes", "noise", "no", "silence"):
        state = np.zeros((1, 2, 128, 2), np.float32)
        for start in range(0, 121 * 128, 128):
            spectrum = np.abs(np.fft.rfft(_recording(name)[start : start + 512])).astype(np.float32).reshape(1, 1, 257)
            samples.append((spectrum, state))
            state = np.asarray(run_real(graph, samples[-1])[graph.outputs[1]], np.float32)
    return Data(samples, None, "tflm_testdata, in order: yes, noise; no, silence")


def _recording(name: str) -> Array:
    """16000 samples in -1..1."""
    with wave.open(str(zoo.FOLDER / "datasets" / "tflm_testdata" / f"{name}_1000ms.wav")) as file:
        return np.frombuffer(file.readframes(16000), "<i2") / 32768


#: Points of accuracy that quantization may cost.
LIMIT, MNIST_LIMIT = 0.5, 0.3

CASES: tuple[Case, ...] = (
    Case("ai_edge_quantizer/conv_fc_mnist.tflite", _mnist((28, 28, 1)), MNIST_LIMIT),
    Case("cntk_mnist/mnist_opset8.onnx", _mnist((1, 28, 28), 1.0), MNIST_LIMIT),
    Case("onnx2c/atmega_mnist_14x14.onnx", _mnist((1, 14, 14)), MNIST_LIMIT),
    Case("tflm/mnist_lstm_float.tflite", _mnist((28, 28)), MNIST_LIMIT),
    Case("tinymaix/mnist_dw_f.tflite", _mnist((28, 28, 1)), MNIST_LIMIT),
    Case("tinymaix/mnist_resnet_f.tflite", _mnist((28, 28, 1)), MNIST_LIMIT),
    Case("kazuhito/keypoint_classifier.tflite", _hands, LIMIT),
    Case("mlperf_tiny/kws01_hybrid_named_float32.tflite", _keywords, LIMIT),
    Case("mlperf_tiny/ic01_fp32.tflite", _pictures(1), tests=200, twin="mlperf_onnx/ic01_float.onnx"),
    Case("mlperf_onnx/ic01_float.onnx", _pictures(1, nchw=True), tests=200),
    Case("mlperf_tiny/ic_large_fp32.tflite", _pictures(1), calibration=50, tests=50, splits=1),
    Case("tinymaix/cifar10_f.tflite", _pictures(255), tests=400),
    Case("winml/pytorch_image_classifier.onnx", _pictures(127.5, 1.0, nchw=True), tests=400),
    Case(
        "mlperf_tiny/vww01_fp32.tflite",
        _pictures(255, size=(96, 96)),
        tests=100,
        twin="mlperf_onnx/vww01_float.onnx",
        splits=1,
    ),
    Case("mlperf_onnx/vww01_float.onnx", _pictures(255, nchw=True, size=(96, 96)), tests=100, splits=1),
    Case(
        "ultraface/version-slim-320_simplified.onnx",
        _pictures(128, 127 / 128, nchw=True, size=(240, 320)),
        calibration=16,
        tests=16,
        splits=1,
    ),
    Case("mlperf_tiny/ad01_fp32.tflite", _normal(-35, 12, 640), tests=300),
    Case("mlperf_tiny/ad01_hybrid_dynrange.tflite", _normal(-35, 12, 640), tests=300),
    Case("efinix/magic_wand_float_2019.tflite", _gestures),
    Case("tflm/hello_world_float.tflite", _angles),
    Case("dtln/model_1.tflite", _speech, calibration=242, splits=1),
    Case("dtln/model_1.onnx", _speech, calibration=242, splits=1),
)

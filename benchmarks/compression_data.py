# SPDX-License-Identifier: Apache-2.0
"""What compression is measured on: models of the zoo with data, split by a seed into samples to fit and to test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests import zoo
from tinygen.ir.types import Array

#: Samples [N, …] as the model takes them, and class labels [N] where there are any.
Read = Callable[[], tuple[Array, Array | None]]


@dataclass(frozen=True)
class Task:
    """A model of the zoo with data; `share` of the samples, at most `most`, fit, at most `tests` others test."""

    name: str
    model: str
    read: Read
    what: str
    share: float = 0.5
    most: int = 512
    tests: int = 2000

    def split(self, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Samples (x, and y where there are labels) to fit and to test, which have none in common."""
        values, labels = self.read()
        order = np.random.default_rng(seed).permutation(len(values))
        count = min(int(self.share * len(values)), self.most)
        parts = order[:count], order[int(self.share * len(values)) :][: self.tests]
        fit, test = ({"x": values[p]} | ({} if labels is None else {"y": labels[p]}) for p in parts)
        fit.pop("y", None)
        return fit, test


def _keywords() -> tuple[Array, Array | None]:
    found = zoo.dataset("mlperf_kws01/all")
    return found["x"], found["y"].astype(np.int64)


def _digits() -> tuple[Array, Array | None]:
    found = zoo.dataset("mnist_t10k/dev")
    return found["x"].astype(np.float32)[..., None] / np.float32(255), found["y"].astype(np.int64)


def _normalized() -> tuple[Array, Array | None]:
    """The same, less their mean, over their deviation, as PyTorch's examples have it."""
    values, labels = _digits()
    return ((values - np.float32(0.1307)) / np.float32(0.3081)).astype(np.float32), labels


def _hands() -> tuple[Array, Array | None]:
    found = zoo.dataset("hand_gesture_mediapipe/keypoint")
    return found["x"].astype(np.float32), found["y"].astype(np.int64)


def _objects() -> tuple[Array, Array | None]:
    """Images in RGB from 0 to 255, without labels."""
    found = zoo.dataset("cifar10_calib500/all")
    return found["x_raw"].astype(np.float32).reshape(-1, 32, 32, 3), None


def _golden() -> tuple[Array, Array | None]:
    """Standard normal values, as the golden vectors are; those themselves are the last five."""
    with np.load(zoo.FOLDER / "golden" / "mlperf_tiny" / "ad01_fp32.tflite.npz") as found:
        last = np.concatenate([found[f"in0_{run}"] for run in range(5)])
    return np.concatenate([np.random.default_rng(9).standard_normal((395, 640)), last]).astype(np.float32), None


def _spectra() -> tuple[Array, Array | None]:
    """Five frames of 128 log-mel bands in dB that vary slowly, as those of machines do: seeded, made for this."""
    rng = np.random.default_rng(7)
    bands = np.linspace(-1, 1, 128)
    curves = np.stack([np.cos(np.pi * k * (bands + 1) / 2) for k in range(8)])
    weights = rng.normal(0, [6, 8, 4, 4, 3, 2, 2, 1], (400, 1, 8))
    frames = -35 + weights @ curves + rng.normal(0, 2, (400, 5, 128))
    return frames.reshape(400, 640).astype(np.float32), None


TASKS = {
    task.name: task
    for task in (
        Task("kws", "mlperf_tiny/kws01_int8.tflite", _keywords, "keyword spotting, half of mlperf_kws01 each"),
        Task("mnist", "ai_edge_quantizer/conv_fc_mnist.tflite", _digits, "a float CNN, mnist_t10k"),
        Task("mnist-resnet", "tinymaix/mnist_resnet_f.tflite", _digits, "a float CNN with a residual, mnist_t10k"),
        Task(
            "lenet",
            "mit_tinyengine/ptq_mnist_lenet-300-100.tflite",
            _normalized,
            "dense layers, int8, mnist_t10k",
        ),
        Task(
            "lenet-half",
            "mit_tinyengine/ptq_mnist_lenet-300-100.tflite",
            _normalized,
            "dense layers, int8, half of mnist_t10k to fit",
            most=2500,
        ),
        Task("hands", "kazuhito/keypoint_classifier.tflite", _hands, "dense layers, float, hand_gesture_mediapipe"),
        Task(
            "ic", "mlperf_tiny/ic01_fp32.tflite", _objects, "image classification, float, half of cifar10_calib500 each"
        ),
        Task("ad", "mlperf_tiny/ad01_fp32.tflite", _spectra, "an autoencoder, float, seeded spectra"),
        Task("ad-golden", "mlperf_tiny/ad01_fp32.tflite", _golden, "the same, normal noise and the golden inputs"),
    )
}

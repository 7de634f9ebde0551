# SPDX-License-Identifier: Apache-2.0
"""What the tests of convolution-like operators share: weights, biases and output scales that make outputs vary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen.errors import ModelError, UnsupportedError
from tinygen.ops import problems_of


def integers(seed: int, shape: tuple[int, ...], low: int = -127, high: int = 127) -> np.ndarray:
    """Random integers, both ends included."""
    return np.random.default_rng(seed).integers(low, high, size=shape, endpoint=True)


def weight_scales(channels: int) -> st.SearchStrategy[list[float]]:
    """One scale, or one for each output channel."""
    scale = st.floats(1e-3, 0.05).map(lambda s: float(np.float32(s)))
    return st.one_of(st.lists(scale, min_size=1, max_size=1), st.lists(scale, min_size=channels, max_size=channels))


def bias_tensor(b: ModelBuilder, seed: int, in_scale: float, scales: list[float], channels: int, axis: int = 0) -> int:
    """An int32 bias of the scale that TFLite's quantization specification gives it."""
    products = [float(np.float32(in_scale) * np.float32(s)) for s in scales]
    return b.tensor((channels,), "int32", products, data=integers(seed + 1, (channels,), -20000, 20000), axis=axis)


def output_quant(in_scale: float, scales: list[float], terms: int) -> st.SearchStrategy[tuple[float, int]]:
    """A (scale, zero point) under which sums of `terms` products mostly stay in range, sometimes not."""
    typical = in_scale * max(scales) * 74 * 74 * math.sqrt(terms) / 50
    scale = st.sampled_from((0.02, 0.3, 1.0, 1.0, 3.0, 100.0)).map(lambda f: float(np.float32(typical * f)))
    return st.tuples(scale, st.integers(-128, 127))


def refuses(data: bytes, sentence: str) -> None:
    """Fail unless the file's node is refused with these words."""
    try:
        found = " ".join(message for _, message in problems_of(load(data)))
    except (ModelError, UnsupportedError) as error:
        found = str(error)
    assert sentence in found, found


@dataclass(frozen=True)
class Spatial:
    """Input shape NHWC and window of a convolution, in TFLite's terms."""

    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    same: bool = True
    activation: int = 0

    @property
    def channels(self) -> int:
        return self.shape[3]

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output: TensorFlow's definition of SAME and VALID."""
        height, width = (
            -(-size // stride) if self.same else -(-(size - (kernel - 1) * dilation) // stride)
            for size, kernel, stride, dilation in zip(
                self.shape[1:3], self.kernel, self.stride, self.dilation, strict=True
            )
        )
        return height, width

    @property
    def options(self) -> dict[str, int]:
        """Fields of the option tables of CONV_2D and DEPTHWISE_CONV_2D."""
        return {
            "strideH": self.stride[0],
            "strideW": self.stride[1],
            "dilationHFactor": self.dilation[0],
            "dilationWFactor": self.dilation[1],
            "padding": 0 if self.same else 1,
            "fusedActivationFunction": self.activation,
        }


@st.composite
def spatials(draw: st.DrawFn, channels: int | None = None, max_channels: int = 8) -> Spatial:
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, dilation, same = draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), draw(pair), draw(st.booleans())
    if draw(st.booleans()):
        dilation = (1, 1)
    smallest = [1 if same else (k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(draw(st.integers(n, n + 6)) for n in smallest)
    depth = channels or draw(st.integers(1, max_channels))
    shape = (draw(st.integers(1, 2)), size[0], size[1], depth)
    return Spatial(shape, kernel, draw(pair), dilation, same, draw(st.integers(0, 3)))


def scales_for_halves() -> tuple[float, float, float]:
    """Scales (input, weights, output) whose ratio is below 0.5 in double, 0.5 where a float32 product comes first.

    Odd negative sums then come to rest on opposite sides of a half.
    """
    left, right = np.float32(0.1), np.float32(0.7)
    product = left * right
    assert float(product) > float(left) * float(right)
    return float(left), float(right), float(product * np.float32(2))

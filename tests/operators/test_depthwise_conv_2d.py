# SPDX-License-Identifier: Apache-2.0
"""DEPTHWISE_CONV_2D."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.convolutions import Spatial, bias_tensor, integers, output_quant, refuses, spatials, weight_scales
from tests.laws import check_laws, load
from tests.strategies import FEW, quants
from tests.tflite_builder import ModelBuilder
from tinygen.lower import lower
from tinygen.target import load_target


def build(
    s: Spatial,
    multiplier: int,
    seed: int,
    source: tuple[float, int],
    scales: list[float],
    target: tuple[float, int],
    bias: bool = True,
    axis: int = 3,
) -> bytes:
    b, channels = ModelBuilder(), s.channels * multiplier
    shape = (1, *s.kernel, channels)
    x = b.tensor(s.shape, "int8", *source)
    w = b.tensor(shape, "int8", scales, 0, integers(seed, shape), axis)
    inputs = [x, w, bias_tensor(b, seed, source[0], scales, channels)] if bias else [x, w]
    y = b.tensor((s.shape[0], *s.output, channels), "int8", *target)
    b.op("DEPTHWISE_CONV_2D", inputs, [y], "DepthwiseConv2DOptions", depthMultiplier=multiplier, **s.options)
    return b.finish([x], [y])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    s, multiplier = draw(spatials(max_channels=11)), draw(st.sampled_from((1, 1, 1, 2, 3)))
    source, scales = draw(quants()), draw(weight_scales(s.channels * multiplier))
    target = draw(output_quant(source[0], scales, s.kernel[0] * s.kernel[1]))
    return build(s, multiplier, draw(st.integers(0, 2**32)), source, scales, target, draw(st.booleans()))


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_both_kernels_are_used() -> None:
    def kernel(channels: int, multiplier: int) -> str:
        s = Spatial((1, 5, 5, channels), (3, 3))
        file = build(s, multiplier, 0, (0.5, 0), [0.1], (1.0, 0))
        return lower(load(file), load_target("host")).steps[0].kernel

    assert kernel(4, 1) == "depthwise_conv_2d/portable"
    assert kernel(3, 1) == kernel(8, 2) == kernel(1, 8) == "conv_2d/portable"


def test_refusals() -> None:
    s = Spatial((1, 5, 5, 4), (3, 3))
    refuses(build(s, 1, 0, (0.5, 0), [0.1] * 3, (1.0, 0), False, axis=1), "one for each output channel")
    b = ModelBuilder()
    x = b.tensor((1, 5, 5, 4), "int8", 0.5, 0)
    w = b.tensor((1, 3, 3, 6), "int8", 0.1, 0, np.ones((1, 3, 3, 6)))
    y = b.tensor((1, 3, 3, 6), "int8", 1.0, 0)
    b.op("DEPTHWISE_CONV_2D", [x, w], [y], "DepthwiseConv2DOptions", strideH=1, strideW=1, padding=1)
    refuses(b.finish([x], [y]), "a multiple of the input's channels")

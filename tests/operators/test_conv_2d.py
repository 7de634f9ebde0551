# SPDX-License-Identifier: Apache-2.0
"""CONV_2D."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.convolutions import Spatial, bias_tensor, integers, output_quant, refuses, spatials, weight_scales
from tests.laws import check_laws, draw_inputs, load
from tests.strategies import FEW, quants
from tests.tflite_builder import ModelBuilder
from tinygen.lower import lower
from tinygen.reference import run
from tinygen.target import load_target


def build(
    s: Spatial,
    groups: int,
    filters: int,
    seed: int,
    source: tuple[float, int],
    scales: list[float],
    target: tuple[float, int],
    bias: bool = True,
    bias_axis: int = 0,
) -> bytes:
    b, shape = ModelBuilder(), (filters, *s.kernel, s.channels // groups)
    x = b.tensor(s.shape, "int8", *source)
    w = b.tensor(shape, "int8", scales, 0, integers(seed, shape))
    inputs = [x, w, bias_tensor(b, seed, source[0], scales, filters, bias_axis)] if bias else [x, w]
    y = b.tensor((s.shape[0], *s.output, filters), "int8", *target)
    b.op("CONV_2D", inputs, [y], "Conv2DOptions", **s.options)
    return b.finish([x], [y])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    groups, per_group = draw(st.sampled_from(((1, 3), (1, 9), (1, 4), (2, 2), (3, 1), (5, 4))))
    s, filters = draw(spatials(channels=groups * per_group)), groups * draw(st.integers(1, 4))
    source, scales = draw(quants()), draw(weight_scales(filters))
    target = draw(output_quant(source[0], scales, s.kernel[0] * s.kernel[1] * per_group))
    seed, bias, axis = draw(st.integers(0, 2**32)), draw(st.booleans()), draw(st.sampled_from((0, 3)))
    return build(s, groups, filters, seed, source, scales, target, bias, axis)


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@pytest.mark.parametrize("scale", [0.03, 0.06])
@pytest.mark.parametrize("activation", [1, 2, 3])
def test_fused_activations(activation: int, scale: float) -> None:
    """Where the clamp lies well inside the output's range, on both sides of it."""
    shape = Spatial((1, 6, 6, 4), (2, 2), activation=activation)
    data = build(shape, 1, 5, 0, (0.05, 0), [0.02] * 5, (scale, -20))
    one = round(1 / scale)
    low, high = {1: (-20, 127), 2: (-20 - one, -20 + one), 3: (-20, -20 + round(6 / scale))}[activation]
    graph = load(data)
    answers = [run(graph, inputs)[0] for inputs in draw_inputs(graph, 0)]
    assert (min(a.min() for a in answers), max(a.max() for a in answers)) == (low, min(high, 127))
    check_laws([data])


def test_reference_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little of a row is computed at a time, the result is the same."""
    graph = load(build(Spatial((2, 5, 11, 4), (3, 2)), 2, 6, 0, (0.1, 3), [0.01] * 6, (0.1, -3)))
    inputs = [np.random.default_rng(0).integers(-128, 128, (2, 5, 11, 4)).astype(np.int8)]
    (whole,) = run(graph, inputs)
    for piece in (1, 100):
        monkeypatch.setattr("tinygen.ops.conv_2d.PIECE", piece)
        assert np.array_equal(run(graph, inputs)[0], whole)


def test_edge_shapes() -> None:
    """One pixel, one tap, windows larger than the image, dilations larger than it, strides larger than the window."""
    edges = [
        Spatial((1, 1, 1, 7), (1, 1), same=False),
        Spatial((1, 25, 5, 1), (10, 4), (2, 2)),
        Spatial((1, 2, 2, 7), (5, 5)),
        Spatial((1, 1, 1, 2), (7, 6)),
        Spatial((1, 4, 3, 2), (3, 3), dilation=(7, 5)),
        Spatial((1, 3, 8, 2), (2, 9), (5, 7)),
    ]
    check_laws([build(s, 1, 5, 1, (0.1, zero), [0.02], (1.0, 3)) for s in edges for zero in (-128, 127)])


def kernel_of(s: Spatial, groups: int = 1) -> str:
    return lower(load(build(s, groups, 4, 0, (0.5, 0), [0.1], (1.0, 0))), load_target("host")).steps[0].kernel


def test_pointwise_convolution_is_a_matrix_product() -> None:
    assert kernel_of(Spatial((2, 5, 5, 4), (1, 1))) == "fully_connected/portable"
    assert kernel_of(Spatial((2, 5, 5, 4), (1, 1), dilation=(2, 2))) == "fully_connected/portable"
    others = [Spatial((2, 5, 5, 4), (1, 1), (2, 1)), Spatial((2, 5, 5, 4), (1, 2))]
    assert {kernel_of(s) for s in others} | {kernel_of(Spatial((2, 5, 5, 4), (1, 1)), 2)} == {"conv_2d/portable"}


def odd(**changes: Any) -> bytes:
    """A small convolution with some tensors otherwise than they should be."""
    b = ModelBuilder()
    tensors = {
        "x": {"shape": (1, 5, 5, 4), "scale": 0.5},
        "w": {"shape": (2, 3, 3, 4), "scale": 0.1, "data": np.ones((2, 3, 3, 4))},
        "b": {"shape": (2,), "dtype": "int32", "scale": 0.05, "data": np.zeros(2)},
        "y": {"shape": (1, 3, 3, 2), "scale": 1.0},
    }
    x, w, bias, y = (b.tensor(**{**tensors[name], **changes.get(name, {})}) for name in "xwby")
    b.op("CONV_2D", [x, w, bias], [y], "Conv2DOptions", padding=1, strideH=1, strideW=1)
    constants = [i for i, name in ((w, "w"), (bias, "b")) if changes.get(name, {}).get("data", 0) is None]
    return b.finish([x, *constants], [y])


def test_refusals() -> None:
    assert lower(load(odd()), load_target("host"))
    refuses(odd(x={"shape": (5, 5, 4)}), "must have 4 dimensions")
    refuses(odd(x={"scale": None}), "must be int8 and quantized")
    refuses(odd(x={"dtype": "int16"}), "must be int8 and quantized")
    refuses(odd(w={"data": None}), "must be constant")
    refuses(odd(w={"scale": [0.1] * 4, "axis": 3}), "one for each output channel")
    refuses(odd(w={"zero_point": 1}), "must be symmetric")
    refuses(odd(b={"shape": (3,), "data": np.zeros(3)}), "one value for each output channel")
    refuses(odd(b={"data": None}), "must be a constant of int32")
    refuses(odd(w={"shape": (2, 3, 3, 3), "data": np.ones((2, 3, 3, 3))}), "must divide the input's channels")
    refuses(odd(x={"shape": (1, 2, 5, 4)}), "as large as the dilated window")
    refuses(odd(b={"data": np.full(2, 2**31 - 1)}), "must fit 32 bits")
    refuses(odd(y={"shape": (1, 3, 4, 2)}), "declares outputs")

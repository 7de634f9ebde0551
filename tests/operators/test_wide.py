# SPDX-License-Identifier: Apache-2.0
"""Operators with int16 activations (TFLite's 16x8 quantization)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.convolutions import Spatial, integers, refuses, spatials, weight_scales
from tests.laws import check_laws, load
from tests.operators.binary import shape_pairs
from tests.strategies import FEW, scales, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.lower import lower
from tinygen.ops.interpolated import sigmoid_table, table_of_function
from tinygen.ops.wide import multiply_wide
from tinygen.target import load_target

STEPS = scales(1e-5, 1e-2)


def wide_bias(b: ModelBuilder, seed: int, scale: float, each: list[float], channels: int, dtype: str) -> int:
    largest = 2**28 if dtype == "int64" else 2**20
    products = [float(np.float32(scale) * np.float32(s)) for s in each]
    return b.tensor((channels,), dtype, products, data=integers(seed + 1, (channels,), -largest, largest))


def output_scale(scale: float, each: list[float], terms: int) -> st.SearchStrategy[float]:
    """Under which sums of `terms` products mostly stay in range, sometimes not."""
    typical = scale * max(each) * 74 * 19000 * np.sqrt(terms) / 12000
    return st.sampled_from((0.1, 1.0, 1.0, 3.0, 100.0)).map(lambda f: float(np.float32(typical * f)))


@st.composite
def layers(draw: st.DrawFn, op: str) -> bytes:
    """A file of one convolution or matrix product."""
    b, seed = ModelBuilder(), draw(st.integers(0, 2**32))
    source = draw(STEPS)
    if op == "FULLY_CONNECTED":
        rows, depth, filters = draw(st.integers(1, 3)), draw(st.sampled_from((1, 7, 40, 600))), draw(st.integers(1, 9))
        shape, output, terms, axis = (filters, depth), (rows, filters), depth, 0
        x = b.tensor((rows, depth), "int16", source)
        options = {"fusedActivationFunction": draw(st.integers(0, 3))}
        table = "FullyConnectedOptions"
    else:
        depthwise = op == "DEPTHWISE_CONV_2D"
        s = draw(spatials(max_channels=9))
        options = s.options
        if depthwise:
            filters = s.channels * draw(st.sampled_from((1, 1, 1, 2)))
            shape, axis = (1, *s.kernel, filters), 3
            options |= {"depthMultiplier": filters // s.channels}
        else:
            groups = draw(st.sampled_from([g for g in (1, 1, 2, 3) if s.channels % g == 0]))
            filters = groups * draw(st.integers(1, 4))
            shape, axis = (filters, *s.kernel, s.channels // groups), 0
        output, terms = (s.shape[0], *s.output, filters), s.kernel[0] * s.kernel[1]
        x = b.tensor(s.shape, "int16", source)
        table = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    each = draw(weight_scales(filters))
    w = b.tensor(shape, "int8", each, 0, integers(seed, shape), axis)
    inputs = [x, w]
    kind = draw(st.sampled_from(("int64", "int64" if op == "DEPTHWISE_CONV_2D" else "int32", "none")))
    target = draw(output_scale(source, each, terms))
    if kind == "int32" and terms > 40:  # more products than 32 bits hold
        kind = "int64"
    if kind != "none":
        inputs.append(wide_bias(b, seed, source, each, filters, kind))
    y = b.tensor(output, "int16", target)
    b.op(op, inputs, [y], table, **options)
    return b.finish([x], [y])


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_layers(op: str) -> None:
    @FEW
    @given(st.lists(layers(op), min_size=8, max_size=8), st.integers(0, 2**32))
    def laws(files: list[bytes], seed: int) -> None:
        check_laws(files, seed)

    laws()


@FEW
@given(st.lists(st.tuples(spatials(max_channels=4), st.integers(1, 4), STEPS), min_size=8, max_size=8), st.booleans())
def test_transpose_conv(cases: list[tuple[Spatial, int, float]], bias: bool) -> None:
    files = []
    for seed, (s, filters, scale) in enumerate(cases):
        b, shape = ModelBuilder(), (filters, *s.kernel, s.channels)
        height, width = (n * t for n, t in zip(s.shape[1:3], s.stride, strict=True))
        out = (s.shape[0], height, width, filters)
        x, w = b.tensor(s.shape, "int16", scale), b.tensor(shape, "int8", [0.01] * filters, 0, integers(seed, shape))
        extra = [wide_bias(b, seed, scale, [0.01] * filters, filters, "int64")] if bias else []
        y = b.tensor(out, "int16", scale * 20)
        b.op("TRANSPOSE_CONV", [b.constant(list(out)), w, x, *extra], [y], "TransposeConvOptions",
             strideH=s.stride[0], strideW=s.stride[1], padding=0)  # fmt: skip
        files.append(b.finish([x], [y]))
    check_laws(files)


@st.composite
def binaries(draw: st.DrawFn, op: str) -> bytes:
    b, (first, second, result) = ModelBuilder(), draw(shape_pairs())
    left, right = draw(STEPS), draw(STEPS)
    if op == "MUL":
        target = left * right * 32767 * draw(st.sampled_from((0.1, 1.0, 7.0)))
    else:
        target = max(left, right) * draw(st.sampled_from((0.01, 0.5, 1.0, 2.0, 9.0)))
    x, y = b.tensor(first, "int16", left), b.tensor(second, "int16", right)
    z = b.tensor(result, "int16", float(np.float32(target)))
    b.op(op, [x, y], [z], f"{op.capitalize()}Options", fusedActivationFunction=draw(st.integers(0, 3)))
    return b.finish([x, y], [z])


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_binary(op: str) -> None:
    @FEW
    @given(st.lists(binaries(op), min_size=8, max_size=8))
    def laws(files: list[bytes]) -> None:
        check_laws(files)

    laws()


@pytest.mark.parametrize("op", ["MAXIMUM", "MINIMUM"])
def test_extrema(op: str) -> None:
    files = []
    for first, second in (((3, 40), (3, 40)), ((4, 1, 5), (4, 6, 1))):
        b = ModelBuilder()
        shape = tuple(int(n) for n in np.broadcast_shapes(first, second))
        x, y, z = (b.tensor(s, "int16", 1e-3) for s in (first, second, shape))
        b.op(op, [x, y], [z], "MaximumMinimumOptions")
        files.append(b.finish([x, y], [z]))
    check_laws(files)


@st.composite
def pools(draw: st.DrawFn, op: str) -> bytes:
    s, scale = draw(spatials()), draw(STEPS)
    s = Spatial(s.shape, s.kernel, s.stride, (1, 1), s.same, s.activation)
    b = ModelBuilder()
    x, y = b.tensor(s.shape, "int16", scale), b.tensor((s.shape[0], *s.output, s.channels), "int16", scale)
    b.op(op, [x], [y], "Pool2DOptions", padding=0 if s.same else 1, filterHeight=s.kernel[0], filterWidth=s.kernel[1],
         strideH=s.stride[0], strideW=s.stride[1], fusedActivationFunction=s.activation)  # fmt: skip
    return b.finish([x], [y])


@pytest.mark.parametrize("op", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools(op: str) -> None:
    @FEW
    @given(st.lists(pools(op), min_size=8, max_size=8))
    def laws(files: list[bytes]) -> None:
        check_laws(files)

    laws()


def one_input(op: str, shape: tuple[int, ...], first: float, second: float, options: str | None = None) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(shape, "int16", first), b.tensor(shape, "int16", second)
    b.op(op, [x], [y], options, **({"beta": 1.0} if op == "SOFTMAX" else {}))
    return b.finish([x], [y])


@FEW
@given(st.lists(st.tuples(shapes(max_rank=5, max_side=4), st.booleans(), STEPS, STEPS), min_size=8, max_size=8))
def test_mean(cases: list[tuple[tuple[int, ...], bool, float, float]]) -> None:
    files = []
    for index, (shape, keep, first, second) in enumerate(cases):
        b, axes = ModelBuilder(), sorted({index % len(shape), -1 % len(shape)})
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)
        x, y = b.tensor(shape, "int16", first), b.tensor(kept, "int16", second)
        b.op("MEAN", [x, b.constant(axes)], [y], "ReducerOptions", keepDims=keep)
        files.append(b.finish([x], [y]))
    check_laws(files)


def test_rectifiers() -> None:
    check_laws([one_input("RELU", (40, 9), a, b) for a in (1e-3, 2e-4) for b in (1e-3, 3e-4, 5e-3)])
    check_laws([one_input("RELU6", (40, 9), a, a) for a in (1e-3, 3e-4)])
    check_laws([one_input("RELU_N1_TO_1", (40, 9), 1e-3, 3e-4)], with_tflm=False)


#: Powers of two, scales near them, odd ones, the smallest and the largest.
ARGUMENTS = [2.0**-12, 2.0**-11, 2.0**-13, 2.0**-12 * 1.0005, 2.0**-11 * 0.9995, 1e-3, 3e-4, 1e-5, 2e-8, 0.4, 2.6]


@pytest.mark.parametrize("op", ["LOGISTIC", "TANH"])
def test_sigmoids(op: str) -> None:
    check_laws([one_input(op, (300, 9), float(np.float32(s)), 1 / 32768) for s in ARGUMENTS])


def test_softmax() -> None:
    cases = [((3, 7), 1e-3), ((2, 3, 1), 1e-3), ((1, 300), 1e-4), ((4, 40), 3e-2), ((5, 5), 3.9), ((1, 4000), 1e-5)]
    check_laws([one_input("SOFTMAX", shape, scale, 1 / 32768, "SoftmaxOptions") for shape, scale in cases])


def test_every_value_of_the_sigmoids() -> None:
    """All 65536 inputs, against the definition: the bound that the laws use is not far above what happens."""
    from tests.laws import run
    from tinygen.ops import op_of

    every = np.arange(-32768, 32768).astype(np.int16).reshape(256, 256)
    for op, allowed in (("LOGISTIC", 2.6), ("TANH", 5.0)):
        graph = load(one_input(op, (256, 256), float(np.float32(3e-4)), 1 / 32768))
        (got,) = run(graph, [every])
        x = every * float(np.float32(3e-4))
        exact = np.tanh(x) if op == "TANH" else 1 / (1 + np.exp(-x))
        assert 0.5 < np.abs(np.clip(exact * 32768, -32768, 32767) - got).max() < allowed
        assert op_of(graph.nodes[0]).name == op


def test_moves() -> None:
    """Data moves as it is: one file of each kind, also with two bytes to an element where that matters (padding)."""
    files = []
    for op, inputs, output, options, values in [
        ("RESHAPE", [[6, 4]], (6, 4), "ReshapeOptions", {}),
        ("TRANSPOSE", [[1, 0, 2]], (3, 2, 4), "TransposeOptions", {}),
        ("PAD", [[[0, 1], [2, 0], [0, 3]]], (3, 5, 7), "PadOptions", {}),
        ("SLICE", [[0, 1, 0], [2, 2, 3]], (2, 2, 3), "SliceOptions", {}),
        ("STRIDED_SLICE", [[0, 0, 0], [2, 3, 4], [1, 2, 1]], (2, 2, 4), "StridedSliceOptions", {}),
    ]:
        b = ModelBuilder()
        x, y = b.tensor((2, 3, 4), "int16", 1e-3), b.tensor(output, "int16", 1e-3)
        b.op(op, [x, *(b.constant(i) for i in inputs)], [y], options, **values)
        files.append(b.finish([x], [y]))
    b = ModelBuilder()
    x, y, z = b.tensor((2, 3), "int16", 1e-3), b.tensor((2, 5), "int16", 1e-3), b.tensor((2, 8), "int16", 1e-3)
    b.op("CONCATENATION", [x, y], [z], "ConcatenationOptions", axis=1)
    check_laws([*files, b.finish([x, y], [z])])


def test_one_rounding() -> None:
    """Against exact fractions: halves up, of the product with the multiplier's upper 15 bits."""
    from fractions import Fraction

    x = np.random.default_rng(0).integers(-(2**46), 2**46, 500)
    for multiplier, shift in ((2**30, 0), (0x7FFEFFFF, -7), (0x7FFF8000, -20), (1234567890, -31), (2**31 - 1, 3)):
        upper = min((multiplier + 2**15) // 2**16, 0x7FFF)
        exact = [Fraction(int(v) * upper) * Fraction(2) ** (shift - 15) for v in x]
        assert multiply_wide(x, multiplier, shift).tolist() == [(2 * f + 1).__floor__() // 2 for f in exact]


def test_tables() -> None:
    """Ends and middle of the tables, from their definitions."""
    assert sigmoid_table()[[0, 24, 255]].tolist() == [32768, 47911, 65535]
    table = table_of_function(1 / 65535, -32768, 2 / 65535, lambda x: x)
    assert (table[0], table[512], len(table)) == (0, 32768 - 1, 513)


def refused(op: str, shape: tuple[int, ...], first: tuple[float, int], second: tuple[float, int]) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(shape, "int16", *first), b.tensor(shape, "int16", *second)
    b.op(op, [x], [y])
    return b.finish([x], [y])


def test_refusals() -> None:
    refuses(refused("LOGISTIC", (2, 2), (1e-3, 0), (1 / 256, 0)), "scale 1/32768")
    refuses(refused("LOGISTIC", (2, 2), (2.7, 0), (1 / 32768, 0)), "smaller than 8/3")
    refuses(refused("TANH", (2, 2), (1e-3, 0), (1 / 128, 0)), "1/32768")
    refuses(refused("TANH", (2, 2), (1e-3, 1), (1 / 32768, 0)), "int16 with zero point 0")
    refuses(refused("SOFTMAX", (2, 2), (4.1, 0), (1 / 32768, 0)), "less than 4")
    refuses(refused("RELU", (2, 2), (1e-3, 0), (1e-3, 5)), "int16 with zero point 0")

    def dense(**changes: object) -> bytes:
        b = ModelBuilder()
        made = {"dtype": "int16", "scale": 1e-3, "bias": "int64", "zero_point": 0, "value": 5, "target": 1e-3} | changes
        x = b.tensor((1, 4), "int16", 1e-3)
        w = b.tensor((2, 4), "int8", 0.1, made["zero_point"], np.full((2, 4), 100))
        bias = b.tensor((2,), made["bias"], 1e-4, data=np.full(2, made["value"]))
        y = b.tensor((1, 2), made["dtype"], made["target"])
        b.op("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnectedOptions")
        return b.finish([x], [y])

    assert lower(load(dense()), load_target("host")).steps[0].kernel == "fully_connected/wide"
    refuses(dense(dtype="int8"), "int16 with zero point 0")
    refuses(dense(zero_point=3), "must be symmetric")
    refuses(dense(bias="int16"), "of int64 where")
    refuses(dense(value=2**47), "47 bits before")
    refuses(dense(target=1e-6), "less than 64")
    refuses(dense(bias="int32", value=2**31 - 1), "must fit 32 bits")

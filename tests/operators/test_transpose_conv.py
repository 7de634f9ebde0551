# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE_CONV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.convolutions import bias_tensor, integers, output_quant, refuses, weight_scales
from tests.laws import check_laws
from tests.strategies import FEW, quants
from tests.tflite_builder import ModelBuilder


@dataclass(frozen=True)
class Case:
    """Input NHWC, output height and width, window."""

    shape: tuple[int, int, int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    same: bool
    filters: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    shape = (draw(st.integers(1, 2)), *draw(pair), draw(st.integers(1, 9)))
    kernel, stride, same = draw(pair), draw(pair), draw(st.booleans())
    # what a convolution would undo, or anything at all: TFLM takes the output's size from the file
    whole = [n * s if same else (n - 1) * s + k for n, s, k in zip(shape[1:3], stride, kernel, strict=True)]
    height, width = (draw(st.one_of(st.just(n), st.integers(1, n + 4))) for n in whole)
    return Case(shape, (height, width), kernel, stride, same, draw(st.integers(1, 5)))


def build(
    case: Case,
    seed: int,
    source: tuple[float, int],
    scales: list[float],
    target: tuple[float, int],
    activation: int = 0,
    bias: bool = True,
    fixed: bool = True,
) -> bytes:
    b, shape = ModelBuilder(), (case.filters, *case.kernel, case.shape[3])
    output = (case.shape[0], *case.output, case.filters)
    wanted = b.constant(output) if fixed else b.tensor((4,), "int32")
    x = b.tensor(case.shape, "int8", *source)
    inputs = [wanted, b.tensor(shape, "int8", scales, 0, integers(seed, shape)), x]
    inputs += [bias_tensor(b, seed, source[0], scales, case.filters)] if bias else []
    y = b.tensor(output, "int8", *target)
    options = {"strideH": case.stride[0], "strideW": case.stride[1], "padding": 0 if case.same else 1}
    b.op("TRANSPOSE_CONV", inputs, [y], "TransposeConvOptions", fusedActivationFunction=activation, **options)
    return b.finish([x] if fixed else [wanted, x], [y])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    case, source = draw(cases()), draw(quants())
    scales = draw(weight_scales(case.filters))
    target = draw(output_quant(source[0], scales, 2 * case.shape[3]))
    seed, activation, bias = draw(st.integers(0, 2**32)), draw(st.integers(0, 3)), draw(st.booleans())
    return build(case, seed, source, scales, target, activation, bias)


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_edge_shapes() -> None:
    """Padding of more than a stride, windows smaller than a stride, one pixel."""
    edges = [
        Case((1, 4, 3, 5), (4, 3), (5, 7), (1, 1), True, 2),
        Case((1, 3, 4, 5), (6, 8), (7, 5), (2, 2), True, 2),
        Case((2, 2, 2, 5), (7, 6), (2, 1), (4, 3), False, 2),
        Case((1, 1, 1, 1), (1, 1), (3, 3), (2, 2), True, 1),
    ]
    check_laws([build(c, 1, (0.1, zero), [0.02], (0.5, 3)) for c in edges for zero in (-128, 127)])


def test_output_shape_may_come_at_run_time() -> None:
    case = Case((1, 3, 2, 4), (6, 4), (3, 3), (2, 2), True, 3)
    check_laws([build(case, 0, (0.5, -3), [0.1], (1.0, 0), fixed=False)], with_tflm=False)


def odd(shape: Any = (1, 4, 4, 2), depth: int = 4, scales: Any = 0.1, zero: int = 0, axis: int = 0) -> bytes:
    b = ModelBuilder()
    x = b.tensor((1, 2, 2, 4), "int8", 0.5, 0)
    w = b.tensor((2, 3, 3, depth), "int8", scales, zero, np.ones((2, 3, 3, depth)), axis)
    y = b.tensor((1, 4, 4, 2), "int8", 1.0, 0)
    b.op("TRANSPOSE_CONV", [b.constant(shape), w, x], [y], "TransposeConvOptions", strideH=2, strideW=2)
    return b.finish([x], [y])


def test_refusals() -> None:
    check_laws([odd()])
    refuses(odd((1, 5, 4, 2)), "declares outputs")
    refuses(odd((1,)), "declares outputs")
    refuses(odd(depth=3), "must be the input's")
    refuses(odd(zero=1), "must be symmetric")
    refuses(odd(scales=[0.1] * 4, axis=3), "one for each output channel")

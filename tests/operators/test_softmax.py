# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load, run_c
from tests.strategies import FEW, scales, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of
from tinygen.reference import run


def model(
    shape: tuple[int, ...],
    quant: tuple[float, int] = (0.1, 0),
    beta: float = 1.0,
    out: tuple[float, int] = (1 / 256, -128),
) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(shape, "int8", *quant), b.tensor(shape, "int8", *out)
    b.op("SOFTMAX", [x], [y], "SoftmaxOptions", beta=beta)
    return b.finish([x], [y])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    shape = (*draw(shapes(0, 3)), draw(st.integers(1, 40)))
    scale = draw(st.one_of(scales(), scales(1e-6, 1e-3), scales(1, 40)))
    return model(shape, (scale, draw(st.integers(-128, 127))), draw(scales(0.1, 3)))


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_rows_longer_than_tflm_computes() -> None:
    """511 equal values are TFLM's limit; beyond it the probabilities round to 0."""
    check_laws([model((2, 511), (1e-3, 0))])
    graph = load(model((2, 4095)))
    inputs = [np.full((2, 4095), 3, np.int8)]
    inputs[0][1, 7] = 127
    expected = np.full((2, 4095), -128, np.int8)
    expected[1, 7] = np.round(256 / (1 + 4094 * np.exp(-12.4))) - 128
    assert np.array_equal(run(graph, inputs)[0], expected)
    assert np.array_equal(run_c([graph], [[inputs]])[0][0][0], expected)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (model((2, 3), out=(1 / 128, 0)), "scale 1/256"),
        (model((2, 4096)), "at most 4095"),
        (model((2, 3), (1e-9, 0)), "larger than 2^-26"),
    ],
)
def test_refusals(data: bytes, sentence: str) -> None:
    assert sentence in problems_of(load(data))[0][1]

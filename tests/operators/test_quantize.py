# SPDX-License-Identifier: Apache-2.0
"""QUANTIZE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import assert_equal, check_laws, load, run_c
from tests.strategies import FEW, quants, scales, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of
from tinygen.reference import run

PAIRS = [
    ("float32", "int8"), ("int8", "int8"), ("int32", "int8"), ("uint8", "int8"), ("int8", "uint8"), ("int16", "int8"),
    ("float32", "int16"), ("int8", "int16"), ("int8", "int32"), ("int16", "int16"), ("int16", "int32"),
    ("int32", "int16"),
]  # fmt: skip

Quantization = tuple[float, int]


def model(shape: tuple[int, ...], pair: tuple[str, str], first: Quantization, second: Quantization) -> bytes:
    b = ModelBuilder()
    x = b.tensor(shape, pair[0]) if pair[0] == "float32" else b.tensor(shape, pair[0], *first)
    y = b.tensor(shape, pair[1], *second)
    b.op("QUANTIZE", [x], [y], "QuantizeOptions")
    return b.finish([x], [y])


def quantization(kind: str) -> st.SearchStrategy[Quantization]:
    zero_points = {"uint8": st.integers(0, 255), "int8": st.integers(-128, 127)}
    return st.tuples(scales(), zero_points.get(kind, st.integers(-300, 300)))


@st.composite
def models(draw: st.DrawFn, pair: tuple[str, str]) -> bytes:
    return model(draw(shapes()), pair, draw(quantization(pair[0])), draw(quantization(pair[1])))


@FEW
@given(st.tuples(*[models(pair) for pair in PAIRS]), st.integers(0, 2**32))
def test_laws(files: tuple[bytes, ...], seed: int) -> None:
    check_laws(files, seed)


@FEW
@given(quants(), quants(), st.integers(0, 2**32))
def test_ties_and_out_of_range_floats(first: Quantization, second: Quantization, seed: int) -> None:
    """Halves go away from zero; what is too large saturates, infinities too; NaN becomes the smallest number."""
    scale, zero = first
    halves = ((np.arange(-300, 300) + 0.5) * scale).astype(np.float32)
    odd = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38, 0.0, -0.0], np.float32)
    values = np.concatenate([halves, odd])
    graph = load(model(values.shape, ("float32", "int8"), second, first))
    with np.errstate(all="ignore"):
        quotients = values / np.float32(scale)
        away = np.sign(quotients) * np.floor(np.abs(quotients.astype(np.float64)) + 0.5)
    expected = np.clip(np.nan_to_num(away, nan=-1e9, posinf=1e9, neginf=-1e9) + zero, -128, 127).astype(np.int8)
    assert_equal("reference", run(graph, [values]), [expected])
    assert_equal("C", run_c([graph], [[[values]]])[0][0], [expected])


def test_extreme_int32() -> None:
    """The whole range of int32, with and without wrapping at the zero point."""
    values = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1], np.int32)
    graphs = [load(model(values.shape, ("int32", "int8"), (s, z), (0.5, 3))) for s in (1e-9, 0.5) for z in (0, 7)]
    for graph, outputs in zip(graphs, run_c(graphs, [[[values]]] * 4), strict=True):
        assert_equal("C", outputs[0], run(graph, [values]))


def unquantized() -> bytes:
    b = ModelBuilder()
    x, y = b.tensor((2,), "int8"), b.tensor((2,), "int8", 0.5)
    b.op("QUANTIZE", [x], [y])
    return b.finish([x], [y])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (model((2,), ("uint8", "int16"), (0.5, 0), (0.5, 0)), "uint8 to int8"),
        (unquantized(), "one scale and zero point"),
        (model((2,), ("int8", "int8"), (1e6, 0), (1e-6, 0)), "less than 2^30"),
    ],
)
def test_refusals(data: bytes, sentence: str) -> None:
    assert sentence in problems_of(load(data))[0][1]

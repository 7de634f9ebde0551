# SPDX-License-Identifier: Apache-2.0
"""CAST."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import assert_equal, check_laws, load, run_c
from tests.strategies import FEW, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of
from tinygen.reference import run

IN_TFLM = list(itertools.product(["int8", "int16", "int32", "float32"], repeat=2))[:-1]
BEYOND = [
    ("uint8", "float32"), ("uint8", "int32"), ("float32", "uint8"), ("float32", "bool"),
    ("int32", "bool"), ("bool", "int8"), ("bool", "float32"),
]  # fmt: skip


def model(shape: tuple[int, ...], pair: tuple[str, str], scale: float | None = None) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(shape, pair[0], scale), b.tensor(shape, pair[1])
    b.op("CAST", [x], [y], "CastOptions")
    return b.finish([x], [y])


@FEW
@given(st.lists(shapes(), min_size=15, max_size=15), st.integers(0, 2**32))
def test_laws(sizes: list[tuple[int, ...]], seed: int) -> None:
    check_laws([model(shape, pair) for shape, pair in zip(sizes, IN_TFLM, strict=True)], seed)


def test_beyond_tflm() -> None:
    """Types that only LiteRT casts, and floats that C leaves undefined."""
    floats = np.array([0, -0.0, 0.4, -0.9, 255.9, 256, -1, 3e9, -3e9, np.inf, -np.inf, np.nan], np.float32)
    data = {
        "float32": floats,
        "int32": np.array([0, 1, -1, 256, 2**31 - 1, -(2**31)], np.int32),
        "uint8": np.arange(256, dtype=np.uint8),
        "bool": np.array([False, True]),
    }
    largest, smallest = 2**31 - 1, -(2**31)
    whole = [0, 0, 0, 0, 255, 256, -1, largest, smallest, largest, smallest, 0]
    expected = {
        ("float32", "uint8"): np.array([n & 255 for n in whole], np.uint8),
        ("float32", "bool"): np.array([0, 0, *[1] * 10], bool),
        ("int32", "bool"): np.array([0, 1, 1, 1, 1, 1], bool),
    }
    graphs = [load(model(data[pair[0]].shape, pair)) for pair in BEYOND]
    sets = [[[data[pair[0]]]] for pair in BEYOND]
    for pair, graph, inputs, got in zip(BEYOND, graphs, sets, run_c(graphs, sets), strict=True):
        answer = expected[pair] if pair in expected else inputs[0][0].astype(pair[1])
        assert_equal(f"reference {pair}", run(graph, inputs[0]), [answer])
        assert_equal(f"C {pair}", got[0], [answer])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (model((2,), ("int64", "int8")), "must be bool"),
        (model((2,), ("int8", "float32"), 0.5), "must not be quantized"),
    ],
)
def test_refusals(data: bytes, sentence: str) -> None:
    assert sentence in problems_of(load(data))[0][1]

# SPDX-License-Identifier: Apache-2.0
"""ADD."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.binary import (
    binary_models,
    check_all_pairs,
    check_binary_refusals,
    check_int32,
    check_scalar_constants,
    int8_model,
)
from tests.strategies import FEW, MANY
from tests.tflite_builder import ModelBuilder
from tinygen.errors import UnsupportedError
from tinygen.lower import lower
from tinygen.ops import problems_of
from tinygen.target import load_target

OPTIONS = "AddOptions"


@FEW
@given(st.lists(binary_models("ADD", OPTIONS), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(binary_models("ADD", OPTIONS), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_extreme_scales() -> None:
    """One input's scale flushes to zero; the output's is as fine, or as coarse, as it may be."""
    tiny, small, one, huge = (1e-12, 3), (7e-6, -128), (1.0, 5), (1e12, 0)
    scales = [(tiny, one, one), (one, tiny, one), (one, one, small), (one, one, huge), (huge, tiny, (4e6, 127))]
    check_laws([int8_model("ADD", OPTIONS, *types) for types in scales])


def test_all_pairs() -> None:
    """Powers of two make ties of the rounding; the last makes the sum of a few units of the common scale."""
    types = ((1, 0), (1, 0), (2, 0)), ((1, 0), (0.5, 3), (4, -1)), ((1, 5), (1.3 * 2.0**-19, 3), (2.0**-17, 0))
    check_all_pairs("ADD", OPTIONS, *types)


def test_scalar_constants() -> None:
    check_scalar_constants("ADD", OPTIONS)


def test_int32() -> None:
    check_int32("ADD", OPTIONS)


def test_refusals() -> None:
    check_binary_refusals("ADD", OPTIONS)
    wide = int8_model("ADD", OPTIONS, (2.0**18, 0), (1, 0), (1, 0))
    assert "less than 2^18 times the output scale" in problems_of(load(wide))[0][1]


def test_more_loops_than_the_kernel_has() -> None:
    """Broadcasting that alternates in six dimensions is understood, but has no kernel."""
    m = ModelBuilder()
    x, y = m.tensor((2, 1, 2, 1, 2, 1), "int8", 0.1), m.tensor((1, 2, 1, 2, 1, 2), "int8", 0.1)
    z = m.tensor((2, 2, 2, 2, 2, 2), "int8", 0.1)
    m.op("ADD", [x, y], [z], OPTIONS)
    graph, _ = check_reference(m.finish([x, y], [z]))
    with pytest.raises(UnsupportedError, match="no kernel computes"):
        lower(graph, load_target("host"))

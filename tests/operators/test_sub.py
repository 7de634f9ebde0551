# SPDX-License-Identifier: Apache-2.0
"""SUB."""

from __future__ import annotations

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
from tinygen.ops import problems_of

OPTIONS = "SubOptions"


@FEW
@given(st.lists(binary_models("SUB", OPTIONS), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(binary_models("SUB", OPTIONS), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_extreme_scales() -> None:
    """One input's scale flushes to zero; the output's is as fine, or as coarse, as it may be."""
    tiny, small, one, huge = (1e-12, 3), (7e-6, -128), (1.0, 5), (1e12, 0)
    scales = [(tiny, one, one), (one, tiny, one), (one, one, small), (one, one, huge), (huge, tiny, (4e6, 127))]
    check_laws([int8_model("SUB", OPTIONS, *types) for types in scales])


def test_all_pairs() -> None:
    """As ADD's; in the last, two pairs tell ratios in float64 from ratios in float32."""
    check_all_pairs(
        "SUB",
        OPTIONS,
        ((1, 0), (1, 0), (2, 0)),
        ((0.5, 3), (1, 0), (4, -1)),
        ((1, 5), (1.3 * 2.0**-19, 3), (2.0**-17, 0)),
        ((0.829425573348999, 3), (0.4151071310043335, -9), (0.0010643168352544308, 0)),
    )


def test_scalar_constants() -> None:
    check_scalar_constants("SUB", OPTIONS)


def test_int32() -> None:
    check_int32("SUB", OPTIONS)


def test_refusals() -> None:
    check_binary_refusals("SUB", OPTIONS)
    wide = int8_model("SUB", OPTIONS, (2.0**18, 0), (1, 0), (1, 0))
    assert "less than 2^18 times the output scale" in problems_of(load(wide))[0][1]

# SPDX-License-Identifier: Apache-2.0
"""MAXIMUM."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.binary import binary_models, check_binary_refusals, check_int32, check_scalar_constants, int8_model
from tests.strategies import FEW, MANY
from tinygen.ops import problems_of


@FEW
@given(st.lists(binary_models("MAXIMUM", None, one_quant=True), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(binary_models("MAXIMUM", None, one_quant=True), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_scalar_constants() -> None:
    check_scalar_constants("MAXIMUM", None)


def test_int32() -> None:
    check_int32("MAXIMUM", None)


def test_refusals() -> None:
    check_binary_refusals("MAXIMUM", None)
    for types in (((0.1, 0), (0.2, 0), (0.1, 0)), ((0.1, 0), (0.1, 0), (0.1, 1))):
        (problem,) = problems_of(load(int8_model("MAXIMUM", None, *types)))
        assert "must have the same scale and zero point" in problem[1]

# SPDX-License-Identifier: Apache-2.0
"""SQUARED_DIFFERENCE."""

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
from tests.strategies import FEW, MANY, scales
from tinygen.ops import problems_of

MODELS = binary_models("SQUARED_DIFFERENCE", None, output=scales(1e-4, 50))


@FEW
@given(st.lists(MODELS, min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(MODELS, st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_extreme_scales() -> None:
    one = (1.0, 5)
    chosen = [((1e-12, 3), one, one), (one, one, (1e12, -128)), (one, (0.7, 127), (1 / 4095, 3))]
    check_laws([int8_model("SQUARED_DIFFERENCE", None, *types) for types in chosen])


def test_all_pairs() -> None:
    """Powers of two make ties of the rounding."""
    check_all_pairs("SQUARED_DIFFERENCE", None, ((1, 0), (1, 0), (128, -128)), ((0.5, 3), (0.3, 7), (40, -128)))


def test_scalar_constants() -> None:
    check_scalar_constants("SQUARED_DIFFERENCE", None)


def test_int32() -> None:
    check_int32("SQUARED_DIFFERENCE", None)


def test_refusals() -> None:
    check_binary_refusals("SQUARED_DIFFERENCE", None)
    wide = int8_model("SQUARED_DIFFERENCE", None, (64, 0), (1, 0), (1, 0))
    assert "less than 4096 times the output scale" in problems_of(load(wide))[0][1]

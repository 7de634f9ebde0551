# SPDX-License-Identifier: Apache-2.0
"""RELU, RELU6 and RELU_N1_TO_1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.unary import ANY, Quantization, model, models, refusal
from tests.strategies import FEW


@FEW
@given(st.lists(models("RELU"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_relu(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@FEW
@given(st.lists(ANY, min_size=8, max_size=8), st.integers(0, 2**32))
def test_relu6_of_one_quantization(quantizations: list[Quantization], seed: int) -> None:
    check_laws([model("RELU6", q, q) for q in quantizations], seed)


@FEW
@given(st.lists(models("RELU6") | models("RELU_N1_TO_1"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_beyond_tflm(files: list[bytes], seed: int) -> None:
    """RELU6 between quantizations, which TFLM takes for one, and RELU_N1_TO_1, which it lacks."""
    check_laws(files, seed, with_tflm=False)


def test_the_ratio_is_divided_in_double() -> None:
    """In float32 it would be 1.5 exactly, and every odd value a tie."""
    check_laws([model("RELU", (0.5, zero), (1 / 3, -128)) for zero in (-128, 0, 127)])


@pytest.mark.parametrize("op", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_refusals(op: str) -> None:
    assert "less than 2^30" in refusal(model(op, (1e6, 0), (1e-6, 0)))

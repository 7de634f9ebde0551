# SPDX-License-Identifier: Apache-2.0
"""REDUCE_MIN."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.reduction import alternating_models, check_reduction_refusals, reduction_model, reduction_models
from tests.strategies import FEW, MANY
from tinygen.ops import problems_of

MODELS = reduction_models("REDUCE_MIN", one_quant=True)


@FEW
@given(st.lists(MODELS, min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(MODELS, st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_alternating_axes() -> None:
    check_laws(alternating_models("REDUCE_MIN"))


def test_refusals() -> None:
    check_reduction_refusals("REDUCE_MIN")
    (problem,) = problems_of(load(reduction_model("REDUCE_MIN", (2, 3), 1, output=(0.2, 0))))
    assert "must have the same scale and zero point" in problem[1]

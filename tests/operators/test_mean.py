# SPDX-License-Identifier: Apache-2.0
"""MEAN."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.reduction import alternating_models, check_reduction_refusals, reduction_model, reduction_models
from tests.strategies import FEW, MANY
from tinygen.ops import problems_of

MODELS = reduction_models("MEAN")


@FEW
@given(st.lists(MODELS, min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(MODELS, st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_alternating_axes() -> None:
    check_laws(alternating_models("MEAN"))


def test_many_elements_and_extreme_scales() -> None:
    pixels = (1, 96, 96, 3)
    ratios = [(0.1, 0.1), (0.1, 0.013), (1e-9, 1.0), (30000.0, 1.0), (1e-12, 1.0)]
    check_laws([reduction_model("MEAN", pixels, [1, 2], quant=(a, 5), output=(b, -7)) for a, b in ratios])


def test_refusals() -> None:
    check_reduction_refusals("MEAN")
    coarse = reduction_model("MEAN", (2, 3), 1, quant=(2.0**15, 0), output=(1, 0))
    many = reduction_model("MEAN", (4096, 2048), [0, 1])
    for data in (coarse, many):
        assert "Less than 2^23 elements may be averaged" in problems_of(load(data))[0][1]

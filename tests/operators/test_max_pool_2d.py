# SPDX-License-Identifier: Apache-2.0
"""MAX_POOL_2D."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference
from tests.operators.pooling import check_pool_refusals, pool_model, pool_models
from tests.strategies import FEW, MANY


@FEW
@given(st.lists(pool_models("MAX_POOL_2D"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(pool_models("MAX_POOL_2D"), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_nearly_equal_scales() -> None:
    check_laws([pool_model("MAX_POOL_2D", (1, 5, 4, 3), (2, 3), quant=(1e-3, 4), output=(1.0005e-3, 4))])


def test_refusals() -> None:
    check_pool_refusals("MAX_POOL_2D")

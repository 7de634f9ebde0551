# SPDX-License-Identifier: Apache-2.0
"""ARG_MIN."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference
from tests.operators.arg import arg_models, check_arg_refusals
from tests.strategies import FEW, MANY

MODELS = arg_models("ARG_MIN")


@FEW
@given(st.lists(MODELS, min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(MODELS, st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_refusals() -> None:
    check_arg_refusals("ARG_MIN")

"""AVERAGE_POOL_2D."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.pooling import VALID, check_pool_refusals, pool_model, pool_models
from tests.strategies import FEW, MANY
from tinygen.ops import problems_of


@FEW
@given(st.lists(pool_models("AVERAGE_POOL_2D"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(pool_models("AVERAGE_POOL_2D"), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_nearly_equal_scales() -> None:
    check_laws([pool_model("AVERAGE_POOL_2D", (1, 5, 4, 3), (2, 3), quant=(1e-3, 4), output=(1.0005e-3, 4))])


def test_refusals() -> None:
    check_pool_refusals("AVERAGE_POOL_2D")


def test_sums_that_do_not_fit_are_refused() -> None:
    (problem,) = problems_of(load(pool_model("AVERAGE_POOL_2D", (1, 4096, 2048, 1), (4096, 2048), padding=VALID)))
    assert "less than 2^23 cells" in problem[1]

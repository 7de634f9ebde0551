# SPDX-License-Identifier: Apache-2.0
"""LEAKY_RELU."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.unary import ANY, Quantization, model, refusal
from tests.strategies import FEW, scales, shapes


def leaky(alpha: float, first: Quantization, second: Quantization, shape: tuple[int, ...] = (16, 16)) -> bytes:
    return model("LEAKY_RELU", first, second, shape, "LeakyReluOptions", alpha=alpha)


def models(alphas: st.SearchStrategy[float]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.builds(leaky, alphas, ANY, ANY, shapes()), min_size=8, max_size=8)


@FEW
@given(models(st.just(0.0) | scales(1e-4, 2)), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@FEW
@given(models(scales(1e-4, 2).map(lambda alpha: -alpha)), st.integers(0, 2**32))
def test_negative_alpha(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_refusals() -> None:
    assert "less than 2^30" in refusal(leaky(0.1, (1e6, 0), (1e-6, 0)))
    assert "alpha times" in refusal(leaky(1e20, (0.1, 0), (0.1, 0)))
    assert "alpha times" in refusal(leaky(float("nan"), (0.1, 0), (0.1, 0)))

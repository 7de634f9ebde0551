# SPDX-License-Identifier: Apache-2.0
"""HARD_SWISH."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.unary import model, refusal
from tests.strategies import FEW, scales, shapes


@st.composite
def models(draw: st.DrawFn) -> bytes:
    first = draw(scales() | scales(1e-5, 1e-3) | scales(0.5, 30))
    second = first / draw(st.floats(2.0**-8, 120))
    zeros = st.integers(-128, 127)
    return model("HARD_SWISH", (first, draw(zeros)), (second, draw(zeros)), draw(shapes()))


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_refusals() -> None:
    for first, second in ((1.0, 1 / 128), (1e-3, 1.0), (1e-7, 1e-7), (1e7, 1e7)):
        assert "between 2^-9 and 2^7 times" in refusal(model("HARD_SWISH", (first, 0), (second, 0)))

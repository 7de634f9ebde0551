# SPDX-License-Identifier: Apache-2.0
"""ABS."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.unary import ANY, Quantization, model, models, refusal
from tests.strategies import FEW

#: Files of any quantizations, and of the same one on both sides.
FILES = models("ABS") | ANY.map(lambda q: model("ABS", q, q))


@FEW
@given(st.lists(FILES, min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_refusals() -> None:
    far: tuple[Quantization, Quantization] = ((1e6, 0), (1e-6, 0))
    assert "less than 2^30" in refusal(model("ABS", *far))

# SPDX-License-Identifier: Apache-2.0
"""TANH."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.unary import model, models, refusal
from tests.strategies import FEW, quants

OUTPUT = (1 / 128, 0)
INPUTS = st.one_of(quants(), quants(1e-6, 1e-3), quants(0.5, 7.9))


@FEW
@given(st.lists(models("TANH", INPUTS, st.just(OUTPUT)), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_refusals() -> None:
    assert "scale 1/128 and zero point 0" in refusal(model("TANH", (0.1, 0), (1 / 128, 1)))
    for scale in (1e-9, 8.0):
        assert "larger than 2^-27 and smaller than 8" in refusal(model("TANH", (scale, 0), OUTPUT))

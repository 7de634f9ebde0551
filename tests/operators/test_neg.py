# SPDX-License-Identifier: Apache-2.0
"""NEG."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load
from tests.operators.unary import ANY, Quantization, model, models
from tests.strategies import FEW, MANY
from tinygen.reference import run


@FEW
@given(st.lists(models("NEG"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed, with_tflm=False)


def negated(q: int, first: Quantization, second: Quantization) -> int:
    """In exact fractions."""
    steps = Fraction(first[1] - q) * Fraction(first[0]) / Fraction(second[0])
    away = int(abs(steps) + Fraction(1, 2))
    return max(-128, min(127, (away if steps > 0 else -away) + second[1]))


@MANY
@given(ANY, ANY | st.sampled_from([(0.25, 3), (0.5, -100), (0.0625, 0)]))
def test_every_value(first: Quantization, second: Quantization) -> None:
    values = np.arange(-128, 128).astype(np.int8).reshape(16, 16)
    expected = [negated(q, first, second) for q in range(-128, 128)]
    assert run(load(model("NEG", first, second)), [values])[0].ravel().tolist() == expected

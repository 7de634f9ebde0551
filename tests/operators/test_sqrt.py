# SPDX-License-Identifier: Apache-2.0
"""SQRT."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load
from tests.operators.unary import ANY, Quantization, model, models
from tests.strategies import FEW, MANY
from tinygen.reference import run


@FEW
@given(st.lists(models("SQRT"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed, with_tflm=False)


@MANY
@given(ANY, ANY)
def test_every_value(first: Quantization, second: Quantization) -> None:
    """Against a scalar formula in double; nowhere so close to a half that float32 would decide otherwise."""
    values = np.arange(-128, 128).astype(np.int8).reshape(16, 16)
    got = run(load(model("SQRT", first, second)), [values])[0].ravel().tolist()
    for q, answer in zip(range(-128, 128), got, strict=True):
        steps = math.sqrt(max(0, q - first[1]) * first[0]) / second[0]
        if abs(steps % 1 - 0.5) > 1e-4:
            assert answer == min(127, second[1] + math.floor(steps + 0.5))

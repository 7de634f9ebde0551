# SPDX-License-Identifier: Apache-2.0
"""PRELU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load
from tests.operators.binary import binary_models, int8_model
from tests.operators.unary import refusal
from tests.strategies import FEW
from tests.tflite_builder import ModelBuilder
from tinygen.lower import lower
from tinygen.target import load_target


@FEW
@given(st.lists(binary_models("PRELU", None), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@pytest.mark.parametrize(("alphas", "kernel"), [((1, 1, 1), "lookup/table"), ((1, 1, 5), "prelu/portable")])
def test_constant_alpha(alphas: tuple[int, ...], kernel: str) -> None:
    """As converters write it: one value for each channel; a single one makes a table."""
    b = ModelBuilder()
    x, y = b.tensor((2, 4, 3, 5), "int8", 0.1, 4), b.tensor((2, 4, 3, 5), "int8", 0.07, -6)
    alpha = b.tensor(alphas, "int8", 0.003, 9, data=np.linspace(-100, 100, alphas[-1]).astype(np.int8))
    b.op("PRELU", [x, alpha], [y])
    data = b.finish([x], [y])
    (step,) = lower(load(data), load_target("host")).steps
    assert step.kernel == kernel
    check_laws([data])


def test_refusals() -> None:
    assert "input's scale must be less" in refusal(int8_model("PRELU", None, (1e6, 0), (0.1, 0), (1e-6, 0)))
    assert "times alpha's must be less" in refusal(int8_model("PRELU", None, (1.0, 0), (1e9, 0), (0.1, 0)))

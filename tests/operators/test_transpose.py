# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.moving import INT8, int32, kinds, model, refusal, values
from tests.strategies import FEW, shapes


@st.composite
def models(draw: st.DrawFn, rank: int = 5) -> bytes:
    kind, shape = draw(kinds("float32", "int16")), draw(shapes(1, rank, 4))
    order = draw(st.permutations(range(len(shape))))
    data = values(kind, shape) if draw(st.booleans()) else shape
    return model("TRANSPOSE", kind, [data, int32(*order)], [[shape[axis] for axis in order]])


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_six_dimensions() -> None:
    """The kernel has as many loops as a reversal of six dimensions needs; TFLM stops at five."""
    shape = (2, 3, 4, 2, 3, 2)
    files = [
        model("TRANSPOSE", kind, [shape, int32(*order)], [[shape[axis] for axis in order]])
        for kind in (INT8, ("int64", None, 0), ("bool", None, 0))
        for order in ([5, 4, 3, 2, 1, 0], [3, 5, 1, 0, 4, 2])
    ]
    check_laws(files, with_tflm=False)


@pytest.mark.parametrize(
    ("shape", "order", "output", "reason"),
    [
        ((2, 3), int32(1, 0), (3, 2), ""),
        ((2, 3), (2,), (3, 2), "must be constants"),
        ((2, 3), int32(0, 0), (2, 2), "each of them once"),
        ((2, 3), int32(-1, 0), (3, 2), "each of them once"),
        ((2, 3), int32(0), (2, 3), "each of them once"),
        ((2, 3), int32(1, 0), (2, 3), "declares"),
        ((2, 3), np.float32([1, 0]), (3, 2), "int32 or int64"),
        ((1,) * 7, np.arange(7), (1,) * 7, "at most 6"),
    ],
)
def test_refusals(shape: Any, order: Any, output: Any, reason: str) -> None:
    problem = refusal(model("TRANSPOSE", INT8, [shape, order], [output]))
    assert reason in problem and bool(reason) == bool(problem)

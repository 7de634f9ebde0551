# SPDX-License-Identifier: Apache-2.0
"""RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.moving import INT8, int32, kinds, model, refusal, values
from tests.strategies import FEW, MANY
from tinygen.ops.resize_nearest_neighbor import ResizeAttrs, sources


@st.composite
def models(draw: st.DrawFn) -> bytes:
    kind = draw(kinds("float32", "int16"))
    n, h, w, c = (draw(st.integers(1, 5)) for _ in range(4))
    repeat = draw(st.booleans())
    height, width = (side * draw(st.integers(1, 3)) if repeat else draw(st.integers(1, 9)) for side in (h, w))
    fields = {"alignCorners": draw(st.booleans()), "halfPixelCenters": draw(st.booleans())}
    data: Any = values(kind, (n, h, w, c)) if draw(st.booleans()) else (n, h, w, c)
    output = (n, height, width, c)
    options = "ResizeNearestNeighborOptions"
    return model("RESIZE_NEAREST_NEIGHBOR", kind, [data, int32(height, width)], [output], options, **fields)


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.booleans())
def test_nearest_in_exact_numbers(before: int, after: int, align: bool, half: bool) -> None:
    """The float32 rule picks what exact fractions do, but where a source lies on the border of two pixels."""
    scale = Fraction(before - 1, after - 1) if align and after > 1 else Fraction(before, after)
    for i, got in enumerate(sources(before, after, ResizeAttrs(align, half)).tolist()):
        exact = (i + Fraction(int(half), 2)) * scale + (Fraction(1, 2) if align else 0)
        border = abs(exact - round(exact)) < Fraction(1, 10**4)
        nearby = {math.floor(exact), round(exact) - 1, round(exact)} if border else {math.floor(exact)}
        assert got in {min(index, before - 1) for index in nearby}


@pytest.mark.parametrize(
    ("shape", "size", "output", "reason"),
    [
        ((1, 2, 2, 3), int32(4, 4), (1, 4, 4, 3), ""),
        ((1, 2, 2, 3), (2,), (1, 4, 4, 3), "must be constants"),
        ((2, 2, 3), int32(4, 4), (4, 4, 3), "4 dimensions"),
        ((1, 2, 2, 3), int32(4), (1, 4, 4, 3), "two positive numbers"),
        ((1, 2, 2, 3), int32(4, 0), (1, 4, 4, 3), "two positive numbers"),
        ((1, 2, 2, 3), int32(4, 5), (1, 4, 4, 3), "declares"),
    ],
)
def test_refusals(shape: Any, size: Any, output: Any, reason: str) -> None:
    problem = refusal(model("RESIZE_NEAREST_NEIGHBOR", INT8, [shape, size], [output], "ResizeNearestNeighborOptions"))
    assert reason in problem and bool(reason) == bool(problem)

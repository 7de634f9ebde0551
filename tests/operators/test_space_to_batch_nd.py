# SPDX-License-Identifier: Apache-2.0
"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, which undo each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load
from tests.operators.moving import INT8, Kind, int32, kinds, model, refusal, values
from tests.strategies import FEW, MANY
from tinygen.ir.types import Array
from tinygen.reference import run


@st.composite
def batched(draw: st.DrawFn, bordered: bool = True) -> tuple[Kind, list[int], list[int], list[Any], list[int]]:
    """(kind, image, block, border, parts) of an image [N, H, W, C] or [N, H, C] and what it falls apart into."""
    kind, sides = draw(kinds("float32")), draw(st.integers(1, 2))
    batch, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    block = [draw(st.integers(1, 3)) for _ in range(sides)]
    grid = [draw(st.integers(1, 4)) for _ in range(sides)]
    border: list[Any] = []
    for size, count in zip(block, grid, strict=True):
        most = min(2, size * count - 1) if bordered else 0
        before = draw(st.integers(0, most))
        border.append((before, draw(st.integers(0, most - before))))
    image = [b * g - sum(e) for b, g, e in zip(block, grid, border, strict=True)]
    return kind, [batch, *image, depth], block, border, [batch * int(np.prod(block)), *grid, depth]


@st.composite
def models(draw: st.DrawFn) -> bytes:
    """What TFLM computes: it never sets the value of its border, so there is none."""
    op = draw(st.sampled_from(["SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"]))
    kind, image, block, border, parts = draw(batched(bordered=op == "BATCH_TO_SPACE_ND"))
    if op == "SPACE_TO_BATCH_ND":
        data: Any = values(kind, image) if draw(st.booleans()) else image
        return model(op, kind, [data, int32(*block), int32(*border)], [parts])
    data = values(kind, parts) if draw(st.booleans()) else parts
    return model(op, kind, [data, int32(*block), int32(*border)], [image])


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@FEW
@given(st.lists(batched(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_the_border_is_the_zero_point(cases: list[Any], seed: int) -> None:
    files = [
        model("SPACE_TO_BATCH_ND", kind, [image, int32(*block), int32(*border)], [parts])
        for kind, image, block, border, parts in cases
    ]
    check_laws(files, seed, with_tflm=False)


@MANY
@given(batched())
def test_every_pixel(case: Any) -> None:
    """Against the rule pixel by pixel."""
    kind, image, block, border, parts = case
    x = values(kind, image)
    (got,) = run(load(model("SPACE_TO_BATCH_ND", kind, [image, int32(*block), int32(*border)], [parts])), [x])
    expected = np.full(parts, kind[2], kind[0])
    for part, *place in np.ndindex(*parts[:-1]):
        at, inside = within_block(part // image[0], block), []
        for n, axis in enumerate(place):
            inside.append(axis * block[n] + at[n] - border[n][0])
        if all(0 <= i < size for i, size in zip(inside, image[1:-1], strict=True)):
            expected[(part, *place)] = x[(part % image[0], *inside)]
    assert np.array_equal(got, expected)


def within_block(number: int, block: list[int]) -> Array:
    """Row and column of a place in a block, counted row by row."""
    return np.array(np.unravel_index(number, block))


@pytest.mark.parametrize(
    ("op", "shape", "block", "border", "output", "reason"),
    [
        ("SPACE", (1, 3, 4, 2), int32(2, 2), int32((1, 0), (0, 0)), (4, 2, 2, 2), ""),
        ("SPACE", (1, 3, 4, 2), (2,), int32((1, 0), (0, 0)), (4, 2, 2, 2), "must be constants"),
        ("SPACE", (3, 4), int32(2), int32((1, 0)), (6, 4), "3 or 4 dimensions"),
        ("SPACE", (1, 3, 4, 2), int32(2), int32((1, 0), (0, 0)), (4, 2, 2, 2), "for each of height and width"),
        ("SPACE", (1, 3, 4, 2), int32(2, 0), int32((1, 0), (0, 0)), (4, 2, 2, 2), "one positive number"),
        ("SPACE", (1, 3, 4, 2), int32(2, 2), int32((0, 0), (0, 0)), (4, 2, 2, 2), "must divide the padded"),
        ("SPACE", (1, 3, 4, 2), int32(2, 2), int32((-1, 0), (0, 0)), (4, 1, 2, 2), "must not be negative"),
        ("SPACE", (1, 3, 4, 2), int32(2, 2), int32((1, 0)), (4, 2, 2, 2), "must have shape [2, 2]"),
        ("SPACE", (1, 3, 4, 2), int32(2, 2), int32((1, 0), (0, 0)), (4, 2, 2, 1), "declares"),
        ("BATCH", (4, 2, 2, 2), int32(2, 2), int32((1, 0), (0, 0)), (1, 3, 4, 2), ""),
        ("BATCH", (3, 2, 2, 2), int32(2, 2), int32((1, 0), (0, 0)), (1, 3, 4, 2), "divide the batch"),
        ("BATCH", (4, 2, 2, 2), int32(2, 2), int32((2, 2), (0, 0)), (1, 1, 4, 2), "leave something"),
        ("BATCH", (4, 2, 2, 2), int32(2, 2), int32((-1, 0), (0, 0)), (1, 5, 4, 2), "must not be negative"),
        ("BATCH", (4, 2, 2, 2), int32(2, 2), int32((1, 0), (0, 0)), (1, 4, 4, 2), "declares"),
    ],
)
def test_refusals(op: str, shape: Any, block: Any, border: Any, output: Any, reason: str) -> None:
    name = {"SPACE": "SPACE_TO_BATCH_ND", "BATCH": "BATCH_TO_SPACE_ND"}[op]
    problem = refusal(model(name, INT8, [shape, block, border], [output]))
    assert reason in problem and bool(reason) == bool(problem)

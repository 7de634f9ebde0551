# SPDX-License-Identifier: Apache-2.0
"""DEPTH_TO_SPACE and SPACE_TO_DEPTH, which undo each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.moving import INT8, kinds, model, refusal, values
from tests.strategies import FEW


@st.composite
def models(draw: st.DrawFn) -> bytes:
    kind, size = draw(kinds("float32")), draw(st.integers(1, 3))
    n, h, w, c = (draw(st.integers(1, 4)) for _ in range(4))
    deep, wide = (n, h, w, c * size * size), (n, h * size, w * size, c)
    op = draw(st.sampled_from(["DEPTH_TO_SPACE", "SPACE_TO_DEPTH"]))
    shape, output = (deep, wide) if op == "DEPTH_TO_SPACE" else (wide, deep)
    data: Any = values(kind, shape) if draw(st.booleans()) else shape
    options = "DepthToSpaceOptions" if op == "DEPTH_TO_SPACE" else "SpaceToDepthOptions"
    return model(op, kind, [data], [output], options, blockSize=size)


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@pytest.mark.parametrize(
    ("op", "shape", "output", "size", "reason"),
    [
        ("DepthToSpace", (1, 2, 2, 8), (1, 4, 4, 2), 2, ""),
        ("DepthToSpace", (2, 2, 8), (4, 4, 2), 2, "4 dimensions"),
        ("DepthToSpace", (1, 2, 2, 6), (1, 4, 4, 1), 2, "divide the channels"),
        ("DepthToSpace", (1, 2, 2, 8), (1, 4, 4, 2), 0, "must be positive"),
        ("DepthToSpace", (1, 2, 2, 8), (1, 4, 2, 2), 2, "declares"),
        ("SpaceToDepth", (1, 4, 4, 2), (1, 2, 2, 8), 2, ""),
        ("SpaceToDepth", (4, 4, 2), (2, 2, 8), 2, "4 dimensions"),
        ("SpaceToDepth", (1, 4, 3, 2), (1, 2, 2, 8), 2, "divide height and width"),
        ("SpaceToDepth", (1, 4, 4, 2), (1, 2, 2, 8), -2, "must be positive"),
        ("SpaceToDepth", (1, 4, 4, 2), (1, 2, 2, 4), 2, "declares"),
    ],
)
def test_refusals(op: str, shape: Any, output: Any, size: int, reason: str) -> None:
    name = {"DepthToSpace": "DEPTH_TO_SPACE", "SpaceToDepth": "SPACE_TO_DEPTH"}[op]
    problem = refusal(model(name, INT8, [shape], [output], f"{op}Options", blockSize=size))
    assert reason in problem and bool(reason) == bool(problem)

# SPDX-License-Identifier: Apache-2.0
"""SQUEEZE and EXPAND_DIMS, which undo each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.moving import INT8, int32, kinds, model, refusal, values
from tests.strategies import FEW, shapes


@st.composite
def squeezes(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("int32", "float32", "int16")), list(draw(shapes(1, 4)))
    axes = sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    for axis in axes:
        shape[axis] = 1
    left = [n for axis, n in enumerate(shape) if axis not in axes]
    if draw(st.booleans()):
        left, axes = [n for n in shape if n != 1], []
    listed = [draw(st.sampled_from([axis, axis - len(shape)])) for axis in axes]
    return model("SQUEEZE", kind, [shape], [left], "SqueezeOptions", squeezeDims=listed)


@st.composite
def expansions(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("float32", "int16")), list(draw(shapes(1, 4)))
    place = draw(st.integers(0, len(shape)))
    axis = draw(st.sampled_from([place, place - len(shape) - 1]))
    data = values(kind, shape) if draw(st.booleans()) else shape
    result = [*shape[:place], 1, *shape[place:]]
    return model("EXPAND_DIMS", kind, [data, int32(axis)], [result], "ExpandDimsOptions")


@FEW
@given(st.lists(st.one_of(squeezes(), expansions()), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@pytest.mark.parametrize(
    ("axes", "output", "reason"),
    [([1], (2, 1), "size 1"), ([3], (2, 3), "does not exist"), ([-2], (2, 1, 3), "declares"), ([-2], (2, 3), "")],
)
def test_squeeze_refusals(axes: list[int], output: tuple[int, ...], reason: str) -> None:
    shape = (2, 3, 1) if axes == [1] else (2, 1, 3)
    problem = refusal(model("SQUEEZE", INT8, [shape], [output], "SqueezeOptions", squeezeDims=axes))
    assert reason in problem and bool(reason) == bool(problem)


@pytest.mark.parametrize(
    ("axis", "reason"),
    [(int32(3), "does not exist"), (int32(-4), "does not exist"), ((1,), "constants"), (int32(1), "")],
)
def test_expand_dims_refusals(axis: object, reason: str) -> None:
    problem = refusal(model("EXPAND_DIMS", INT8, [(2, 3), axis], [(2, 1, 3)]))
    assert reason in problem and bool(reason) == bool(problem)

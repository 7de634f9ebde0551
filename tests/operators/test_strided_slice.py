# SPDX-License-Identifier: Apache-2.0
"""SLICE and STRIDED_SLICE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load
from tests.operators.moving import INT8, Kind, int32, kinds, model, refusal, values
from tests.strategies import FEW, MANY, shapes
from tinygen.reference import run


@st.composite
def boxes(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("int32", "float32", "int16")), draw(shapes(1, 5, 5))
    begin = [draw(st.integers(0, n - 1)) for n in shape]
    size = [draw(st.integers(1, n - b)) for n, b in zip(shape, begin, strict=True)]
    given_size = [-1 if b + s == n and draw(st.booleans()) else s for b, s, n in zip(begin, size, shape, strict=True)]
    data = values(kind, shape) if draw(st.booleans()) else shape
    dtype = draw(st.sampled_from([np.int32, np.int64]))
    return model("SLICE", kind, [data, np.array(begin, dtype), np.array(given_size, dtype)], [size])


@FEW
@given(st.lists(boxes(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_slice(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def strided(kind: Kind, data: Any, items: list[Any], output: Any, **fields: int) -> bytes:
    """A STRIDED_SLICE of numpy's index expression `items`; masks are made from what each item leaves open."""
    begins, ends, strides = [], [], []
    masks = dict.fromkeys(["beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"], 0)
    for i, item in enumerate(items):
        if isinstance(item, int):
            # converters leave begin + 1 for the end, which is 0 for the last element
            begin, end, stride, marks = item, item + 1, 1, ["shrinkAxisMask"]
        elif item is None or item is Ellipsis:
            begin, end, stride, marks = 7, 8, 1, ["newAxisMask" if item is None else "ellipsisMask"]
        else:
            begin, end, stride = item.start or 0, item.stop or 0, 1 if item.step is None else item.step
            marks = ["beginMask"] * (item.start is None) + ["endMask"] * (item.stop is None)
        for mark in marks:
            masks[mark] |= 1 << i
        begins, ends, strides = [*begins, begin], [*ends, end], [*strides, stride]
    inputs = [data, int32(*begins), int32(*ends), int32(*strides)]
    return model("STRIDED_SLICE", kind, inputs, [output], "StridedSliceOptions", **{**masks, **fields})


@st.composite
def items_of(draw: st.DrawFn, size: int) -> Any:
    """An index or slice that leaves something of an axis of `size`."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.integers(-size, size - 1))
    bound = st.one_of(st.none(), st.integers(-size - 2, size + 2))
    steps = st.sampled_from([None, 1, 2, 3, -1, -2])
    item = draw(st.builds(slice, bound, bound, steps).filter(lambda s: len(range(*s.indices(size)))))
    return item


@st.composite
def strided_models(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("int32", "float32", "int16")), draw(shapes(1, 4, 5))
    items = [draw(items_of(n)) for n in shape]
    data = values(kind, shape) if draw(st.booleans()) else shape
    return strided(kind, data, items, np.empty(shape)[tuple(items)].shape)


@FEW
@given(st.lists(strided_models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_strided_slice(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(st.data())
def test_all_masks_mean_what_numpy_says(data: st.DataObject) -> None:
    """TFLM has neither ellipses nor new axes."""
    shape = data.draw(shapes(1, 5, 4))
    named = data.draw(st.integers(1, len(shape)))
    after = data.draw(st.integers(0, named)) if data.draw(st.booleans()) else None
    items: list[Any] = [data.draw(items_of(n)) for n in shape[: named if after is None else named - after]]
    if after is not None:
        items += [..., *(data.draw(items_of(n)) for n in shape[len(shape) - after :])]
    for _ in range(data.draw(st.integers(0, 2))):
        items.insert(data.draw(st.integers(0, len(items))), None)
    x = values(INT8, shape)
    expected = x[tuple(items)]
    (got,) = run(load(strided(INT8, shape, items, expected.shape)), [x])
    assert np.array_equal(got, expected)


def test_the_c_of_ellipses_and_new_axes() -> None:
    items = [..., None, slice(None, None, -2), 1]
    check_laws([strided(INT8, (3, 2, 5, 2), items, (3, 2, 1, 3))], with_tflm=False)


@pytest.mark.parametrize(
    ("data", "begin", "size", "output", "reason"),
    [
        ((4, 4), int32(1, 0), int32(2, -1), (2, 4), ""),
        ((4, 4), (2,), int32(2, 2), (2, 2), "must be constants"),
        ((4, 4), int32(1), int32(2), (2, 4), "for each dimension"),
        ((4, 4), int32(-1, 0), int32(1, 4), (1, 4), "inside the input"),
        ((4, 4), int32(3, 0), int32(2, 4), (2, 4), "inside the input"),
        ((4, 4), int32(4, 0), int32(-1, 4), (1, 4), "inside the input"),
        ((4, 4), int32(0, 0), int32(2, 4), (3, 4), "declares"),
        ((1,) * 7, int32(*[0] * 7), int32(*[1] * 7), (1,) * 7, "at most 6"),
    ],
)
def test_slice_refusals(data: Any, begin: Any, size: Any, output: Any, reason: str) -> None:
    problem = refusal(model("SLICE", INT8, [data, begin, size], [output]))
    assert reason in problem and bool(reason) == bool(problem)


@pytest.mark.parametrize(
    ("items", "output", "fields", "reason"),
    [
        ([slice(0, 2)], (2, 3), {}, ""),
        ([slice(0, 2)], (2, 3), {"offset": True}, "offset"),
        ([slice(0, 2, 0)], (2, 3), {}, "no stride be 0"),
        ([..., 0, ...], (4,), {}, "At most one"),
        ([0, 0, 0], (1,), {}, "more than the input has"),
        ([4], (3,), {}, "inside the input"),
        ([-5], (3,), {}, "inside the input"),
        ([slice(2, 2)], (1, 3), {}, "declares"),
    ],
)
def test_strided_slice_refusals(items: list[Any], output: Any, fields: Any, reason: str) -> None:
    problem = refusal(strided(INT8, (4, 3), items, output, **fields))
    assert reason in problem and bool(reason) == bool(problem)


def test_strided_slice_parameters() -> None:
    ones = int32(1, 1)
    uneven = [(4, 3), ones, ones, int32(1)]
    assert "same number of entries" in refusal(model("STRIDED_SLICE", INT8, uneven, [(1, 1)]))
    assert "must be constants" in refusal(model("STRIDED_SLICE", INT8, [(4, 3), ones, (2,), ones], [(1, 1)]))
    deep = [(1,) * 7, ones, ones, ones]
    assert "at most 6" in refusal(model("STRIDED_SLICE", INT8, deep, [(1,) * 7]))

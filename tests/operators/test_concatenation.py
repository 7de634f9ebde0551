# SPDX-License-Identifier: Apache-2.0
"""CONCATENATION and PACK, and SPLIT, SPLIT_V and UNPACK, which undo them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.moving import INT8, int32, kinds, model, refusal, values
from tests.strategies import FEW, shapes
from tests.tflite_builder import ModelBuilder


@st.composite
def concatenations(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("int32", "float32", "int16", "int64")), list(draw(shapes(1, 5, 4)))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=10))
    parts: list[Any] = [[*shape[:axis], size, *shape[axis + 1 :]] for size in sizes]
    for index in draw(st.sets(st.integers(0, len(parts) - 1), max_size=3)):
        parts[index] = values(kind, parts[index], index)
    result = [*shape[:axis], sum(sizes), *shape[axis + 1 :]]
    counted = draw(st.sampled_from([axis, axis - len(shape)]))
    return model("CONCATENATION", kind, parts, [result], "ConcatenationOptions", axis=counted)


@st.composite
def packs(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("int32", "float32", "int16", "int64")), list(draw(shapes(0, 4, 4)))
    axis, count = draw(st.integers(0, len(shape))), draw(st.integers(1, 6))
    parts: list[Any] = [shape] * count
    if draw(st.booleans()):
        parts[-1] = values(kind, shape)
    counted = draw(st.sampled_from([axis, axis - len(shape) - 1]))
    result = [*shape[:axis], count, *shape[axis:]]
    return model("PACK", kind, parts, [result], "PackOptions", axis=counted, valuesCount=count)


@st.composite
def cuts(draw: st.DrawFn) -> bytes:
    """One of SPLIT, SPLIT_V and UNPACK."""
    kind, shape = draw(kinds("float32", "int16")), list(draw(shapes(1, 4, 4)))
    op, axis = draw(st.sampled_from(["SPLIT", "SPLIT_V", "UNPACK"])), draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    sizes = sizes if op == "SPLIT_V" else sizes[:1] * len(sizes) if op == "SPLIT" else [1] * len(sizes)
    shape[axis] = sum(sizes)
    data = values(kind, shape) if draw(st.booleans()) else shape
    counted = draw(st.sampled_from([axis, axis - len(shape)]))
    outputs = [[*shape[:axis], size, *shape[axis + 1 :]] for size in sizes]
    if op == "UNPACK":
        bare = [shape[:axis] + shape[axis + 1 :]] * len(sizes)
        return model(op, kind, [data], bare, "UnpackOptions", axis=counted, num=len(sizes))
    if op == "SPLIT":
        return model(op, kind, [int32(counted), data], outputs, "SplitOptions", numSplits=len(sizes))
    if draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    return model(op, kind, [data, int32(*sizes), int32(counted)], outputs, "SplitVOptions", numSplits=len(sizes))


@FEW
@given(st.lists(st.one_of(concatenations(), packs()), min_size=8, max_size=8), st.integers(0, 2**32))
def test_joins(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@FEW
@given(st.lists(cuts(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_cuts(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_more_inputs_than_tflm_takes() -> None:
    parts = [(2, 1 + i % 3, 2) for i in range(40)]
    result = (2, sum(p[1] for p in parts), 2)
    check_laws([model("CONCATENATION", INT8, parts, [result], "ConcatenationOptions", axis=1)], with_tflm=False)


@pytest.mark.parametrize(
    ("inputs", "output", "fields", "reason"),
    [
        ([(2, 3), (2, 4)], (2, 7), {"axis": 1, "fusedActivationFunction": 1}, "activation"),
        ([(2, 3), (3, 4)], (2, 7), {"axis": 1}, "same shape but for the axis"),
        ([(2, 3), (2,)], (2, 4), {"axis": 1}, "same shape but for the axis"),
        ([(2, 3), (2, 4)], (2, 8), {"axis": 1}, "declares"),
        ([(2, 3), (2, 4)], (2, 7), {"axis": 2}, "does not exist"),
        ([(2, 3), int32(1, 2)], (2, 7), {"axis": 1}, "same element type"),
        ([(2, 3), (2, 4)], (2, 7), {"axis": 1}, ""),
    ],
)
def test_concatenation_refusals(inputs: Any, output: Any, fields: dict[str, int], reason: str) -> None:
    problem = refusal(model("CONCATENATION", INT8, inputs, [output], "ConcatenationOptions", **fields))
    assert reason in problem and bool(reason) == bool(problem)


def test_another_scale_is_refused() -> None:
    builder = ModelBuilder()
    a, b = builder.tensor((2,), "int8", 0.5, 0), builder.tensor((2,), "int8", 0.25, 0)
    y = builder.tensor((4,), "int8", 0.5, 0)
    builder.op("CONCATENATION", [a, b], [y], "ConcatenationOptions", axis=0)
    assert "same element type, scale and zero point" in refusal(builder.finish([a, b], [y]))


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "options", "fields", "reason"),
    [
        ("PACK", [(2,), (2,)], [(2, 2)], "PackOptions", {"valuesCount": 3}, "values_count"),
        ("PACK", [(2,), (3,)], [(2, 2)], "PackOptions", {"valuesCount": 2}, "same shape"),
        ("PACK", [(2,), (2,)], [(2, 2)], "PackOptions", {"valuesCount": 2, "axis": 2}, "does not exist"),
        ("SPLIT", [(1,), (4,)], [(2,), (2,)], "SplitOptions", {"numSplits": 2}, "axis (input 0) must be a constant"),
        ("SPLIT", [int32(0), (4,)], [(2,), (2,)], "SplitOptions", {"numSplits": 3}, "num_splits"),
        ("SPLIT", [int32(0), (5,)], [(2,), (2,)], "SplitOptions", {"numSplits": 2}, "divide the axis"),
        ("SPLIT", [int32(1), (4,)], [(2,), (2,)], "SplitOptions", {"numSplits": 2}, "does not exist"),
        ("SPLIT", [int32(0), (4,)], [(2,), (3,)], "SplitOptions", {"numSplits": 2}, "declares"),
        ("SPLIT_V", [(4,), (2,), int32(0)], [(2,), (2,)], "SplitVOptions", {"numSplits": 2}, "must be constants"),
        ("SPLIT_V", [(4,), int32(1, 3), int32(0)], [(4,)], "SplitVOptions", {"numSplits": 2}, "number of outputs"),
        ("SPLIT_V", [(4,), int32(1, 2), int32(0)], [(1,), (2,)], "SplitVOptions", {"numSplits": 2}, "add up"),
        ("SPLIT_V", [(4,), int32(-1, -1), int32(0)], [(2,), (2,)], "SplitVOptions", {"numSplits": 2}, "positive"),
        ("SPLIT_V", [(4,), int32(1, -1), int32(0)], [(2,), (2,)], "SplitVOptions", {"numSplits": 2}, "declares"),
        ("UNPACK", [(2, 3)], [(3,), (3,)], "UnpackOptions", {"num": 3}, "size of the axis"),
        ("UNPACK", [(2, 3)], [(3,)], "UnpackOptions", {"num": 1}, "size of the axis"),
        ("UNPACK", [(2, 3)], [(3,), (2,)], "UnpackOptions", {"num": 2}, "declares"),
    ],
)
def test_other_refusals(op: str, inputs: Any, outputs: Any, options: str, fields: Any, reason: str) -> None:
    assert reason in refusal(model(op, INT8, inputs, outputs, options, **fields))


def test_split_into_another_scale_is_refused() -> None:
    builder = ModelBuilder()
    axis, x = builder.constant([0]), builder.tensor((4,), "int8", 0.5, 0)
    a, b = builder.tensor((2,), "int8", 0.5, 0), builder.tensor((2,), "int8", 0.5, 1)
    builder.op("SPLIT", [axis, x], [a, b], "SplitOptions", numSplits=2)
    assert "Input 1 and all outputs" in refusal(builder.finish([x], [a, b]))

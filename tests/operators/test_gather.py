# SPDX-License-Identifier: Apache-2.0
"""GATHER."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import assert_equal, check_laws, load, run_c, tflm
from tests.operators.moving import INT8, Kind, int32, kinds, refusal, values
from tests.strategies import FEW, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ir.types import Array
from tinygen.reference import run


def gather(kind: Kind, data: Any, indices: Any, output: Any, dtype: str = "int32", **fields: int) -> bytes:
    """Data and indices are shapes, or arrays if constant."""
    builder, free = ModelBuilder(), []
    ins = []
    for value, how in ((data, kind), (indices, (dtype,))):
        known = isinstance(value, np.ndarray)
        ins.append(builder.tensor(np.shape(value) if known else tuple(value), *how, data=value if known else None))
        free += [] if known else [ins[-1]]
    y = builder.tensor(tuple(output), *kind)
    builder.op("GATHER", ins, [y], "GatherOptions", **fields)
    return builder.finish(free or [builder.tensor((1,), *kind)], [y])


@st.composite
def parts(draw: st.DrawFn) -> tuple[Any, ...]:
    """(kind, data, indices, output, fields) with constant indices that lie inside."""
    kind, shape = draw(kinds("float32")), draw(shapes(1, 4, 4))
    axis = draw(st.integers(0, len(shape) - 1))
    batch = draw(st.integers(0, axis))
    rest = draw(shapes(0, 2, 4))
    seed = draw(st.integers(0, 2**32))
    indices = np.random.default_rng(seed).integers(0, shape[axis], (*shape[:batch], *rest)).astype(np.int32)
    output = (*shape[:axis], *rest, *shape[axis + 1 :])
    counted = batch - indices.ndim if batch < indices.ndim and draw(st.booleans()) else batch
    fields = {"axis": draw(st.sampled_from([axis, axis - len(shape)])), "batchDims": counted}
    return kind, values(kind, shape) if draw(st.booleans()) else shape, indices, output, fields


@FEW
@given(st.lists(parts(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_constant_indices(models: list[Any], seed: int) -> None:
    check_laws([gather(*model, **fields) for *model, fields in models], seed)


@FEW
@given(st.lists(parts(), min_size=4, max_size=4), st.integers(0, 2**32))
def test_indices_at_run_time(models: list[Any], seed: int) -> None:
    """Indices inside as TFLM, and any others without reading outside the tensor."""
    graphs, sets = [], []
    for kind, data, indices, output, fields in models:
        file = gather(kind, data, indices.shape, output, **fields)
        graphs.append(load(file))
        first = [] if isinstance(data, np.ndarray) else [values(kind, data, seed)]
        assert_equal("GATHER", run(graphs[-1], [*first, indices]), tflm(file, [[*first, indices]])[0])
        sets.append([[*first, indices], *([*first, far] for far in beyond(indices))])
    for graph, inputs, answers in zip(graphs, sets, run_c(graphs, sets), strict=True):
        for given_inputs, answer in zip(inputs, answers, strict=True):
            assert_equal("GATHER", answer, run(graph, given_inputs))


def beyond(indices: Array) -> list[Array]:
    """Indices of the same shape that lie far and just outside."""
    return [np.full_like(indices, i) for i in (-(2**31), -1, indices.max() + 1, 2**31 - 1)]


def test_indices_outside_stand_for_the_nearest() -> None:
    graph = load(gather(INT8, (3,), (4,), (4,)))
    (got,) = run(graph, [np.array([10, 20, 30], np.int8), int32(-5, 1, 3, 99)])
    assert got.tolist() == [10, 20, 30, 30]


@pytest.mark.parametrize(
    ("indices", "fields", "reason"),
    [
        (int32(0, 2), {"axis": 1}, ""),
        (int32(0, 3), {"axis": 1}, "inside the axis"),
        (int32(0, -1), {"axis": 1}, "inside the axis"),
        (int32(0, 2), {"axis": 2}, "does not exist"),
        (int32(0, 2), {"axis": 0, "batchDims": 1}, "before the axis"),
        (int32(0, 2), {"axis": 1, "batchDims": -2}, "before the axis"),
        (int32((0, 2)), {"axis": 1, "batchDims": 1}, "must be the same"),
        (int32(0, 1, 2), {"axis": 1}, "declares"),
    ],
)
def test_refusals(indices: Any, fields: Any, reason: str) -> None:
    problem = refusal(gather(INT8, (2, 3), indices, (2, 2), **fields))
    assert reason in problem and bool(reason) == bool(problem)


def test_other_indices_are_refused() -> None:
    assert "Indices must be int32" in refusal(gather(INT8, (3,), (2,), (2,), "int64"))

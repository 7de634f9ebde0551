# SPDX-License-Identifier: Apache-2.0
"""SHAPE, whose node no kernel computes: a pass replaces it by its value."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.laws import check_reference, load
from tests.operators.moving import refusal
from tests.strategies import MANY, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of
from tinygen.passes.fold_constants import FoldConstants


def shape_of(shape: tuple[int, ...], dtype: str = "int32") -> bytes:
    builder = ModelBuilder()
    x, y = builder.tensor(shape, "int8", 0.5, 0), builder.tensor((len(shape),), dtype)
    builder.op("SHAPE", [x], [y])
    return builder.finish([x], [y])


@MANY
@given(shapes(1, 6))
def test_laws(shape: tuple[int, ...]) -> None:
    check_reference(shape_of(shape))


def test_it_folds() -> None:
    folded = FoldConstants().run(load(shape_of((2, 3, 5)))).graph
    assert not folded.nodes
    assert [value.tolist() for value in folded.constants.values()] == [[2, 3, 5]]


@pytest.mark.parametrize(("dtype", "reason"), [("int32", ""), ("int64", ""), ("int16", "int32 or int64")])
def test_refusals(dtype: str, reason: str) -> None:
    problem = refusal(shape_of((2, 3), dtype))
    assert reason in problem and bool(reason) == bool(problem)


def test_shape_arithmetic_folds_away() -> None:
    """What converters make of ``tf.reshape(x, [tf.shape(x)[0], -1])``."""
    builder = ModelBuilder()
    x, shape, batch = (
        builder.tensor((2, 3, 4), "int8", 0.5, 0),
        builder.tensor((3,), "int32"),
        builder.tensor((), "int32"),
    )
    wanted, y = builder.tensor((2,), "int32"), builder.tensor((2, 12), "int8", 0.5, 0)
    builder.op("SHAPE", [x], [shape])
    ends = [builder.constant([n]) for n in (0, 1, 1)]
    builder.op("STRIDED_SLICE", [shape, *ends], [batch], "StridedSliceOptions", shrinkAxisMask=1)
    builder.op("PACK", [batch, builder.constant(-1)], [wanted], "PackOptions", valuesCount=2)
    builder.op("RESHAPE", [x, wanted], [y])
    graph = FoldConstants().run(load(builder.finish([x], [y]))).graph
    assert [node.op for node in graph.nodes] == ["RESHAPE"]
    assert graph.constants[graph.nodes[0].inputs[1]].tolist() == [2, -1]
    assert not problems_of(graph)

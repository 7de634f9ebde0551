"""SHAPE, whose node no kernel computes: a pass replaces it by its value."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.laws import check_reference, load
from tests.operators.moving import refusal
from tests.strategies import MANY, shapes
from tests.tflite_builder import ModelBuilder
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

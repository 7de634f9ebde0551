# SPDX-License-Identifier: Apache-2.0
"""RESHAPE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.moving import INT8, int32, kinds, model, refusal, values
from tests.strategies import FEW, shapes
from tests.tflite_builder import ModelBuilder


@st.composite
def models(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("int32", "float32", "int16")), draw(shapes(0))
    factors = draw(st.permutations([*shape, 1]))
    wanted = list(factors)
    if draw(st.booleans()):
        wanted[draw(st.integers(0, len(wanted) - 1))] = -1
    inputs = [shape, int32(*wanted)] if draw(st.booleans()) else [shape]
    if draw(st.booleans()) and kind[0] != "int32":
        inputs[0] = values(kind, shape)
    return model("RESHAPE", kind, inputs, [factors])


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@pytest.mark.parametrize(
    ("output", "shape", "reason"),
    [
        ((2, 4), (2, 4), "same number of elements"),
        ((6, 1), (1, 6), "constant shape"),
        ((6, 1), (6,), "constant shape"),
        ((6, 1), (-1, -1), "constant shape"),
        ((6, 1), (-1, 2), "constant shape"),
        ((6, 1), (6.0, 1.0), "int32 or int64"),
        ((6, 1), (-1, 1), ""),
    ],
)
def test_refusals(output: tuple[int, ...], shape: tuple[float, ...], reason: str) -> None:
    wanted = np.array(shape, np.float32 if isinstance(shape[0], float) else np.int64)
    problem = refusal(model("RESHAPE", INT8, [(2, 3), wanted], [output]))
    assert reason in problem and bool(reason) == bool(problem)


def test_another_scale_is_refused() -> None:
    builder = ModelBuilder()
    x, y = builder.tensor((2, 3), "int8", 0.5, 0), builder.tensor((6,), "int8", 0.25, 0)
    builder.op("RESHAPE", [x], [y])
    assert "same scale and zero point" in refusal(builder.finish([x], [y]))

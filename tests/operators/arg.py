# SPDX-License-Identifier: Apache-2.0
"""Files and refusals of ARG_MAX and ARG_MIN."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from tests.laws import load
from tests.strategies import quants, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of


def _options(op: str) -> str:
    return {"ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions"}[op]


@st.composite
def arg_models(draw: st.DrawFn, op: str) -> bytes:
    """A file of one node along any axis; sides of up to 12, so that the C's index runs some way."""
    b, shape = ModelBuilder(), draw(shapes(max_rank=4, max_side=12))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    constant = b.constant(axis if draw(st.booleans()) else [axis])
    x = b.tensor(shape, "int8", *draw(quants()))
    y = b.tensor(tuple(n for i, n in enumerate(shape) if i != axis % len(shape)), "int32")
    b.op(op, [x, constant], [y], _options(op), outputType=schema.TensorType.INT32)
    return b.finish([x], [y])


def check_arg_refusals(op: str) -> None:
    """The constraints of both, once each."""

    def problem(axis: Any, source: str = "int8", target: str = "int32", axis_type: str = "int32") -> str:
        b = ModelBuilder()
        x, y = b.tensor((2, 3), source, 0.1), b.tensor((2,), target)
        constant = b.tensor((), "int32") if axis is None else b.constant(axis, axis_type)
        b.op(op, [x, constant], [y], _options(op))
        (found,) = problems_of(load(b.finish([x] if axis is not None else [x, constant], [y])))
        return found[1]

    assert "input must be int8" in problem(1, source="int16")
    assert "output must be int32" in problem(1, target="int64")
    for axis in (2, -3, [0, 1], None):
        assert "axis must be one int32 constant" in problem(axis)
    assert "axis must be one int32 constant" in problem(1, axis_type="int64")

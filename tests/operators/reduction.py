# SPDX-License-Identifier: Apache-2.0
"""Files and refusals of operators that reduce along axes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.laws import load
from tests.strategies import quants, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of

Type = tuple[float, int]


def reduction_model(
    op: str, shape: tuple[int, ...], axes: Any, keep: bool = False, quant: Type = (0.1, 0), output: Type | None = None
) -> bytes:
    """A file of one reduction; `axes` an int or a list."""
    b, rank = ModelBuilder(), len(shape)
    reduced = {axis % rank for axis in ([axes] if isinstance(axes, int) else axes)}
    kept = tuple(1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced)
    x, y = b.tensor(shape, "int8", *quant), b.tensor(kept, "int8", *(output or quant))
    b.op(op, [x, b.constant(axes)], [y], "ReducerOptions", keepDims=keep)
    return b.finish([x], [y])


@st.composite
def reduction_models(draw: st.DrawFn, op: str, one_quant: bool = False) -> bytes:
    """A file of one reduction along any axes, also negative or repeated ones, or a scalar."""
    shape = draw(shapes(max_rank=6, max_side=4))
    axis = st.integers(-len(shape), len(shape) - 1)
    axes = draw(st.one_of(axis, st.lists(axis, min_size=1, max_size=len(shape) + 1)))
    quant = draw(quants())
    output = quant if one_quant else draw(quants())
    return reduction_model(op, shape, axes, draw(st.booleans()), quant, output)


def alternating_models(op: str) -> list[bytes]:
    """Six dimensions of which every second is reduced: as many loops as there are."""
    return [reduction_model(op, (2, 3, 4, 3, 2, 3), axes) for axes in ([0, 2, 4], [1, 3, 5])]


def check_reduction_refusals(op: str) -> None:
    """The constraints of all, once each."""

    def problem(shape: tuple[int, ...], axes: Any, dtype: str = "int8", axis_type: str = "int32") -> str:
        b = ModelBuilder()
        x, y = b.tensor(shape, dtype, 0.1), b.tensor((), dtype, 0.1)
        constant = b.tensor((1,), "int32") if axes is None else b.constant(axes, axis_type)
        b.op(op, [x, constant], [y], "ReducerOptions")
        (found,) = problems_of(load(b.finish([x] if axes is not None else [x, constant], [y])))
        return found[1]

    for axes in ([3], [-4], None):
        assert "axes must be an int32 constant" in problem((2, 3, 4), axes)
    assert "axes must be an int32 constant" in problem((2, 3, 4), [1], axis_type="int64")
    assert "must be int8" in problem((2, 3, 4), [0, 1, 2], "uint8")

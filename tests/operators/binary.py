# SPDX-License-Identifier: Apache-2.0
"""Strategies for operators of two broadcast inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.laws import assert_equal, check_laws, check_reference, load, tflm
from tests.strategies import quants, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.errors import UnsupportedError
from tinygen.lower import lower
from tinygen.ops import problems_of
from tinygen.reference import run
from tinygen.target import load_target

Shape = tuple[int, ...]
Quant = tuple[float, int]


@st.composite
def shape_pairs(draw: st.DrawFn) -> tuple[Shape, Shape, Shape]:
    """Two shapes that broadcast, and what they broadcast to: usually of one rank, sometimes one shorter."""
    full = draw(shapes(max_rank=5, max_side=4))
    if draw(st.booleans()):
        return full, full, full
    masks = [draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full))) for _ in range(2)]
    a, b = (tuple(1 if m else n for m, n in zip(mask, full, strict=True)) for mask in masks)
    while b and b[0] == 1 and draw(st.booleans()):
        b = b[1:]
    pair = (a, b) if draw(st.booleans()) else (b, a)
    return *pair, np.broadcast_shapes(a, b)


@st.composite
def binary_models(
    draw: st.DrawFn,
    op: str,
    options: str | None,
    one_quant: bool = False,
    output: st.SearchStrategy[float] | None = None,
) -> bytes:
    """A file of one node `op`; either input may be a constant, either way round, or both the same tensor.

    `output` draws the output's scale (default: like the inputs').
    """
    b, (first, second, result) = ModelBuilder(), draw(shape_pairs())
    kinds = draw(st.sampled_from(("both", "both", "left constant", "right constant", "same")))
    types = [draw(quants())] * 3 if one_quant else [draw(quants()) for _ in range(3)]
    if output is not None:
        types[2] = (draw(output), types[2][1])
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tensors = []
    for shape, quant, side in zip((first, second), types, ("left", "right"), strict=False):
        data = rng.integers(-128, 128, shape) if kinds == f"{side} constant" else None
        tensors.append(b.tensor(shape, "int8", *quant, data=data))
    if kinds == "same":
        tensors[1], result = tensors[0], first
    y = b.tensor(result, "int8", *types[2])
    values = {} if options is None else {"fusedActivationFunction": draw(st.integers(0, 3))}
    b.op(op, tensors, [y], options, **values)
    inputs = [t for t, side in zip(tensors, ("left", "right"), strict=True) if kinds != f"{side} constant"]
    return b.finish(list(dict.fromkeys(inputs)), [y])


def int32_model(op: str, options: str | None, first: Shape, second: Shape) -> bytes:
    """A file of one unquantized int32 node."""
    b = ModelBuilder()
    x, y = b.tensor(first, "int32"), b.tensor(second, "int32")
    z = b.tensor(tuple(int(n) for n in np.broadcast_shapes(first, second)), "int32")
    b.op(op, [x, y], [z], options)
    return b.finish([x, y], [z])


def int8_model(
    op: str, options: str | None, a: tuple[float, int], b: tuple[float, int], c: tuple[float, int], **values: int
) -> bytes:
    """A file of one node [2, 3] op [2, 3] with given (scale, zero point)."""
    m = ModelBuilder()
    x, y, z = (m.tensor((2, 3), "int8", *quant) for quant in (a, b, c))
    m.op(op, [x, y], [z], options, **values)
    return m.finish([x, y], [z])


def check_binary_refusals(op: str, options: str | None) -> None:
    """The constraints of all arithmetic operators of two inputs, once each."""
    same = (0.1, 0)

    def problem(dtypes: tuple[str, str, str], scale: float | None, second: Shape = (2, 3), **values: int) -> str:
        m = ModelBuilder()
        x, y, z = (m.tensor(shape, dtype, scale) for shape, dtype in zip(((2, 3), second, (2, 3)), dtypes, strict=True))
        m.op(op, [x, y], [z], options, **values)
        (found,) = problems_of(load(m.finish([x, y], [z])))
        return found[1]

    types = "must be int8 with per-tensor scale and zero point, "
    assert not problems_of(load(int8_model(op, options, same, same, same)))
    assert types in problem(("int8", "int8", "int32"), 0.1)
    assert types in problem(("int8", "int8", "int8"), None)
    assert types in problem(("int32", "int32", "int32"), 0.1)
    assert "shapes must broadcast" in problem(("int8", "int8", "int8"), 0.1, (2, 4))
    if options is not None:
        assert "must not have a fused activation" in problem(("int32",) * 3, None, fusedActivationFunction=1)
    m = ModelBuilder()
    x = m.tensor((2,), "int8", 0.1)
    y = m.tensor((2,), "int8", 0.1)
    m.op(op, [x], [y], options)
    assert "two inputs" in problems_of(load(m.finish([x], [y])))[0][1]


def check_int32(op: str, options: str | None) -> None:
    """int32 is understood (it folds), also with broadcasting and wrap-around, but has no kernel."""
    for first, second in (((2,), (2,)), ((2, 3), (1,)), ((), (4,))):
        data = int32_model(op, options, first, second)
        graph, sets = check_reference(data)
        wide = [[(v * 2_000_003).astype(np.int32) for v in inputs] for inputs in sets]
        for inputs, expected in zip(wide, tflm(data, wide), strict=True):
            assert_equal(op, run(graph, inputs), expected)
        with pytest.raises(UnsupportedError, match="no kernel computes int32"):
            lower(graph, load_target("host"))


def check_scalar_constants(op: str, options: str | None, output: float = 0.1, longer: str = "portable") -> None:
    """A constant of one element, on either side and of any rank, makes a table; a longer one does not."""
    files = []
    for left in (True, False):
        for shape, kernel in (((), "lookup/table"), ((1, 1, 1, 1), "lookup/table"), ((3,), f"{op.lower()}/{longer}")):
            m = ModelBuilder()
            result = (1, 1, 2, 3) if len(shape) == 4 else (2, 3)
            x, z = m.tensor((2, 3), "int8", 0.1, 4), m.tensor(result, "int8", output, 4)
            constant = m.tensor(shape, "int8", 0.1, 4, data=np.full(shape, 77))
            m.op(op, [constant, x] if left else [x, constant], [z], options)
            files.append(m.finish([x], [z]))
            (step,) = lower(load(files[-1]), load_target("host")).steps
            assert step.kernel == kernel
    check_laws(files)


def check_all_pairs(op: str, options: str | None, *types: tuple[Quant, Quant, Quant]) -> None:
    """All 65536 pairs of int8 values against TFLM, then the C with all values on the left, random ones on the right."""
    every, files = np.arange(-128, 128).astype(np.int8), []
    for left, right, result in types:
        m = ModelBuilder()
        x, y = m.tensor((256, 1), "int8", *left, data=every), m.tensor((1, 256), "int8", *right)
        z = m.tensor((256, 256), "int8", *result)
        m.op(op, [x, y], [z], options)
        files.append(m.finish([y], [z]))
        inputs = [every.reshape(1, 256)]
        assert_equal(op, run(load(files[-1]), inputs), tflm(files[-1], [inputs])[0])
    check_laws(files)

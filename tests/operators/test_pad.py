# SPDX-License-Identifier: Apache-2.0
"""PAD, PADV2 and MIRROR_PAD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.operators.moving import INT8, Kind, int32, kinds, model, refusal, values
from tests.strategies import FEW, shapes
from tests.tflite_builder import ModelBuilder


def padded(shape: Any, amounts: Any) -> list[int]:
    return [n + before + after for n, (before, after) in zip(shape, amounts, strict=True)]


@st.composite
def pads(draw: st.DrawFn) -> bytes:
    kind, shape = draw(kinds("int32", "float32", "int16")), draw(shapes(1, 5, 4))
    side = st.sampled_from([0, 0, 1, 2, 3])
    amounts = [(draw(side), draw(side)) for _ in shape]
    inputs: list[Any] = [values(kind, shape) if draw(st.booleans()) else shape, int32(*amounts)]
    if draw(st.booleans()):
        return model("PAD", kind, inputs, [padded(shape, amounts)])
    value = values(kind, [1] * draw(st.integers(0, 1)), seed=draw(st.integers(0, 99)))
    return model("PADV2", kind, [*inputs, value], [padded(shape, amounts)])


@st.composite
def mirrors(draw: st.DrawFn) -> bytes:
    kind, shape, mode = draw(kinds("float32")), draw(shapes(1, 5, 4)), draw(st.integers(0, 1))
    amounts = [[draw(st.integers(0, n - 1 + mode)) * draw(st.integers(0, 1)) for _ in range(2)] for n in shape]
    data = values(kind, shape) if draw(st.booleans()) else shape
    return model("MIRROR_PAD", kind, [data, int32(*amounts)], [padded(shape, amounts)], "MirrorPadOptions", mode=mode)


@FEW
@given(st.lists(pads(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_pad(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@FEW
@given(st.lists(mirrors(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_mirror_pad(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8"])
def test_types_that_tflm_lacks(dtype: str) -> None:
    kind: Kind = (dtype, None, 0)
    amounts = int32((1, 0), (2, 1))
    value = np.array([1], dtype)
    files = [
        model("PAD", kind, [(2, 3), amounts], [(3, 6)]),
        model("PADV2", kind, [(2, 3), amounts, value], [(3, 6)]),
        model("MIRROR_PAD", kind, [(2, 3), amounts], [(3, 6)], "MirrorPadOptions"),
    ]
    check_laws(files, with_tflm=False)


@pytest.mark.parametrize(
    ("amounts", "output", "reason"),
    [
        (int32((1, 0), (2, 1)), (3, 6), ""),
        ((2, 2), (3, 6), "must be constants"),
        (int32((1, 0), (2, -1)), (3, 4), "must not be negative"),
        (int32(1, 0, 2, 1), (3, 6), "must have shape [2, 2]"),
        (int32((1, 0), (2, 1)), (3, 5), "declares"),
    ],
)
def test_pad_refusals(amounts: Any, output: Any, reason: str) -> None:
    problem = refusal(model("PAD", INT8, [(2, 3), amounts], [output]))
    assert reason in problem and bool(reason) == bool(problem)


def test_six_dimensions_are_refused() -> None:
    amounts = np.zeros((6, 2), np.int32)
    assert "at most 5" in refusal(model("PAD", INT8, [(1,) * 6, amounts], [(1,) * 6]))


def test_padding_per_channel_is_refused() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((2,), "int8", [0.5, 0.25], [0, 1], axis=0) for _ in range(2))
    builder.op("PAD", [x, builder.constant([(0, 0)])], [y])
    assert "per channel" in refusal(builder.finish([x], [y]))


@pytest.mark.parametrize(
    ("scale", "shape", "reason"),
    [(0.5, (), ""), (0.25, (), "a single element of the input's"), (0.5, (2,), "a single element of the input's")],
)
def test_padv2_refusals(scale: float, shape: tuple[int, ...], reason: str) -> None:
    builder = ModelBuilder()
    x, y = builder.tensor((2,), "int8", 0.5, 3), builder.tensor((3,), "int8", 0.5, 3)
    value = builder.tensor(shape, "int8", scale, 3, data=np.ones(shape, np.int8))
    builder.op("PADV2", [x, builder.constant([(0, 1)]), value], [y])
    problem = refusal(builder.finish([x], [y]))
    assert reason in problem and bool(reason) == bool(problem)


@pytest.mark.parametrize(
    ("before", "mode", "reason"),
    [(2, 0, ""), (3, 1, ""), (3, 0, "larger than"), (4, 1, "larger than"), (-1, 1, "negative")],
)
def test_mirror_pad_refusals(before: int, mode: int, reason: str) -> None:
    amounts = int32((before, 0))
    problem = refusal(model("MIRROR_PAD", INT8, [(3,), amounts], [(3 + before,)], "MirrorPadOptions", mode=mode))
    assert reason in problem and bool(reason) == bool(problem)

# SPDX-License-Identifier: Apache-2.0
"""DEQUANTIZE."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, load
from tests.strategies import FEW, scales, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of


def model(shape: tuple[int, ...], kind: str, scale: float | list[float], zero_point: int) -> bytes:
    b = ModelBuilder()
    x, y = b.tensor(shape, kind, scale, zero_point), b.tensor(shape, "float32")
    b.op("DEQUANTIZE", [x], [y], "DequantizeOptions")
    return b.finish([x], [y])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    kind, zeros = draw(st.sampled_from([("int8", (-128, 127)), ("uint8", (0, 255)), ("int16", (-9, 9))]))
    scale = draw(scales() | scales(1e-9, 1e-6) | scales(1e3, 1e6))
    return model(draw(shapes()), kind, scale, draw(st.integers(*zeros)))


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


def test_refusals() -> None:
    for data in (model((2,), "int8", [0.5, 0.25], 0), model((2,), "int32", 0.5, 0)):
        assert "with one scale and zero point, the output float32" in problems_of(load(data))[0][1]

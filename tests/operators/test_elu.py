# SPDX-License-Identifier: Apache-2.0
"""ELU."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws
from tests.strategies import FEW, quants, shapes
from tests.tflite_builder import ModelBuilder


@st.composite
def models(draw: st.DrawFn) -> bytes:
    b, shape = ModelBuilder(), draw(shapes())
    x = b.tensor(shape, "int8", *draw(quants()))
    y = b.tensor(shape, "int8", *draw(quants()))
    b.op("ELU", [x], [y])
    return b.finish([x], [y])


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)

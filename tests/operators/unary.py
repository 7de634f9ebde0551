# SPDX-License-Identifier: Apache-2.0
"""What the tests of one-input int8 operators share."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.laws import load
from tests.strategies import quants, shapes
from tests.tflite_builder import ModelBuilder
from tinygen.ops import problems_of

Quantization = tuple[float, int]
ANY = quants()


def model(
    op: str,
    first: Quantization,
    second: Quantization,
    shape: tuple[int, ...] = (16, 16),
    options: str | None = None,
    **fields: Any,
) -> bytes:
    """A file with one node, whose input and output have those scales and zero points."""
    b = ModelBuilder()
    x, y = b.tensor(shape, "int8", *first), b.tensor(shape, "int8", *second)
    b.op(op, [x], [y], options, **fields)
    return b.finish([x], [y])


def models(
    op: str, first: st.SearchStrategy[Quantization] = ANY, second: st.SearchStrategy[Quantization] = ANY
) -> st.SearchStrategy[bytes]:
    """Files of any shape and those scales and zero points."""
    return st.builds(model, st.just(op), first, second, shapes())


def refusal(data: bytes) -> str:
    """The sentence that refuses the file's only node, or nothing."""
    return "".join(text for _, text in problems_of(load(data)))

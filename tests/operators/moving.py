# SPDX-License-Identifier: Apache-2.0
"""What the tests of operators that only move data share: files of one node whose tensors have one type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.laws import load
from tests.strategies import quants
from tests.tflite_builder import ModelBuilder
from tinygen.ir.types import Array
from tinygen.ops import problems_of

#: Element type, scale and zero point of the data that moves.
Kind = tuple[str, float | None, int]
INT8: Kind = ("int8", 0.5, 3)


def kinds(*dtypes: str) -> st.SearchStrategy[Kind]:
    """Quantized int8, and plain `dtypes`."""
    plain = st.sampled_from(dtypes).map(lambda d: (d, None, 0)) if dtypes else st.nothing()
    return st.one_of(quants().map(lambda q: ("int8", *q)), plain)


def values(kind: Kind, shape: Sequence[int], seed: int = 0) -> Array:
    """Random data of that kind."""
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(kind[0])


def model(
    op: str,
    kind: Kind,
    inputs: Sequence[Sequence[int] | Array],
    outputs: Sequence[Sequence[int]],
    options: str | None = None,
    **fields: Any,
) -> bytes:
    """A file of one node. Inputs and outputs are shapes of that kind; an array among the inputs is a constant.

    An array of the kind's element type is data like the others, any other a parameter such as axes.
    """
    builder = ModelBuilder()
    ins, free = [], []
    for value in inputs:
        if not isinstance(value, np.ndarray):
            ins.append(builder.tensor(tuple(value), *kind))
            free.append(ins[-1])
        elif value.dtype == kind[0]:
            ins.append(builder.tensor(value.shape, *kind, data=value))
        else:
            ins.append(builder.tensor(value.shape, value.dtype.name, data=value))
    if not free:  # a model has at least one input, also if nothing reads it
        free.append(builder.tensor((1,), *kind))
    outs = [builder.tensor(tuple(shape), *kind) for shape in outputs]
    builder.op(op, ins, outs, options, **fields)
    return builder.finish(free, outs)


def int32(*numbers: Any) -> Array:
    """Parameters as TFLite stores them."""
    return np.array(numbers, np.int32)


def refusal(data: bytes) -> str:
    """Why the only node of a file is refused; empty if it is not."""
    return "; ".join(text for _, text in problems_of(load(data)))

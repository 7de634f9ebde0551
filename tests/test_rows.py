# SPDX-License-Identifier: Apache-2.0
"""Some rows of a layer, as a node of their own, are those rows of the whole: by the operators' own references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.stripe_models import ALL, network
from tinygen.ir.graph import Attrs
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops import all_ops, call_of
from tinygen.ops.base import Call
from tinygen.ops.depth_to_space import BlockAttrs
from tinygen.ops.rows import access_of, part_of
from tinygen.ops.softmax import SoftmaxAttrs

Q = Quant.per_tensor(0.05, 3)


def calls(seed: int) -> list[Call[Any]]:
    """The nodes of a random network."""
    graph = network(seed, 5, ALL)
    return [call_of(graph, node) for node in graph.nodes]


def call(op: str, attrs: Attrs, inputs: list[tuple[int, ...]], output: tuple[int, ...], quant: Quant = Q) -> Call[Any]:
    types = tuple(TensorType(shape, DType.INT8, Q) for shape in inputs)
    return Call(op.lower(), op, attrs, types, (TensorType(output, DType.INT8, quant),), (None,) * len(inputs))


OTHERS = [
    call("SPACE_TO_DEPTH", BlockAttrs(2), [(1, 6, 4, 3)], (1, 3, 2, 12)),
    call("DEPTH_TO_SPACE", BlockAttrs(3), [(1, 2, 3, 18)], (1, 6, 9, 2)),
    call("SOFTMAX", SoftmaxAttrs(), [(1, 5, 3, 4)], (1, 5, 3, 4), Quant.per_tensor(1 / 256, -128)),
    call("LOGISTIC", Attrs(), [(1, 5, 3, 4)], (1, 5, 3, 4), Quant.per_tensor(1 / 256, -128)),
    call("MUL", all_ops()["MUL"].attrs(), [(1, 5, 3, 4), (1, 1, 1, 4)], (1, 5, 3, 4)),
    call("SUB", all_ops()["SUB"].attrs(), [(1, 1, 3, 1), (1, 5, 3, 4)], (1, 5, 3, 4)),
]


def check(whole: Call[Any], rows: int, rng: np.random.Generator) -> bool:
    """Whether `whole` can be computed on rows; if it can, that it gives the same `rows` at a time."""
    op = all_ops()[whole.op]
    access = access_of(op, whole)
    if access is None:
        return False
    values = [
        rng.integers(-128, 128, t.shape) if c is None else c for t, c in zip(whole.inputs, whole.constants, strict=True)
    ]
    (expected,) = op.reference(whole, values)
    bands = access.bands(whole.output.shape[1], rows)
    assert [row for band in bands for row in range(*band)] == list(range(whole.output.shape[1]))
    for first, end in bands:
        spans = iter(access.spans(first, end))
        part = part_of(whole, access, first, end)
        assert op.problems(part) == () and tuple(op.infer(part)) == ((part.output.shape, DType.INT8),)
        some: list[Array] = [
            v[:, slice(*next(spans))] if c is None else c for v, c in zip(values, part.constants, strict=True)
        ]
        assert [v.shape for v in some] == [t.shape for t in part.inputs if t is not None]
        (got,) = op.reference(part, some)
        assert np.array_equal(got, expected[:, first:end]), f"rows {first} to {end} of {whole.op} {whole.attrs}"
    return True


@pytest.mark.parametrize("batch", range(4))
def test_rows_of_random_layers(batch: int) -> None:
    rng = np.random.default_rng(batch)
    done = [check(whole, rows, rng) for seed in range(12) for whole in calls(100 * batch + seed) for rows in (1, 2, 5)]
    assert sum(done) > 0.9 * len(done)


@pytest.mark.parametrize("whole", OTHERS, ids=lambda whole: whole.op)
def test_rows_of_other_layers(whole: Call[Any]) -> None:
    assert all([check(whole, rows, np.random.default_rng(0)) for rows in (1, 2, 3)])


def test_layers_that_need_the_whole() -> None:
    """Several images, rows that none of the input reaches, another number of dimensions."""
    two = call("SOFTMAX", SoftmaxAttrs(), [(2, 5, 3, 4)], (2, 5, 3, 4), Quant.per_tensor(1 / 256, -128))
    flat = call("LOGISTIC", Attrs(), [(5, 4)], (5, 4), Quant.per_tensor(1 / 256, -128))
    cut = call("TRANSPOSE", Attrs(), [(1, 5, 3, 4)], (1, 3, 5, 4))
    assert not any(check(whole, 1, np.random.default_rng(0)) for whole in (two, flat, cut))

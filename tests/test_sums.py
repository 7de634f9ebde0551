# SPDX-License-Identifier: Apache-2.0
"""Sums in floating point and their requantization, against integers of any size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import load
from tests.operators import test_fully_connected
from tests.strategies import MANY
from tinygen.ir.graph import Graph
from tinygen.ir.types import Quant
from tinygen.ops import Call, call_of
from tinygen.ops.convolution import multipliers_of
from tinygen.ops.sums import kind_of, requantize

UNITS = 5


def layer(scales: list[float], zero_point: int) -> Call[Any]:
    """FULLY_CONNECTED whose sums are scaled by `scales`, one for each unit."""
    graph: Graph = load(test_fully_connected.simple((1, 8), (UNITS, 8)))
    node, types = graph.nodes[0], dict(graph.types)
    types[node.inputs[0]] = replace(types[node.inputs[0]], quant=Quant.per_tensor(1.0, 0))
    types[node.inputs[1]] = replace(types[node.inputs[1]], quant=Quant(tuple(scales), (0,) * UNITS, 0))
    types[node.outputs[0]] = replace(types[node.outputs[0]], quant=Quant.per_tensor(1.0, zero_point))
    return call_of(replace(graph, types=types), node)


def exactly(total: int, multiplier: int, shift: int) -> int:
    """The fixed-point product in Python's integers: halves up in front of the right shift, away from zero behind it."""
    high = (total * (1 << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = max(-shift, 0)
    return (abs(high) + (1 << right >> 1) >> right) * (1 if high >= 0 else -1)


@given(
    st.lists(st.floats(2**-14, 1.5), min_size=UNITS, max_size=UNITS),
    st.integers(-128, 127),
    st.sampled_from([np.float32, np.float64, np.int64]),
    st.integers(0, 2**32 - 1),
)
@MANY
def test_floats_are_requantized_as_integers_are(scales: list[float], zero_point: int, kind: Any, seed: int) -> None:
    """Most sums lie next to the middle between two results, where rounding twice shows."""
    call, rng = layer(scales, zero_point), np.random.default_rng(seed)
    middles = (rng.integers(-140, 140, (40, UNITS)) + 0.5) / np.asarray(scales)
    sums = np.rint(middles) + rng.integers(-2, 3, middles.shape)
    sums[0], sums[1] = 2**22, -(2**22)
    got = requantize(call, sums.astype(kind))
    multipliers, shifts = (values.tolist() for values in multipliers_of(call))
    for row, answers in zip(sums.astype(np.int64).tolist(), got.tolist(), strict=True):
        wanted = [exactly(*unit) + zero_point for unit in zip(row, multipliers, shifts, strict=True)]
        assert answers == [min(max(value, -128), 127) for value in wanted]


@pytest.mark.parametrize(("weight", "kind"), [(8000, np.float32), (8200, np.float64)])
def test_float32_is_taken_only_where_it_holds_all_sums(weight: int, kind: Any) -> None:
    call = call_of(graph := load(test_fully_connected.simple((1, 8), (UNITS, 8))), graph.nodes[0])
    assert kind_of(call, np.full((UNITS, 8), weight)) is kind

# SPDX-License-Identifier: Apache-2.0
"""MUL."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.binary import (
    binary_models,
    check_all_pairs,
    check_binary_refusals,
    check_int32,
    check_scalar_constants,
    int8_model,
)
from tests.operators.test_dsp import assert_runs
from tests.strategies import FEW, MANY
from tinygen.lower import lower
from tinygen.ops import problems_of
from tinygen.target import load_target

OPTIONS = "MulOptions"


@FEW
@given(st.lists(binary_models("MUL", OPTIONS), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(binary_models("MUL", OPTIONS), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_extreme_scales() -> None:
    """A ratio of scales that flushes to zero, some larger than 1, and the largest that is allowed."""
    one, tiny, least = (1.0, 5), (1e-12, 3), (2.0**-14.99, 0)
    scales = [(tiny, one, one), (one, one, (0.3, -128)), (one, (1.5, 127), (0.01, 3)), (one, one, least)]
    check_laws([int8_model("MUL", OPTIONS, *types) for types in scales])


def test_all_pairs() -> None:
    """Powers of two make ties of the rounding."""
    check_all_pairs("MUL", OPTIONS, ((1, 0), (0.5, 3), (64, 5)), ((0.11, -3), (0.7, 100), (13.7, 0)))


def test_scalar_constants() -> None:
    check_scalar_constants("MUL", OPTIONS, longer="narrow")


def test_int32() -> None:
    check_int32("MUL", OPTIONS)


def test_refusals() -> None:
    check_binary_refusals("MUL", OPTIONS)
    wide = int8_model("MUL", OPTIONS, (2.0**8, 0), (2.0**7, 0), (1, 0))
    assert "less than 2^15 times the output scale" in problems_of(load(wide))[0][1]


@pytest.mark.qemu
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4"])
def test_halves_of_multipliers_on_a_core(core: str, tmp_path: Path) -> None:
    """The largest products, multipliers on both sides of a half of their lower 16 bits, ties, and no shift at all."""
    ends = ((0.5, -128), (0.25, 127)), ((1.0, 127), (1.0, -128)), ((0.5, 0), (0.5, 0)), ((1.0, 5), (0.999, 3))
    scales = (0.1251, 1.0003, 64.0, 300.0, 1e5)
    graphs = [load(int8_model("MUL", OPTIONS, *types, (scale, 3))) for types in ends for scale in scales]
    kernels = [step.kernel for graph in graphs for step in lower(graph, load_target(core)).steps]
    assert kernels.count("mul/narrow") > 14 and "mul/portable" in kernels
    assert_runs(graphs, core, tmp_path, feature="")

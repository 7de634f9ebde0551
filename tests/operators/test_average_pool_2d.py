# SPDX-License-Identifier: Apache-2.0
"""AVERAGE_POOL_2D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.pooling import CORES, VALID, check_channels_together, check_pool_refusals, pool_model, pool_models
from tests.operators.test_dsp import assert_runs
from tests.strategies import FEW, MANY
from tinygen.ir.graph import Graph
from tinygen.lower import lower
from tinygen.ops import problems_of
from tinygen.target import load_target


@FEW
@given(st.lists(pool_models("AVERAGE_POOL_2D"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(pool_models("AVERAGE_POOL_2D"), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_nearly_equal_scales() -> None:
    check_laws([pool_model("AVERAGE_POOL_2D", (1, 5, 4, 3), (2, 3), quant=(1e-3, 4), output=(1.0005e-3, 4))])


def eights() -> list[Graph]:
    """Windows of few cells and of as many as a sum may have, channels that fill no eight, padding, strides."""
    shapes = [((1, 9, 11, 8), (2, 3)), ((2, 7, 6, 21), (3, 3)), ((1, 15, 17, 9), (15, 17)), ((1, 25, 5, 64), (25, 5))]
    return [load(pool_model("AVERAGE_POOL_2D", shape, window)) for shape, window in shapes]


@CORES
def test_eights(feature: str, core: str) -> None:
    check_channels_together(eights(), feature, core)


@pytest.mark.qemu
@CORES
def test_eights_on_a_core(feature: str, core: str, tmp_path: Path) -> None:
    assert_runs(eights(), core, tmp_path, feature)


@pytest.mark.qemu
def test_fours_on_cortex_m0(tmp_path: Path) -> None:
    assert_runs(eights(), "cortex-m0", tmp_path, "v6m")


def test_refusals() -> None:
    check_pool_refusals("AVERAGE_POOL_2D")


def test_sums_that_do_not_fit_are_refused() -> None:
    (problem,) = problems_of(load(pool_model("AVERAGE_POOL_2D", (1, 4096, 2048, 1), (4096, 2048), padding=VALID)))
    assert "less than 2^23 cells" in problem[1]


def test_reciprocals_are_exact() -> None:
    """What templates/kernels/common/mean multiplies by instead of dividing, for all sums of up to 90 cells."""
    for cells in range(1, 91):
        sizes = np.arange(128 * cells + cells // 2 + 1)
        products = sizes * ((1 << 20) // cells + 1)
        assert products.max() < 2**31 and np.array_equal(products >> 20, sizes // cells)


def test_four_channels_at_a_time() -> None:
    """Windows of few cells and of many, channels that fill no four."""
    models = [
        pool_model("AVERAGE_POOL_2D", (1, 9, 11, channels), window)
        for channels in (3, 4, 5, 10)
        for window in ((2, 3), (9, 11))
    ]
    kernels = {step.kernel for data in models for step in lower(load(data), load_target("cortex-m3")).steps}
    assert kernels == {"average_pool_2d/four", "average_pool_2d/portable"}
    check_laws(models)

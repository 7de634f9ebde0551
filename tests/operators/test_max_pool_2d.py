# SPDX-License-Identifier: Apache-2.0
"""MAX_POOL_2D."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.pooling import CORES, check_channels_together, check_pool_refusals, pool_model, pool_models
from tests.operators.test_dsp import assert_runs
from tests.strategies import FEW, MANY
from tinygen.ir.graph import Graph


@FEW
@given(st.lists(pool_models("MAX_POOL_2D"), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(pool_models("MAX_POOL_2D"), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


def test_nearly_equal_scales() -> None:
    check_laws([pool_model("MAX_POOL_2D", (1, 5, 4, 3), (2, 3), quant=(1e-3, 4), output=(1.0005e-3, 4))])


def test_refusals() -> None:
    check_pool_refusals("MAX_POOL_2D")


def several() -> list[Graph]:
    """Channels that fill no eight and no sixteen, padding, strides, a fused activation."""
    shapes = [((1, 9, 11, 8), (2, 3)), ((2, 7, 6, 21), (3, 3)), ((1, 5, 4, 35), (5, 4))]
    graphs = [load(pool_model("MAX_POOL_2D", shape, window)) for shape, window in shapes]
    clamped = pool_model("MAX_POOL_2D", (1, 8, 6, 17), (3, 2), (2, 2), activation=3, quant=(0.07, -100))
    return [*graphs, load(clamped)]


@CORES
def test_several_channels_at_a_time(feature: str, core: str) -> None:
    check_channels_together(several(), feature, core)


@pytest.mark.qemu
@CORES
def test_several_channels_on_a_core(feature: str, core: str, tmp_path: Path) -> None:
    assert_runs(several(), core, tmp_path, feature)

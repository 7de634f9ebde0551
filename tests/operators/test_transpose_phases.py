# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions by the kernels of convolutions: they compute what the reference does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws import load
from tests.operators.test_dsp import assert_computes, assert_runs, preferred
from tests.operators.test_transpose_conv import Case, build, models
from tests.strategies import FEW
from tinygen.ir.graph import Graph
from tinygen.kernels.transpose_phases import Axis, axes_of
from tinygen.lower import lower
from tinygen.target import load_target

CORES = pytest.mark.parametrize(("feature", "core"), [("dsp", "cortex-m4"), ("mve", "cortex-m55")])


def edges() -> list[Graph]:
    """Strides of 1 to 3, uneven ones, windows as large as strides, outputs that fill no stride, images."""
    cases = [
        Case((1, 5, 4, 6), (10, 8), (3, 3), (2, 2), True, 5),
        Case((2, 4, 3, 5), (4, 3), (5, 7), (1, 1), True, 2),
        Case((1, 3, 4, 16), (6, 8), (2, 2), (2, 2), True, 4),
        Case((1, 3, 5, 7), (7, 17), (4, 5), (2, 3), False, 3),
        Case((1, 2, 9, 3), (3, 17), (2, 4), (1, 2), False, 6),
    ]
    return [load(build(case, i, (0.1, -5), [0.02], (0.5, 3))) for i, case in enumerate(cases)]


@CORES
def test_edges(feature: str, core: str) -> None:
    with preferred(feature):
        steps = [step for graph in edges() for step in lower(graph, load_target(core)).steps]
    assert {step.kernel for step in steps} == {f"transpose_conv/{feature}"}
    assert [len(step.invocations) for step in steps] == [4, 1, 4, 6, 2]
    assert_computes(edges(), feature)


@pytest.mark.parametrize("feature", ["dsp", "mve"])
@settings(FEW, max_examples=1)
@given(st.lists(models(), min_size=6, max_size=6))
def test_laws(feature: str, files: list[bytes]) -> None:
    assert_computes([load(data) for data in files], feature)


@pytest.mark.qemu
@CORES
def test_on_a_core(feature: str, core: str, tmp_path: Path) -> None:
    assert_runs(edges(), core, tmp_path, feature)


def test_taps_of_each_place() -> None:
    """Three taps, two apart, padding of one: even outputs have the middle one, odd ones those at the ends."""
    assert list(axes_of(3, 2, 1, 5)) == [Axis(0, 3, 1, 0), Axis(1, 2, 0, 0)]


def test_windows_smaller_than_a_stride_are_left_to_plain_c() -> None:
    small = load(build(Case((2, 2, 2, 5), (7, 6), (2, 1), (4, 3), False, 2), 1, (0.1, 0), [0.02], (0.5, 3)))
    with preferred("dsp"):
        (step,) = lower(small, load_target("cortex-m4")).steps
    assert step.kernel == "transpose_conv/portable"

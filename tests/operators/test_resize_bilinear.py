# SPDX-License-Identifier: Apache-2.0
"""RESIZE_BILINEAR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import check_laws, check_reference, load
from tests.operators.test_dsp import assert_runs
from tests.strategies import FEW, MANY, quants
from tests.tflite_builder import ModelBuilder
from tinygen.ops import call_of, op_of, problems_of


def model(
    shape: tuple[int, ...],
    size: Any,
    corners: bool = False,
    centers: bool = False,
    quant: tuple[float, int] = (0.1, 0),
    output: tuple[float, int] | None = None,
) -> bytes:
    b = ModelBuilder()
    x, constant = b.tensor(shape, "int8", *quant), b.constant(size)
    y = b.tensor((shape[0], size[0], size[1], *shape[3:]), "int8", *(output or quant))
    b.op("RESIZE_BILINEAR", [x, constant], [y], "ResizeBilinearOptions", alignCorners=corners, halfPixelCenters=centers)
    return b.finish([x], [y])


@st.composite
def models(draw: st.DrawFn) -> bytes:
    """Any convention; sizes up and down, also to and from a single pixel."""
    side, pick = st.integers(1, 9), draw(st.sampled_from(((False, False), (True, False), (False, True))))
    shape = (draw(st.integers(1, 2)), draw(side), draw(side), draw(st.integers(1, 5)))
    size = [draw(st.one_of(side, st.integers(1, 30))), draw(st.one_of(side, st.integers(1, 30)))]
    return model(shape, size, *pick, quant=draw(quants()))


@FEW
@given(st.lists(models(), min_size=8, max_size=8), st.integers(0, 2**32))
def test_laws(files: list[bytes], seed: int) -> None:
    check_laws(files, seed)


@MANY
@given(models(), st.integers(0, 2**32))
def test_reference(data: bytes, seed: int) -> None:
    check_reference(data, seed)


@pytest.mark.qemu
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "cortex-m55"])
def test_on_cores(core: str, tmp_path: Path) -> None:
    """Up and down, and every convention."""
    files = [
        model((2, 5, 7, 3), [11, 4], corners=corners, centers=centers, quant=(0.1, -7))
        for corners, centers in ((False, False), (True, False), (False, True))
    ]
    assert_runs([load(data) for data in files], core, tmp_path, prefer=False)


def test_doubling_is_exact() -> None:
    """Where the scale is a power of two, fixed point adds nothing to the last rounding."""
    graph = load(model((1, 4, 4, 1), [8, 8], centers=True))
    (node,) = graph.nodes
    assert op_of(node).bound(call_of(graph, node)) < 0.5001


def test_refusals() -> None:
    def problem(data: bytes) -> str:
        (found,) = problems_of(load(data))
        return found[1]

    shape = (1, 4, 4, 2)
    assert "must not both be set" in problem(model(shape, [8, 8], corners=True, centers=True))
    assert "same scale and zero point" in problem(model(shape, [8, 8], output=(0.2, 0)))
    assert "lead beyond the input" in problem(model((1, 10, 1, 1), [220, 1]))
    assert "below 2^16" in problem(model((1, 1, 1, 1), [65536, 1]))
    assert "below 2^16" in problem(model((1, 65536, 1, 1), [1, 1]))
    assert "constant of two positive numbers" in problem(model(shape, [8, 8, 1]))
    assert "must have 4 dimensions" in problem(model((1, 4, 4), [8, 8]))

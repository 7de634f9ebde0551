# SPDX-License-Identifier: Apache-2.0
"""Files, kernels and refusals of the two poolings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import strategies as st

from tests.laws import load
from tests.operators.test_dsp import assert_computes, preferred
from tests.strategies import quants
from tests.tflite_builder import ModelBuilder
from tinygen.ir.graph import Graph
from tinygen.lower import lower
from tinygen.ops import problems_of
from tinygen.target import load_target

SAME, VALID = 0, 1
#: Features for which there are kernels that take several channels at a time, each with a core that has it.
CORES = pytest.mark.parametrize(("feature", "core"), [("mve", "cortex-m55"), ("dsp", "cortex-m4")])


def pool_model(
    op: str,
    shape: tuple[int, ...],
    window: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: int = SAME,
    activation: int = 0,
    quant: tuple[float, int] = (0.1, 0),
    output: tuple[float, int] | None = None,
) -> bytes:
    """A file of one pooling node."""
    pairs = zip(shape[1:3], window, stride, strict=False)
    height, width = (-(-n // s) if padding == SAME else (n - w) // s + 1 for n, w, s in pairs)
    b = ModelBuilder()
    x = b.tensor(shape, "int8", *quant)
    y = b.tensor((shape[0], height, width, *shape[3:]), "int8", *(output or quant))
    b.op(
        op,
        [x],
        [y],
        "Pool2DOptions",
        padding=padding,
        filterHeight=window[0],
        filterWidth=window[1],
        strideH=stride[0],
        strideW=stride[1],
        fusedActivationFunction=activation,
    )
    return b.finish([x], [y])


@st.composite
def pool_models(draw: st.DrawFn, op: str) -> bytes:
    """A file of one pooling node with any window, also larger than the input where the padding allows it."""
    side, padding = st.integers(1, 9), draw(st.sampled_from((SAME, VALID)))
    window = draw(side), draw(side)
    low = window if padding == VALID else (1, 1)
    shape = (draw(st.integers(1, 2)), low[0] + draw(st.integers(0, 6)), low[1] + draw(st.integers(0, 6)), draw(side))
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return pool_model(op, shape, window, stride, padding, draw(st.integers(0, 3)), draw(quants()))


def check_channels_together(graphs: Sequence[Graph], feature: str, core: str) -> None:
    """The kernel for `feature` is there for all `graphs` on `core`, and computes what the reference does."""
    with preferred(feature):
        kernels = {step.kernel for graph in graphs for step in lower(graph, load_target(core)).steps}
    assert kernels == {f"{graph.nodes[0].op.lower()}/{feature}" for graph in graphs}
    assert_computes(graphs, feature)


def check_pool_refusals(op: str) -> None:
    """The constraints of both, once each."""

    def problem(data: bytes) -> str:
        (found,) = problems_of(load(data))
        return found[1]

    shape, window = (1, 4, 4, 2), (2, 2)
    assert "same zero point" in problem(pool_model(op, shape, window, output=(0.1, 1)))
    assert "same zero point, and scales" in problem(pool_model(op, shape, window, output=(0.11, 0)))
    assert not problems_of(load(pool_model(op, shape, window, output=(0.1000005, 0))))
    b = ModelBuilder()
    x, y = b.tensor((4, 4, 2), "int8", 0.1), b.tensor((4, 4, 2), "int8", 0.1)
    b.op(op, [x], [y], "Pool2DOptions", filterHeight=2, filterWidth=2, strideH=1, strideW=1)
    assert "must have 4 dimensions" in problem(b.finish([x], [y]))
    b = ModelBuilder()
    x, y = b.tensor((1, 4, 4, 2), "int8", 0.1), b.tensor((1, 1, 1, 2), "int8", 0.1)
    b.op(op, [x], [y], "Pool2DOptions", padding=VALID, filterHeight=5, filterWidth=2, strideH=1, strideW=1)
    assert "smaller than the window, and the padded input" in problem(b.finish([x], [y]))
    b = ModelBuilder()
    x, y = b.tensor((1, 4, 4, 2), "uint8", 0.1), b.tensor((1, 4, 4, 2), "uint8", 0.1)
    b.op(op, [x], [y], "Pool2DOptions", filterHeight=2, filterWidth=2, strideH=1, strideW=1)
    assert "must be int8" in problem(b.finish([x], [y]))

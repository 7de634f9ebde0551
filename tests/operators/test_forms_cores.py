# SPDX-License-Identifier: Apache-2.0
"""Kernels of storage forms for instructions of some cores: they compute what the reference does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial, output_quant, spatials, weight_scales
from tests.forms import DRAWS, stored
from tests.laws import assert_equal, draw_inputs, load, run_c
from tests.operators import test_conv_2d, test_depthwise_conv_2d, test_fully_connected
from tests.operators.test_dsp import CORES, M4, assert_computes, assert_runs
from tests.operators.test_sparse_forms import NAMES, asking, convolution, matrix, refused, sparse
from tests.strategies import FEW, quants
from tests.test_overlap import placed
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.kernels import kernels_for, numbers_dsp
from tinygen.kernels.base import PLAIN, Kernel
from tinygen.lower import lower
from tinygen.reference import run
from tinygen.target import load_target

KERNELS = {
    "conv_2d/dsp_blocks",
    "conv_2d/dsp_pairs",
    "sparse/dsp_blocks",
    "fully_connected/dsp_codebook",
    "fully_connected/dsp_packed",
}


@contextmanager
def alone(feature: str = "dsp") -> Iterator[None]:
    """Within it, a storage form has only its kernels that require `feature`."""

    def offered(op: str) -> list[Kernel]:
        return [k for k in kernels_for(op) if k.form == PLAIN or feature in k.requires]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygen.selection.kernels_for", offered)
        yield


@st.composite
def in_blocks(draw: st.DrawFn) -> Graph:
    """A convolution or a dense layer with weights in blocks, some of few values, some filters without any."""
    seed, source = draw(st.integers(0, 2**32)), draw(quants())
    zeros, values = draw(st.sampled_from((0.3, 0.5, 0.8, 0.97))), draw(st.sampled_from((3, 127)))
    filters, channels = draw(st.integers(2, 9)), 4 * draw(st.integers(1, 6))
    scales = draw(weight_scales(filters))
    if draw(st.booleans()):
        s = draw(spatials(channels=channels))
        weights = sparse("blocks", (filters, *s.kernel, s.channels), seed, zeros, values)
    else:
        weights = sparse("blocks", (filters, channels * draw(st.integers(1, 12))), seed, zeros, values)
    if draw(st.booleans()) or refused("blocks", weights):
        weights[filters // 2 :] = 0
    target = draw(output_quant(source[0], scales, max(2, int(np.count_nonzero(weights) / filters))))
    if weights.ndim == 4:
        return asking(convolution(s, weights, seed, source, scales, target), "blocks")
    return asking(matrix(draw(st.integers(1, 3)), weights, source, scales, target), "blocks")


def dense(form: str, rows: int, weights: Array) -> Graph:
    """A dense layer with `weights` in `form`."""
    graph = load(test_fully_connected.simple((rows, weights.shape[1]), weights.shape, 0.01))
    (name,) = graph.constants.keys() & set(graph.nodes[0].inputs)
    return replace(graph, constants={**graph.constants, name: weights.astype(np.int8)}, storage={name: form})


@st.composite
def of_numbers(draw: st.DrawFn) -> Graph:
    """A dense layer with few values or few bits, in tables or on grids for all units or for some."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    depth, rows = draw(st.integers(8, 70)), draw(st.integers(1, 3))
    if draw(st.booleans()):
        groups, each = draw(st.integers(1, 2)), 4 * -(-2048 // (4 * depth))
        units = groups * each + (draw(st.integers(0, 3)) if groups == 1 else 0)
        tables = rng.integers(-128, 128, (groups, draw(st.integers(1, 16))))
        of_row = np.minimum(np.arange(units) // each, groups - 1)
        return dense("codebook", rows, tables[of_row[:, None], rng.integers(0, tables.shape[1], (units, depth))])
    units, levels = 2 * draw(st.integers(2, 9)), draw(st.sampled_from((1, 2, 3, 4, 5, 16)))
    step = rng.integers(1, 255 // max(1, levels - 1) + 1 if levels > 1 else 2, (units if draw(st.booleans()) else 1, 1))
    low = rng.integers(-128, 128 - step * (levels - 1))
    return dense("packed", rows, low + step * rng.integers(0, levels, (units, depth)))


FILES = st.tuples(*(in_blocks() for _ in range(6)), *(of_numbers() for _ in range(4)))


def edges() -> list[Graph]:
    """One, two and three windows; several bands; distances over 15; eight blocks and what is left of them; none."""
    quant, tried = ((0.1, -3), [0.02], (1.0, 3)), []
    shapes = [
        (Spatial((1, 1, 1, 8), (1, 1)), 2),
        (Spatial((2, 1, 2, 12), (1, 1)), 5),
        (Spatial((1, 14, 14, 48), (1, 1)), 4),
        (Spatial((1, 9, 7, 12), (3, 3), (2, 1), activation=1), 3),
        (Spatial((1, 6, 7, 8), (3, 2), dilation=(2, 2)), 4),
        (Spatial((1, 5, 6, 2), (2, 2), same=False), 3),
    ]
    for number, (s, filters) in enumerate(shapes):
        weights = sparse("blocks", (filters, *s.kernel, s.channels), number, 0.5, (127, 5)[number % 2])
        weights[-1] = 0
        scales = [0.01 * (1 + c) for c in range(filters)]
        tried.append(asking(convolution(s, weights, number, quant[0], scales, (1.0, 3)), "blocks"))
    few = [
        (Spatial((2, 5, 4, 12), (3, 3)), 19),
        (Spatial((1, 6, 6, 8), (3, 3), dilation=(1, 2)), 29),
        (Spatial((1, 7, 7, 28), (1, 1), activation=1), 74),
    ]
    for number, (s, filters) in enumerate(few):
        weights = np.random.default_rng(number).integers(0, 16, (filters, *s.kernel, s.channels)) * 17 - 128
        scales = [0.01] * filters
        form = ("codebook", "packed")[number % 2]
        tried.append(asking(convolution(s, weights, number, quant[0], scales, (4.0, 3)), form))
    counts = np.zeros((17, 16 * 17), int)
    for count, row in enumerate(counts):
        row[: 4 * count] = np.arange(4 * count) % 250 - 125
    far = np.zeros((4, 400), int)
    far[0, 396:], far[1, 100], far[2, :4], far[3, (64, 128, 196, 399)] = 5, -128, 127, -7
    for weights in (counts, far):
        tried.append(asking(matrix(2, weights, *quant), "blocks"))
    rng = np.random.default_rng(0)
    tried.append(dense("codebook", 2, rng.permutation(256)[:16][rng.integers(0, 16, (45, 47))] - 128))
    tried.append(dense("codebook", 2, np.repeat(rng.integers(-128, 128, (2, 16)), 32, 0)[:, np.arange(72) % 16]))
    tried.extend(dense("packed", 2, rng.integers(0, n, (6, 37)) * (255 // (n - 1)) - 128) for n in (16, 4, 2))
    return tried


def assert_computes_in_place(graphs: list[Graph], feature: str) -> None:
    """The portable form of the C computes what the reference does, the output as near to the input as may be."""
    sets = [draw_inputs(graph, 0) for graph in graphs]
    answers = run_c(graphs, sets, features=frozenset({feature}), planned=placed(lambda program: 0))
    for graph, inputs, outputs in zip(graphs, sets, answers, strict=True):
        for values, got in zip(inputs, outputs, strict=True):
            assert_equal(f"C of {graph.nodes[0].op} with {feature}", got, run(graph, values))


def test_edges() -> None:
    with alone():
        steps = [step for graph in edges() for step in lower(graph, M4).steps]
        assert {step.kernel for step in steps} >= KERNELS
        assert_computes_in_place(edges(), "dsp")


@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
def test_edges_on_a_core(core: str, tmp_path: Path) -> None:
    with alone():
        assert_runs(edges(), core, tmp_path, prefer=False)


@pytest.mark.parametrize("feature", ["dsp", "mve", "v6m"])
@settings(FEW, max_examples=1)
@given(graphs=FILES)
def test_laws(feature: str, graphs: tuple[Graph, ...]) -> None:
    with alone(feature):
        assert_computes(graphs, feature, prefer=False)


@pytest.mark.qemu
@pytest.mark.parametrize(("feature", "core"), [("dsp", "cortex-m4"), ("mve", "cortex-m55"), ("v6m", "cortex-m0")])
@settings(FEW, max_examples=1)
@given(drawn=st.lists(FILES, min_size=2, max_size=2))
def test_laws_on_a_core(
    feature: str, core: str, tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Graph, ...]]
) -> None:
    with alone(feature):
        graphs = [g for some in drawn for g in some]
        assert_runs(graphs, core, tmp_path_factory.mktemp("drawn"), feature, prefer=False)


def unpacked() -> list[Graph]:
    """For each form a convolution whose filters are unpacked two by two, the last alone, and a dense layer."""
    quant, rng, graphs = ((0.1, -3), [0.02], (1.0, 3)), np.random.default_rng(0), []
    for number, form in enumerate((*DRAWS, *NAMES)):
        depth = 116 if form == "blocks" else 28  # blocks of shorter filters are gathered with MVE
        files = [
            test_conv_2d.build(
                Spatial((1 + number % 2, 4, 5, depth), (3, 3), (1, 2), activation=1), 1, 5, number, *quant
            ),
            test_fully_connected.simple((1 + number % 2, 9 * depth), (6, 9 * depth), 0.01),
        ]
        for graph in map(load, files):
            if form in DRAWS:
                graphs.append(stored(graph, form, rng))
            else:
                name = graph.nodes[0].inputs[1]
                weights = sparse(form, graph.constants[name].shape, number, 0.6).astype(np.int8)
                graphs.append(asking(replace(graph, constants={**graph.constants, name: weights}), form))
    return graphs


@pytest.mark.qemu
@pytest.mark.parametrize(("feature", "core", "ops"), [("mve", "cortex-m55", 2), ("v6m", "cortex-m0", 1)])
def test_unpacked_for_other_cores(feature: str, core: str, ops: int, tmp_path: Path) -> None:
    """Weights that are unpacked for vectors and for Armv6-M, on the host and on a core."""
    graphs = [g for g in unpacked() if g.nodes[0].op in ("CONV_2D", "FULLY_CONNECTED")[:ops]]
    with alone(feature):
        kernels = {step.kernel for graph in graphs for step in lower(graph, load_target(core)).steps}
        wanted = {f"{op}/{feature}_{form}" for op in ("conv_2d", "fully_connected")[:ops] for form in (*DRAWS, *NAMES)}
        assert kernels - {"fully_connected/mve_gathered", "conv_2d/v6m_in_blocks"} == wanted - {"conv_2d/v6m_blocks"}
        assert_computes_in_place(graphs[::ops], feature)  # convolutions
        assert_runs(graphs, core, tmp_path, feature, prefer=False)


def in_blocks_where_zeros_are_skipped() -> list[Graph]:
    """Several bands, an odd number of windows; more than 64 filters, one of zeros; long distances; codes; one row."""
    quant, tried = ((0.1, -3), [0.02], (1.0, 3)), []
    shapes = [
        (Spatial((2, 5, 6, 12), (3, 3), (1, 2), activation=1), 3),
        (Spatial((1, 9, 7, 8), (3, 2), dilation=(2, 2)), 66),
        (Spatial((1, 7, 9, 64), (1, 1)), 5),
        (Spatial((1, 1, 3, 4), (1, 1)), 131),
        (Spatial((1, 3, 3, 84), (1, 1)), 3),
    ]
    for number, (s, filters) in enumerate(shapes):
        weights = sparse("blocks", (filters, *s.kernel, s.channels), number, 0.5, (127, 5)[number % 2])
        weights[-1] = 0
        weights[0, ..., : (s.channels == 84) * 80] = 0
        scales = [0.01 * (1 + c % 7) for c in range(filters)]
        tried.append(asking(convolution(s, weights, number, quant[0], scales, (1.0, 3)), "blocks"))
    for rows, units in ((1, 6), (2, 9), (5, 66)):
        tried.append(asking(matrix(rows, sparse("blocks", (units, 1024), rows, 0.6), *quant), "blocks"))
    for rows, units in ((1, 11), (2, 4)):
        weights = sparse("blocks", (units, 92), units, 0.0)
        weights[np.repeat(sparse("blocks", (-(-units // 4), 92), rows, 0.5) == 0, 4, axis=0)[:units]] = 0
        tried.append(asking(matrix(rows, weights, *quant), "blocks"))
    return tried


#: By feature: a core that has it, the operators whose kernels skip blocks, and these.
SKIPPING = {
    "mve": (
        "cortex-m55",
        {"CONV_2D", "FULLY_CONNECTED"},
        {
            "sparse/mve_blocks",
            "conv_2d/mve_in_blocks",
            "fully_connected/mve_in_blocks",
            "fully_connected/mve_tiles",
        },
    ),
    "v6m": (
        "cortex-m0",
        {"CONV_2D", "FULLY_CONNECTED"},
        {"conv_2d/v6m_in_blocks", "fully_connected/v6m_in_blocks"},
    ),
}


@pytest.mark.qemu
@pytest.mark.parametrize("feature", SKIPPING)
def test_blocks_on_a_core(feature: str, tmp_path: Path) -> None:
    core, ops, wanted = SKIPPING[feature]
    graphs = [graph for graph in in_blocks_where_zeros_are_skipped() if graph.nodes[0].op in ops]
    with alone(feature):
        kernels = {step.kernel for graph in graphs for step in lower(graph, load_target(core)).steps}
        assert kernels == wanted
        assert_computes_in_place(graphs, feature)
        assert_runs(graphs, core, tmp_path, feature, prefer=False)


@pytest.mark.qemu
def test_depthwise_on_cortex_m55(tmp_path: Path) -> None:
    """Weights that are unpacked into the order of lanes, of which the last ones are empty."""
    rng, quant, graphs = np.random.default_rng(0), ((0.1, -3), [0.02] * 20, (1.0, 3)), []
    for number, form in enumerate(DRAWS):
        s = Spatial((1 + number % 2, 5, 6, 20), (3 - number % 2, 3))
        graphs.append(stored(load(test_depthwise_conv_2d.build(s, 1, number, *quant)), form, rng))
    with alone("mve"):
        kernels = {step.kernel for graph in graphs for step in lower(graph, load_target("cortex-m55")).steps}
        assert kernels == {f"depthwise_conv_2d/mve_{form}" for form in DRAWS}
        assert_computes_in_place(graphs, "mve")
        assert_runs(graphs, "cortex-m55", tmp_path, "mve", prefer=False)


@pytest.mark.qemu
@pytest.mark.parametrize(("feature", "core"), [("mve", "cortex-m55"), ("v6m", "cortex-m0")])
def test_gathered_on_a_core(feature: str, core: str, tmp_path: Path) -> None:
    """Up to 16 values, in tables for all units or for some; units that are not four at last."""
    rng = np.random.default_rng(0)
    graphs = [dense("codebook", 1, rng.permutation(256)[:16][rng.integers(0, 16, (47, 95))] - 128)]
    graphs.append(dense("codebook", 2, np.repeat(rng.integers(-128, 128, (2, 16)), 32, 0)[:, np.arange(94) % 16]))
    graphs.append(dense("packed", 2, rng.integers(-8, 8, (31, 96))))
    with alone(feature):
        steps = [step for graph in graphs for step in lower(graph, load_target(core)).steps]
        assert {step.kernel for step in steps} == {f"fully_connected/{feature}_gathered"}
        assert_computes_in_place(graphs, feature)
        assert_runs(graphs, core, tmp_path, feature, prefer=False)


def test_numbers_in_pairs() -> None:
    """The pairs of a word's halves, lowest bits first, are numbers 0 and 2, 1 and 3, 4 and 6 of each unit."""
    numbers = np.arange(2 * 40).reshape(2, 40) % 4
    for bits, word in ((4, 8), (4, 32), (2, 32)):
        words = numbers_dsp.in_pairs(numbers, bits, word)
        pairs = [(w >> s, w >> (s + word // 2)) for w in words[1].tolist() for s in range(0, word // 2, bits)]
        flat = np.array(pairs) % 2**bits
        order = np.pad(numbers[1], (0, 4 * len(flat) // 2 - 40)).reshape(-1, 2, 2).swapaxes(1, 2).reshape(-1, 2)
        assert np.array_equal(flat, order)

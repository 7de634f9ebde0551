# SPDX-License-Identifier: Apache-2.0
"""Storage forms of weights: for each form and operator, the C computes what the reference and the plain kernel do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial, output_quant, weight_scales
from tests.forms import DRAWS, stored
from tests.laws import assert_equal, draw_inputs, load, run_c
from tests.operators import test_conv_2d, test_depthwise_conv_2d, test_fully_connected, test_transpose_conv
from tests.operators.test_sparse_forms import NAMES
from tests.strategies import FEW, quants
from tinygen.kernels import kernels_for
from tinygen.kernels.base import FORMS, PLAIN
from tinygen.lower import lower
from tinygen.ops.convolution import OPERANDS
from tinygen.reference import run
from tinygen.target import load_target

HOST = load_target("host")


@st.composite
def pointwise(draw: st.DrawFn) -> bytes:
    """A 1x1 convolution that visits every pixel once."""
    depth, filters = draw(st.integers(1, 33)), draw(st.integers(1, 20))
    source, scales = draw(quants()), draw(weight_scales(filters))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)), depth)
    target = draw(output_quant(source[0], scales, depth))
    return test_conv_2d.build(Spatial(shape, (1, 1)), 1, filters, draw(st.integers(0, 99)), source, scales, target)


#: One file for each operator that has forms, and more for those with several kernels.
FILES = st.tuples(
    test_conv_2d.models(),
    test_conv_2d.models(),
    pointwise(),
    test_depthwise_conv_2d.models(),
    test_depthwise_conv_2d.models(),
    test_fully_connected.models(),
    test_fully_connected.models(),
    test_transpose_conv.models(),
)


def test_every_form_is_tried() -> None:
    assert {*DRAWS, *NAMES, PLAIN} == {kernel.form for op in OPERANDS for kernel in kernels_for(op)} <= set(FORMS)


@pytest.mark.parametrize("form", DRAWS)
@settings(FEW, max_examples=2)
@given(files=FILES, seed=st.integers(0, 2**32))
def test_laws(form: str, files: tuple[bytes, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    graphs = [stored(load(data), form, rng) for data in files]
    for graph in graphs:
        wanted = set(graph.storage.values()) or {PLAIN}
        assert {step.form for step in lower(graph, HOST).steps} == wanted, graph.nodes[0].op
    plain = [replace(graph, storage={}) for graph in graphs]
    sets = [draw_inputs(graph, seed) for graph in graphs]
    answers = run_c([*graphs, *plain], [*sets, *sets])
    for graph, inputs, stored_c, plain_c in zip(graphs, sets, answers, answers[len(graphs) :], strict=False):
        for values, got, same in zip(inputs, stored_c, plain_c, strict=True):
            expected = run(graph, values)
            assert_equal(f"C of {graph.nodes[0].op}, {form}", got, expected)
            assert_equal(f"C of {graph.nodes[0].op}, however chosen", same, expected)


BITS = [*((bits, "codebook") for bits in (1, 2, 3, 4, 5, 6)), *((bits, "packed") for bits in (1, 2, 4, 5))]


@FEW
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=len(BITS), max_size=len(BITS)), st.data())
def test_products_while_looking_up(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    """Dense layers of few rows whose numbers of whole bits fill whole bytes are never unpacked."""
    rng, graphs = np.random.default_rng(data.draw(st.integers(0, 2**32))), []
    for index, (more, units) in enumerate(sizes):
        bits, form = BITS[index]
        step = {1: 8, 2: 4, 3: 8, 4: 2, 5: 8, 6: 4}[bits]  # so many fill whole bytes
        depth, scales = (-(-(2**bits) // step) + more) * step, data.draw(weight_scales(units))
        file = test_fully_connected.simple((1 + index % 2, depth), (units, depth), scales, [0] * len(scales))
        numbers = np.stack([rng.permutation(np.arange(depth) % 2**bits) for _ in range(units)])
        table = rng.permutation(np.arange(-128, 128)) if form == "codebook" else np.arange(256) * 7 - 100
        graph = load(file)
        name = graph.nodes[0].inputs[1]
        constants = {**graph.constants, name: table[numbers].astype(np.int8)}
        graphs.append(replace(graph, constants=constants, storage={name: form}))
    kernels = [step.kernel for graph in graphs for step in lower(graph, HOST).steps]
    assert kernels == [f"fully_connected/{form}_{'' if 1 < bits < 5 else 'rare_'}dot" for bits, form in BITS]
    sets = [draw_inputs(graph, 0) for graph in graphs]
    for graph, inputs, answers in zip(graphs, sets, run_c(graphs, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal("C of FULLY_CONNECTED, looked up", got, run(graph, values))


@FEW
@given(st.lists(st.tuples(st.integers(60, 120), st.integers(9, 12)), min_size=8, max_size=8), st.data())
def test_products_while_decoding(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    """Dense layers of few rows with runs of zeros in Huffman codes, which go on from one unit to the next."""
    rng, graphs = np.random.default_rng(data.draw(st.integers(0, 2**32))), []
    for index, (depth, units) in enumerate(sizes):
        file = test_fully_connected.simple((1 + index // 6, depth), (units, depth), data.draw(st.floats(0.01, 0.1)))
        graph = load(file)
        name = graph.nodes[0].inputs[1]
        values = rng.choice([-128, -3, 5, 127], (units, depth))
        weights = np.where(rng.random(values.shape) < (0.8, 0.9, 0.98, 1.0)[index % 4], 0, values)
        graphs.append(replace(graph, constants={name: weights.astype(np.int8)}, storage={name: "entropy"}))
    kernels = {step.kernel for graph in graphs for step in lower(graph, HOST).steps}
    assert kernels == {"fully_connected/entropy_dot"}
    sets = [draw_inputs(graph, 0) for graph in graphs]
    for graph, inputs, answers in zip(graphs, sets, run_c(graphs, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal("C of FULLY_CONNECTED, decoded", got, run(graph, values))

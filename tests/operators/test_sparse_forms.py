# SPDX-License-Identifier: Apache-2.0
"""The sparse forms of weights: what is packed, what the C makes of it, which form is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial, bias_tensor, output_quant, spatials, weight_scales
from tests.laws import assert_equal, draw_inputs, load, run_c
from tests.operators import test_depthwise_conv_2d, test_transpose_conv
from tests.strategies import FEW, MANY, quants
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.kernels.base import FORMS
from tinygen.kernels.sparse import FORMS as SPARSE
from tinygen.kernels.sparse import launch
from tinygen.lower import Optimize
from tinygen.ops import call_of
from tinygen.reference import run
from tinygen.selection import select
from tinygen.target import load_target
from tinygen.verify.build_dir import read_build
from tinygen.verify.qemu import run_qemu

HOST = load_target("host")
NAMES = tuple(form.name for form in SPARSE)


def sparse(form: str, shape: tuple[int, ...], seed: int, zeros: float = 0.6, values: int = 127) -> Array:
    """Random weights [filters, ...] of the structure that `form` stores: about so many zeros, so many values."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(rng.permutation(np.arange(1, 128))[:values], shape) * rng.choice((-1, 1), shape)
    rows = rows.reshape(shape[0], -1)
    if form == "n_of_m":
        for row in rows:
            for start in range(0, len(row), 4):
                group = row[start : start + 4]
                group[rng.permutation(len(group))[1 if zeros > 0.7 else 2 :]] = 0
    else:
        block = 4 if form == "blocks" else 1
        rows.reshape(-1, block)[rng.random(rows.size // block) < zeros] = 0
    return rows.reshape(shape)


def convolution(s: Spatial, weights: Array, seed: int, source: Any, scales: list[float], target: Any) -> Graph:
    b, filters = ModelBuilder(), len(weights)
    x, w = b.tensor(s.shape, "int8", *source), b.tensor(weights.shape, "int8", scales, 0, weights)
    y = b.tensor((s.shape[0], *s.output, filters), "int8", *target)
    b.op("CONV_2D", [x, w, bias_tensor(b, seed, source[0], scales, filters)], [y], "Conv2DOptions", **s.options)
    return load(b.finish([x], [y]))


def matrix(rows: int, weights: Array, source: Any, scales: list[float], target: Any, zero: int = 0) -> Graph:
    b, (units, depth) = ModelBuilder(), weights.shape
    x, w = b.tensor((rows, depth), "int8", *source), b.tensor(weights.shape, "int8", scales, zero, weights)
    y = b.tensor((rows, units), "int8", *target)
    b.op("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
    return load(b.finish([x], [y]))


def asking(graph: Graph, form: str) -> Graph:
    """`graph`, of one node, with its weights in `form`."""
    return replace(graph, storage={graph.nodes[0].inputs[1]: form})


def dense(weights: Array, zero: int = 0, rows: int = 1) -> Graph:
    return matrix(rows, weights, (0.05, 3), [0.01], (0.5, -7), zero)


def refused(name: str, weights: Array) -> bool:
    """Whether too many weights are not 0 for a form."""
    (form,) = (form for form in SPARSE if form.name == name)
    return form.share(weights.reshape(len(weights), -1)) > form.limit


@st.composite
def graphs(draw: st.DrawFn, form: str) -> Graph:
    """A CONV_2D or FULLY_CONNECTED whose weights have the structure that `form` stores, and that asks for it."""
    seed, source = draw(st.integers(0, 2**32)), draw(quants())
    zeros, values = draw(st.sampled_from((0.3, 0.5, 0.8, 0.97, 1.0))), draw(st.sampled_from((1, 3, 8, 127)))
    filters, step = draw(st.integers(1, 9)), 4 if form == "blocks" else 1
    scales = draw(weight_scales(filters))
    if draw(st.booleans()):
        s = draw(spatials(channels=step * draw(st.integers(1, 8 // step))))
        weights = sparse(form, (filters, *s.kernel, s.channels), seed, zeros, values)
    else:
        weights = sparse(form, (filters, step * draw(st.integers(1, 70 // step))), seed, zeros, values)
    if refused(form, weights):
        weights[filters // 2 :] = 0
    target = draw(output_quant(source[0], scales, max(2, int(np.count_nonzero(weights) / filters))))
    if weights.ndim == 4:
        return asking(convolution(s, weights, seed, source, scales, target), form)
    return asking(matrix(draw(st.integers(1, 4)), weights, source, scales, target), form)


def chosen(graph: Graph, optimize: Optimize = "balanced") -> str:
    """The form in which the weights of the only node lie."""
    (choice,) = select(graph, HOST, optimize).values()
    return choice.kernel.form


@pytest.mark.parametrize("form", NAMES)
@settings(FEW, max_examples=2)
@given(st.data(), st.integers(0, 2**32))
def test_laws(form: str, data: st.DataObject, seed: int) -> None:
    """The C equals the reference, which knows nothing of forms, wherever the form stores the weights."""
    tried = data.draw(st.lists(graphs(form), min_size=9, max_size=9))
    assert {chosen(graph) for graph in tried} == {form}
    sets = [draw_inputs(graph, seed) for graph in tried]
    for graph, inputs, answers in zip(tried, sets, run_c(tried, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal(f"C of {graph.nodes[0].op} as {form} against reference", got, run(graph, values))


WINDOWS = (
    Spatial((1, 3, 4, 4), (3, 3)),
    Spatial((2, 5, 4, 4), (2, 3), stride=(2, 1)),
    Spatial((1, 5, 5, 4), (3, 2), dilation=(1, 2)),
    Spatial((1, 2, 1, 4), (4, 5), stride=(1, 2)),
    Spatial((1, 5, 3, 4), (1, 1), stride=(2, 2)),
    Spatial((2, 3, 5, 4), (2, 2), same=False),
)


def test_windows() -> None:
    """Padding on every side, strides, dilations, windows larger than the image; with and without few values."""
    tried = []
    for number in range(12):
        form, s = NAMES[number % len(NAMES)], WINDOWS[number % len(WINDOWS)]
        weights = sparse(form, (3, *s.kernel, s.channels), number, 0.5, (127, 3)[number // 2 % 2])
        scale = 0.01 * np.sqrt(weights[0].size)
        tried.append(asking(convolution(s, weights, number, (0.02, 9), [0.01] * 3, (scale, -3)), form))
    sets = [draw_inputs(graph, 0) for graph in tried]
    for graph, inputs, answers in zip(tried, sets, run_c(tried, sets), strict=True):
        assert chosen(graph) in graph.storage.values()
        for values, got in zip(inputs, answers, strict=True):
            assert_equal(f"C of CONV_2D as {chosen(graph)}", got, run(graph, values))


@FEW
@given(
    st.lists(st.one_of(test_depthwise_conv_2d.models(), test_transpose_conv.models()), min_size=9, max_size=9),
    st.integers(0, 2**32),
)
def test_bitmaps_that_are_unpacked(files: list[bytes], seed: int) -> None:
    """Operators that read a bitmap weight by weight."""
    tried = [with_bitmap(load(data), seed + index) for index, data in enumerate(files)]
    assert {chosen(graph) for graph in tried} == {"bitmap"}
    sets = [draw_inputs(graph, seed) for graph in tried]
    for graph, inputs, answers in zip(tried, sets, run_c(tried, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal(f"C of {graph.nodes[0].op} with a bitmap", got, run(graph, values))


def with_bitmap(graph: Graph, seed: int) -> Graph:
    """`graph` with a share of its weights, from half of them to all, set to 0, which asks for a bitmap."""
    rng, name = np.random.default_rng(seed), graph.nodes[0].inputs[1]
    weights = graph.constants[name].copy()
    weights.reshape(-1)[rng.permutation(weights.size)[: -(-weights.size * rng.integers(2, 5) // 4)]] = 0
    return replace(graph, constants={**graph.constants, name: weights}, storage={name: "bitmap"})


# --- Packing, against a decoder that goes by what the templates say -------------------------------------------------


def bits(packed: Array, width: int) -> Iterator[int]:
    """Numbers of `width` bits, the lowest bit first, one byte after the other."""
    stream = [int(byte) >> i & 1 for byte in packed for i in range(8)]
    for start in range(0, len(stream) - width + 1, width):
        yield sum(bit << i for i, bit in enumerate(stream[start : start + width]))


def numbers(params: Any, count: int) -> list[int]:
    """The codes of all stored values."""
    stream, base, digits = params["codes.bytes"], params["codes.base"], params["codes.digits"]
    if digits:
        return [int(byte) // base**i % base for byte in stream for i in range(digits)][:count]
    return list(bits(stream, params["codes.bits"]))[:count]


def values_of(params: Any, counts: list[int]) -> list[list[int]]:
    """The stored values of each filter."""
    values = params["values"]
    if params["coded"]:
        assert params["coded"] >= max(counts)
        values = values[numbers(params, sum(counts))]
    assert len(values) == sum(counts)
    return [some.tolist() for some in np.split(values, np.cumsum(counts)[:-1])]


def unpacked(form: str, params: Any) -> Array:
    """The weights [filters, depth] out of the fields of a kernel's struct."""
    filters, depth = params["filters"], params["depth"]
    counts = params["counts"].tolist() if "counts" in params else [params["count"]] * filters
    rows, at = np.zeros((filters, depth), int), 0
    for c, values in enumerate(values_of(params, counts)):
        if form == "bitmap":
            size = params["mask_bytes"]
            places = [i for i, bit in enumerate(bits(params["mask"][c * size : (c + 1) * size], 1)) if bit]
        elif form == "n_of_m":
            size = (params["count"] + 3) // 4
            twos = bits(params["places"][c * size : (c + 1) * size], 2)
            per_group = 1 if params["hop"] == 4 else 2
            places = [4 * (i // per_group) + next(twos) for i in range(len(values))]
        else:
            block = 4 if form == "blocks" else 1
            size = len(values) // block // 2
            jumps = np.cumsum(list(bits(params["gaps"][at : at + size], 4)))
            places, at = [int(j) * block + i for j in jumps for i in range(block)], at + size
        assert len(places) == len(values)
        for place, value in zip(places, values, strict=True):
            rows[c, place] += value
    return rows


@pytest.mark.parametrize("form", SPARSE, ids=NAMES)
@MANY
@given(st.data())
def test_packing_round_trip(form: Any, data: st.DataObject) -> None:
    """Every weight comes back; no stored place lies outside its row."""
    step = 4 if form.name == "blocks" else 1
    shape = (data.draw(st.integers(1, 6)), step * data.draw(st.integers(1, 300 // step)))
    zeros, values = data.draw(st.sampled_from((0.0, 0.4, 0.9, 0.99, 1.0))), data.draw(st.sampled_from((1, 7, 30, 127)))
    weights = sparse(form.name, shape, data.draw(st.integers(0, 2**32)), zeros, values)
    graph = dense(weights)
    (made,) = launch(form, values < 127, call_of(graph, graph.nodes[0]))
    assert np.array_equal(unpacked(form.name, made.params), weights)


# --- Which is chosen ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", NAMES)
def test_a_large_layer_gets_the_smallest_form(form: str) -> None:
    zeros = {"bitmap": 0.5, "gaps": 0.92, "n_of_m": 0.5, "blocks": 0.5}[form]
    graph = dense(sparse(form, (64, 256), 0, zeros))
    assert chosen(graph) == form
    small = dense(sparse(form, (4, 16), 0, zeros))
    assert chosen(small) == "plain", "the kernel's code is larger than what it saves"


def test_balanced_takes_a_little_less_flash_where_it_costs_no_instructions() -> None:
    few, slow = dense(sparse("blocks", (64, 256), 0, 0.25)), dense(sparse("bitmap", (64, 256), 0, 0.3))
    assert [chosen(few), chosen(slow)] == ["blocks", "plain"] and chosen(slow, "size") != "plain"


def test_speed_takes_what_skips_most() -> None:
    shape = (16, 256)
    assert chosen(dense(sparse("bitmap", shape, 0, 0.3)), "speed") == "plain"
    assert chosen(dense(sparse("bitmap", shape, 0, 0.9)), "speed") == "gaps"
    assert chosen(dense(sparse("blocks", shape, 0, 0.5)), "speed") == "blocks"
    assert chosen(dense(sparse("n_of_m", shape, 0, 0.5)), "speed") == "n_of_m"


def test_codebooks_where_they_are_smaller() -> None:
    """Few values are stored as indices, and pruned weights that share values take less than either alone."""

    def launch_of(weights: Array) -> Any:
        (choice,) = select(asking(dense(weights), "bitmap"), HOST, "balanced").values()
        return choice.launches[0].params

    shared, many = launch_of(sparse("bitmap", (64, 256), 0, 0.7, 8)), launch_of(sparse("bitmap", (64, 256), 0, 0.7))
    assert (shared["codes.bits"], many["coded"]) == (4, 0)
    assert shared["codes.bytes"].nbytes < 0.52 * many["values"].nbytes


def test_refusals() -> None:
    """Where a form does not fit it is not taken, even if asked for: dense weights, other zeros, groups, half blocks."""
    full = np.full((8, 16), 3)
    assert [chosen(asking(dense(full), form)) for form in NAMES] == ["plain"] * 4
    empty = np.zeros((8, 16), int)
    assert [chosen(asking(dense(empty, zero=1), form)) for form in NAMES] == ["plain"] * 4
    assert [chosen(asking(dense(empty), form)) for form in NAMES] == list(NAMES)
    assert chosen(asking(dense(np.zeros((8, 18), int)), "blocks")) == "plain"
    grouped = convolution(Spatial((1, 4, 4, 8), (1, 1)), np.zeros((4, 1, 1, 4), int), 0, (0.1, 0), [0.1], (1.0, 0))
    assert [chosen(asking(grouped, form)) for form in NAMES] == ["plain"] * 4


def test_forms_are_described() -> None:
    assert set(NAMES) <= set(FORMS)


# --- Cortex-M -------------------------------------------------------------------------------------------------------


def every_kind() -> Graph:
    """For each form a 3x3 convolution with few values, a 1x1 one, and a dense layer."""
    b, q = ModelBuilder(), ("int8", 0.1, 5)
    x = at = b.tensor((1, 3, 4, 16), *q)
    storage, step = {}, {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    layers = [(form, shape, n) for form in NAMES for shape, n in (((12, 3, 3, 16), 5), ((16, 1, 1, 12), 127))]
    for form, shape, values in [*layers, *((form, (192, 192), 8) for form in NAMES)]:
        w = b.tensor(shape, "int8", 0.001, 0, sparse(form, shape, 1, 0.5, values), name=f"{form} {shape}")
        storage[f"{form} {shape}"] = form
        y = b.tensor((1, 3, 4, shape[0]) if len(shape) == 4 else (1, 192), *q)
        if len(shape) == 4:
            b.op("CONV_2D", [at, w], [y], "Conv2DOptions", **step)
        else:
            b.op("FULLY_CONNECTED", [at, w, -1], [y], "FullyConnectedOptions")
        at = y
    return replace(load(b.finish([x], [at])), storage=storage)


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m4", "cortex-m55"])
def test_on_cores(target: str, tmp_path: Path) -> None:
    """Every form on a core; of these M0 refuses access that is not aligned."""
    graph = every_kind()
    built = api.build(graph, target, without=("dead-channels",))  # whose removal would shift fours of inputs
    assert [layer["form"] for layer in built.report["layers"]] == [*(f for f in NAMES for _ in range(2)), *NAMES]
    sets = draw_inputs(graph, 0)
    done = run_qemu(read_build(built.write(tmp_path)), sets, load_target(target))
    for values, got in zip(sets, done.outputs, strict=True):
        assert_equal(target, got, run(graph, values))

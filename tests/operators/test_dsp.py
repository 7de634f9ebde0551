# SPDX-License-Identifier: Apache-2.0
"""Kernels for the DSP extension: they compute what the reference does, in their portable form and on Cortex-M."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial, integers, output_quant, spatials, weight_scales
from tests.forms import DRAWS, stored
from tests.laws import assert_equal, draw_inputs, load, run_c
from tests.operators import test_conv_2d, test_depthwise_conv_2d, test_fully_connected
from tests.strategies import FEW, quants
from tests.tflite_builder import ModelBuilder
from tinygen import api, toolchain
from tinygen.ir.graph import Graph
from tinygen.kernels import dsp, kernels_for
from tinygen.kernels.base import PLAIN, Kernel
from tinygen.kernels.doubled import DOUBLED
from tinygen.kernels.lean import lean_kernels_for
from tinygen.layout import laid_out
from tinygen.lower import lower
from tinygen.reference import run
from tinygen.room import Worth, living
from tinygen.selection import Optimize, select, variants
from tinygen.target import load_target
from tinygen.verify.build_dir import read_build
from tinygen.verify.qemu import run_qemu
from tinygen.verify.turns import joined

CORES = ("cortex-m4", "cortex-m7", "cortex-m33")
M4 = load_target("cortex-m4")
#: Kernels of layers that run a few rows at a time.
LEAN = ("conv_2d/dsp_quads", "depthwise_conv_2d/dsp_direct")
#: For rows of few pixels.
FIVES = ("conv_2d/dsp_fives", "depthwise_conv_2d/dsp_padded")
#: Where there is even less memory.
LEANEST = ("conv_2d/dsp_twos",)


@st.composite
def convolutions(draw: st.DrawFn) -> bytes:
    """Any window, also one that reaches over several bands of output pixels; sums that are scaled down."""
    s, filters = draw(spatials(max_channels=17)), draw(st.integers(2, 9))
    source, scales = draw(quants()), draw(weight_scales(filters))
    target = draw(output_quant(source[0], scales, s.kernel[0] * s.kernel[1] * s.channels))
    return test_conv_2d.build(s, 1, filters, draw(st.integers(0, 2**32)), source, scales, target)


@st.composite
def depthwise(draw: st.DrawFn) -> bytes:
    """Half of them with windows of 3x3, which have a kernel within the kernel."""
    s = draw(spatials(channels=draw(st.integers(4, 33))))
    if draw(st.booleans()):
        s = Spatial((*s.shape[:1], 7, 9, s.channels), (3, 3), s.stride, (s.dilation[0], 1), s.same, s.activation)
    source, scales = draw(quants()), draw(weight_scales(s.channels))
    target = draw(output_quant(source[0], scales, s.kernel[0] * s.kernel[1]))
    return test_depthwise_conv_2d.build(s, 1, draw(st.integers(0, 2**32)), source, scales, target)


FILES = st.tuples(
    convolutions(), convolutions(), convolutions(), convolutions(), depthwise(), depthwise(), depthwise(),
    test_fully_connected.models(), test_fully_connected.models(), test_fully_connected.models(),
)  # fmt: skip


def edges() -> list[bytes]:
    """Shapes on the kernels' limits: windows that end with the image, bands, one window, excess values, dilations."""
    quant = (0.1, -3), [0.02], (1.0, 3)
    shapes = [
        (Spatial((1, 5, 7, 3), (3, 3), same=False), 4),
        (Spatial((2, 9, 8, 3), (3, 3), (2, 2)), 3),
        (Spatial((1, 1, 1, 7), (1, 1)), 2),
        (Spatial((2, 1, 2, 5), (1, 1)), 2),
        (Spatial((1, 12, 12, 64), (1, 1)), 5),
        (Spatial((1, 6, 6, 33), (3, 3), activation=3), 7),
        (Spatial((1, 10, 9, 4), (3, 3), dilation=(2, 2)), 4),
        (Spatial((1, 7, 9, 6), (2, 3), dilation=(1, 3), same=False), 4),
        (Spatial((1, 25, 5, 1), (10, 4), (2, 2), activation=1), 6),
        (Spatial((1, 4, 3, 2), (5, 5)), 5),
        (Spatial((2, 1, 5, 64), (1, 1)), 6),
        (Spatial((1, 3, 5, 20), (3, 3)), 3),
        (Spatial((1, 3, 3, 8), (3, 3), activation=1), 2),
    ]
    deep = [
        Spatial((1, 7, 5, 4), (3, 3)),
        Spatial((2, 6, 6, 11), (3, 3), (2, 2), activation=3),
        Spatial((1, 9, 9, 40), (3, 3), dilation=(2, 1)),
        Spatial((1, 4, 7, 5), (3, 3), dilation=(1, 2)),
        Spatial((1, 2, 3, 9), (3, 3)),
        Spatial((1, 6, 4, 8), (3, 3), (2, 2)),
        Spatial((1, 1, 8, 4), (3, 3), dilation=(3, 1)),
        Spatial((1, 4, 30, 64), (3, 3), same=False),
        Spatial((1, 1, 1, 6), (5, 4), activation=1),
    ]
    dense = [((1, 8), (4, 8)), ((3, 23), (7, 23)), ((1, 64), (12, 64))]
    return [
        *(test_conv_2d.build(s, 1, filters, 5, *quant) for s, filters in shapes),
        *(test_depthwise_conv_2d.build(s, 1, 5, *quant) for s in deep),
        *(test_fully_connected.simple(shape, weights, 0.01) for shape, weights in dense),
    ]


@contextmanager
def preferred(feature: str = "dsp", without: str = "", lean: Collection[str] = ()) -> Iterator[None]:
    """Within it, kernels that require `feature` are chosen wherever they can be, but none of the template `without`.

    Those of `lean` (templates), which otherwise are only where memory counts most, come first.
    """

    def offered(op: str) -> list[Kernel]:
        plain = [k for k in kernels_for(op) if k.form == PLAIN and k.template != without]
        known = [replace(k, speed=0.1 if lean else 0.0) if feature in k.requires else k for k in plain]
        return [*known, *(replace(k, speed=0.0) for k in lean_kernels_for(op) if k.template in lean)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygen.selection.kernels_for", offered)
        yield


def assert_computes(graphs: Sequence[Graph], feature: str = "dsp", prefer: bool = True) -> None:
    """The portable form of the C, under sanitizers, computes what the reference does."""
    sets = [draw_inputs(graph, 0) for graph in graphs]
    with preferred(feature) if prefer else nullcontext():
        outputs = run_c(graphs, sets, features=frozenset({feature}))
    for graph, inputs, answers in zip(graphs, sets, outputs, strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal(f"C of {graph.nodes[0].op} with {feature}", got, run(graph, values))


def assert_runs(graphs: Sequence[Graph], core: str, folder: Path, feature: str = "dsp", prefer: bool = True) -> None:
    """One program that holds all `graphs` computes the same on a core, and warns of nothing."""
    graph = joined(graphs)
    sets = draw_inputs(graph, 0)
    with preferred(feature) if prefer else nullcontext():
        built = api.build(graph, core, optimize="speed")
    done = run_qemu(read_build(built.write(folder)), sets, load_target(core))
    assert done.warnings == ""
    for values, got in zip(sets, done.outputs, strict=True):
        assert_equal(f"C for {core}", got, run(graph, values))


def ties() -> list[Graph]:
    """Of each kernel, a layer with small weights and a multiplier of 1/8: one sum in eight ends in a half."""
    quant, rng, graphs = ((0.5, -3), [0.25], (1.0, 3)), np.random.default_rng(0), []
    for data in (
        test_conv_2d.build(Spatial((1, 6, 6, 4), (3, 3)), 1, 4, 5, *quant),
        test_depthwise_conv_2d.build(Spatial((1, 6, 6, 8), (3, 3)), 1, 5, *quant),
        test_depthwise_conv_2d.build(Spatial((1, 6, 6, 8), (2, 3)), 1, 5, *quant),
        test_fully_connected.simple((3, 32), (24, 32), 0.25),
    ):
        graph = load(data)
        name = graph.nodes[0].inputs[1]
        weights = rng.integers(-2, 3, graph.constants[name].shape).astype(np.int8)
        graphs.append(replace(graph, constants={**graph.constants, name: weights}))
    return graphs


@settings(FEW, max_examples=2)
@given(FILES)
def test_laws(files: tuple[bytes, ...]) -> None:
    assert_computes([*ties(), *(load(data) for data in files)])


#: Of two kernels of this extension, the one that needs no memory.
RAW = "fully_connected/dsp_raw"


def test_edges() -> None:
    graphs = [load(data) for data in edges()]
    with preferred():
        kernels = {step.kernel for graph in graphs for step in lower(graph, M4).steps}
    assert kernels == {"conv_2d/dsp", "depthwise_conv_2d/dsp", RAW}
    assert_computes(graphs)
    with preferred(without=RAW):
        assert_computes([graph for graph in graphs if graph.nodes[0].op == "FULLY_CONNECTED"], prefer=False)


@settings(FEW, max_examples=1)
@given(st.lists(st.one_of(convolutions(), depthwise()), min_size=8, max_size=8))
def test_little_memory(drawn: list[bytes]) -> None:
    graphs = [load(data) for data in (*drawn, *edges())]
    graphs = [*ties(), *(graph for graph in graphs if graph.nodes[0].op != "FULLY_CONNECTED")]
    for lean in (LEAN, FIVES, LEANEST):
        with preferred(lean=lean), tempfile.TemporaryDirectory() as folder:
            assert set(lean) <= {step.kernel for graph in graphs for step in lower(graph, M4).steps}
            assert_computes(graphs, prefer=False)
            assert_runs(graphs, "cortex-m4", Path(folder), prefer=False)


@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
def test_edges_on_a_core(core: str, tmp_path: Path) -> None:
    assert_runs([load(data) for data in edges()], core, tmp_path)


@pytest.mark.qemu
@settings(FEW, max_examples=2)
@given(st.lists(FILES, min_size=3, max_size=3))
def test_laws_on_cortex_m4(tmp_path_factory: pytest.TempPathFactory, files: list[tuple[bytes, ...]]) -> None:
    drawn = [load(data) for some in files for data in some]
    assert_runs([*ties(), *drawn], "cortex-m4", tmp_path_factory.mktemp("drawn"))


@pytest.mark.parametrize("options", [["-O0"], ["-Os", "-fno-omit-frame-pointer"], ["-O3", "-fstack-protector-all"]])
def test_assembly_leaves_registers_enough(options: list[str], tmp_path: Path) -> None:
    """Inline assembly that asks for more registers than there are does not compile."""
    for number, lean in enumerate(((), LEAN, FIVES, LEANEST)):
        with preferred(lean=lean):
            built = api.build(joined([load(data) for data in edges()]), "cortex-m4")
        folder = built.write(tmp_path / str(number))
        command = [toolchain.find_cross(), *M4.cflags, *toolchain.CFLAGS, *options, "-Werror"]
        toolchain.run([*command, "-c", folder / "joined.c", "-o", tmp_path / "out.o"])


def test_every_multiplier_is_asked() -> None:
    """Sums that are scaled up are not for these kernels: their requantization only shifts right."""
    spatial = Spatial((1, 4, 4, 4), (3, 3))
    up = test_conv_2d.build(spatial, 1, 2, 0, (0.5, 0), [0.5, 4.0], (1.0, 0))
    assert lower(load(up), M4).steps[0].kernel == "conv_2d/portable"
    down = test_conv_2d.build(spatial, 1, 2, 0, (0.5, 0), [0.5, 0.9], (1.0, 0))
    assert lower(load(down), M4).steps[0].kernel == "conv_2d/dsp"


@contextmanager
def doubled() -> Iterator[None]:
    """Within it, no kernel is offered but the one that finds the weights of convolutions widened in flash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygen.selection.kernels_for", lambda op: [replace(DOUBLED[0], accepts=dsp.accepts)])
        yield


@pytest.mark.qemu
def test_doubled_weights(tmp_path: Path) -> None:
    """On the host and on Cortex-M4."""
    graphs = [graph for graph in (*ties(), *map(load, edges())) if graph.nodes[0].op == "CONV_2D"]
    with doubled():
        assert {step.kernel for graph in graphs for step in lower(graph, M4).steps} == {"conv_2d/dsp_doubled"}
        assert_computes(graphs, prefer=False)
        assert_runs(graphs, "cortex-m4", tmp_path, prefer=False)


@pytest.mark.parametrize("optimize, kernel", [("speed", "conv_2d/dsp_doubled"), ("balanced", "conv_2d/dsp")])
def test_weights_are_doubled_for_speed_alone(optimize: Optimize, kernel: str) -> None:
    """Where they are few beside the image, and no more than half of its bytes."""
    quant = (0.1, -3), [0.02], (1.0, 3)
    few = load(test_conv_2d.build(Spatial((1, 40, 40, 16), (3, 3)), 1, 16, 5, *quant))
    many = load(test_conv_2d.build(Spatial((1, 4, 4, 16), (3, 3)), 1, 16, 5, *quant))
    assert [step.kernel for step in laid_out(few, M4, optimize)[1].steps] == [kernel]
    assert [step.kernel for step in laid_out(many, M4, optimize)[1].steps] == ["conv_2d/dsp"]


@pytest.mark.parametrize("form", DRAWS)
@settings(FEW, max_examples=1)
@given(FILES)
def test_forms(form: str, files: tuple[bytes, ...]) -> None:
    """Weights that are unpacked for these kernels, on the host and on Cortex-M4."""
    rng = np.random.default_rng(0)
    graphs = [stored(load(data), form, rng) for data in (*files, *edges())]
    graphs = [graph for graph in graphs if graph.nodes[0].op != "FULLY_CONNECTED"]

    def offered(op: str) -> list[Kernel]:
        return [k for k in kernels_for(op) if k.form == PLAIN or "dsp" in k.requires]

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr("tinygen.selection.kernels_for", offered)
        steps = [step for graph in graphs for step in lower(graph, M4).steps]
        assert {f"conv_2d/dsp_{form}", f"depthwise_conv_2d/dsp_{form}"} <= {step.kernel for step in steps}
        assert_computes(graphs, prefer=False)
        assert_runs(graphs, "cortex-m4", Path(folder), prefer=False)


def chain() -> Graph:
    """Convolutions of 24x24x8, of 24x24x8 and of 6x6x8 outputs; the first is also added to the second."""
    b, quant = ModelBuilder(), ("int8", 0.1, 0)
    x = b.tensor((1, 24, 24, 8), *quant)
    w = [b.tensor((8, 3, 3, 8), "int8", 0.01, 0, integers(seed, (8, 3, 3, 8))) for seed in range(3)]
    first, second, both = (b.tensor((1, 24, 24, 8), *quant) for _ in range(3))
    last = b.tensor((1, 6, 6, 8), *quant)
    near = Spatial((1, 24, 24, 8), (3, 3)).options
    b.op("CONV_2D", [x, w[0]], [first], "Conv2DOptions", **near)
    b.op("CONV_2D", [first, w[1]], [second], "Conv2DOptions", **near)
    b.op("ADD", [first, second], [both], "AddOptions")
    b.op("CONV_2D", [both, w[2]], [last], "Conv2DOptions", **Spatial((1, 24, 24, 8), (3, 3), (4, 4)).options)
    return load(b.finish([x], [last]))


def test_what_lives_while_a_node_runs() -> None:
    size = 24 * 24 * 8
    live = list(living(chain()).values())
    assert [one.bytes for one in live] == [2 * size, 2 * size, 3 * size, size + 6 * 6 * 8]
    assert [one.dying for one in live] == [{0}, set(), {0, 1}, {0}]


def test_memory_is_taken_where_there_is_room() -> None:
    """Where others need more in any case, convolutions take what makes them faster; least of all under `ram`."""
    laid = {o: laid_out(chain(), M4, o) for o in get_args(Optimize)}
    taken = {o: layout.bytes for o, (_, _, layout) in laid.items()}
    assert min(taken["speed"], taken["balanced"]) >= taken["ram"]
    graph, program, _ = laid["balanced"]
    lean = {name: variants(c, M4, "balanced")[0].scratch for name, c in select(graph, M4, "balanced").items()}
    for step in (step for step in program.steps if step.op == "CONV_2D"):
        assert sum(buffer.bytes for buffer in step.scratch) > lean[step.outputs[0]]


def test_what_memory_is_worth() -> None:
    ways = [(1000, 110.0), (2000, 102.0), (4000, 100.0), (500, 111.0)]
    assert [Worth(weight).best(ways) for weight in (0.0, 0.05, 0.2, 10.0)] == [2, 1, 0, 0]
    table = {"a": [(10, 5.0), (100, 4.0)], "b": [(50, 100.0), (60, 99.0)]}
    assert [Worth(weight).peak(table) for weight in (0.0, 10.0)] == [100, 50]
    assert Worth(1.0).peak({}) == 0

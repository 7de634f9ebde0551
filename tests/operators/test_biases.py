# SPDX-License-Identifier: Apache-2.0
"""Biases of 8 and 16 bits: every kernel that reads them computes what the reference does, here and on cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial
from tests.forms import stored
from tests.laws import assert_equal, draw_inputs, load, run_c, run_texts
from tests.operators import (
    test_conv_2d,
    test_depthwise_conv_2d,
    test_fully_connected,
    test_mve,
    test_sparse_forms,
    test_transpose_conv,
)
from tests.operators.test_dsp import FIVES, LEAN, LEANEST, assert_computes, assert_runs, depthwise, edges, preferred
from tests.small_models import dense_layers
from tests.strategies import FEW
from tinygen.compress.biases import with_bias
from tinygen.emit.shared import emit_shared
from tinygen.ir.graph import Graph
from tinygen.ir.types import Quant
from tinygen.kernels.base import NARROW
from tinygen.kernels.biases import STRUCTS, TYPES, fits, struct_of, unit_of
from tinygen.layout import laid_out
from tinygen.lower import lower
from tinygen.narrow import narrowed, widened
from tinygen.ops import call_of
from tinygen.ops.convolution import OPERANDS, bias_of, input_of
from tinygen.quantize.assign import bias_quant
from tinygen.reference import run
from tinygen.target import load_target

HOST = load_target("host")
#: Of the weights of dense layers.
SCALE = np.array([0.01])


@pytest.fixture(params=list(TYPES))
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An element type which is the only one, whatever it saves."""
    monkeypatch.setattr("tinygen.narrow.TYPES", {request.param: TYPES[request.param]})
    monkeypatch.setattr("tinygen.narrow.CODE", -(10**6))
    return str(request.param)


def fitting(graph: Graph, kind: str) -> Graph:
    """The layers of `graph` with biases that fit `kind`, whatever a kernel folds into them, and asked for in few bits.

    The inputs' zero points are 0; kernels for Armv6-M fold multiples of 128 into biases, for which int8 is too small.
    """
    for node in [n for n in graph.nodes if n.op in OPERANDS and graph.constants.get(n.inputs[1]) is not None]:
        name, call = node.inputs[OPERANDS[node.op].input], call_of(graph, node)
        tensor = replace(graph.types[name], quant=Quant.per_tensor(input_of(call).q.scale, 0))
        graph, channels = replace(graph, types={**graph.types, name: tensor}), call.output.shape[-1]
        before = np.broadcast_to(bias_of(call), (channels,))
        unit = 128 if kind == "int16" else max(1, -(-int(np.abs(before).max()) // 127))
        bias = (np.rint(before / unit) * unit).astype(np.int32)
        scales = np.asarray(call.input(OPERANDS[node.op].weights).q.scales)
        graph = with_bias(graph, node, bias, bias_quant(tensor.q.scale, scales))
    return graph


def structs(graphs: Sequence[Graph], core: str = "host") -> set[str]:
    """Those of which programs for `graphs` have biases in few bits."""
    return {struct for graph in graphs for struct in lower(graph, load_target(core)).narrow}


FILES = st.tuples(
    test_conv_2d.models(),
    depthwise(),
    test_fully_connected.models(),
    test_fully_connected.models(),
    test_transpose_conv.models(),
)


@settings(FEW, max_examples=1)
@given(files=FILES, seed=st.integers(0, 2**32))
def test_laws(kind: str, files: tuple[bytes, ...], seed: int) -> None:
    """Plain, and with weights that are unpacked or looked up."""
    rng, plain = np.random.default_rng(seed), [load(data) for data in files]
    graphs = [
        fitting(g, kind) for g in (*plain, *(stored(g, form, rng) for g in plain for form in ("codebook", "entropy")))
    ]
    sets = [draw_inputs(graph, seed) for graph in graphs]
    for graph, inputs, answers in zip(graphs, sets, run_c(graphs, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal(f"C of {graph.nodes[0].op} with biases of {kind}", got, run(graph, values))


def sparse_layers(kind: str) -> list[Graph]:
    """Layers whose products pass over zeros."""
    kinds = []
    for form in test_sparse_forms.NAMES:
        weights = test_sparse_forms.sparse(form, (8, 64), 1)
        kinds.append(test_sparse_forms.asking(test_sparse_forms.dense(weights), form))
    weights, quant = test_sparse_forms.sparse("blocks", (8, 1, 1, 64), 1), ((0.1, -3), [0.02] * 8, (1.0, 3))
    convolution = test_sparse_forms.convolution(Spatial((1, 3, 5, 64), (1, 1)), weights, 1, *quant)
    kinds.append(test_sparse_forms.asking(convolution, "blocks"))
    return [fitting(graph, kind) for graph in kinds]


def layers(kind: str) -> list[Graph]:
    """One of each loop over channels."""
    quant = (0.1, -3), [0.02], (1.0, 3)
    files = [
        test_conv_2d.build(Spatial((1, 5, 7, 3), (3, 3), same=False), 1, 5, 5, *quant),
        test_conv_2d.build(Spatial((1, 5, 7, 3), (3, 3), same=False), 1, 5, 5, *quant[:2], (0.001, 3)),  # scaled up
        test_depthwise_conv_2d.build(Spatial((1, 7, 5, 4), (3, 3)), 1, 5, *quant),
        test_depthwise_conv_2d.build(Spatial((1, 5, 6, 5), (2, 3)), 1, 5, *quant),
        test_fully_connected.simple((1, 23), (7, 23), 0.01),
    ]
    return [fitting(load(data), kind) for data in files]


CORES = [("host", "", ""), ("cortex-m4", "dsp", ""), ("cortex-m55", "mve", "")]
V6M = [("cortex-m0", "v6m", "fully_connected/v6m_four"), ("cortex-m0", "v6m", "fully_connected/v6m")]


def test_every_struct(kind: str) -> None:
    """The portable C of all kernels; for each struct there is a layer that has it."""
    graphs = layers(kind)
    seen = structs(sparse_layers(kind)) | {"transpose_conv"}  # of which test_laws draws some
    for core, feature, without in CORES + V6M * (kind == "int16"):
        with preferred(feature, without):
            seen |= structs(graphs, core)
            if feature:
                assert_computes(graphs, feature, prefer=False)
    assert seen == {s for s in STRUCTS if kind == "int16" or "v6m" not in s}


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("kind", "core", "feature"),
    [
        ("int8", "cortex-m4", "dsp"),
        ("int8", "cortex-m55", "mve"),
        ("int16", "cortex-m55", "mve"),
        ("int16", "cortex-m0", "v6m"),
    ],
    indirect=["kind"],
)
def test_on_cores(kind: str, core: str, feature: str, tmp_path: Path) -> None:
    graphs = [fitting(load(data), kind) for data in (test_mve.edges() if feature == "mve" else edges())]
    assert_runs(graphs, core, tmp_path / "plain", feature)
    assert_runs(sparse_layers(kind), core, tmp_path / "sparse", prefer=False)
    if feature == "dsp":
        for lean in (LEAN, FIVES, LEANEST):
            with preferred(lean=lean):
                assert_computes(graphs, prefer=False)
                assert_runs(graphs, core, tmp_path / lean[0], prefer=False)


def asking(seed: int, unit: int = 5) -> Graph:
    """Dense layers of which the first has a bias that asks for few bits, and all fit 16."""
    graph = load(dense_layers((16, 40, 30, 9)), f"m{seed}")
    rng = np.random.default_rng(seed)
    for node in graph.nodes:
        call = call_of(graph, node)
        sums = call.constant(1).astype(np.int64).sum(axis=1)  # times the zero point of the input, -5
        bias = (rng.integers(-3000, 3000, sums.size) * unit - 5 * sums).astype(np.int32)
        graph = with_bias(graph, node, bias, bias_quant(0.1, np.array([0.01])))
    return graph


def test_units_and_sizes() -> None:
    """What is stored, times its unit, is what kernels read of int32; and int32 it is again if that is asked for."""
    graph = asking(0)
    plain = lower(replace(graph, storage={}), HOST)
    few = lower(graph, HOST)
    assert plain.narrow == {} and few.narrow == {"fully_connected": "int16"}
    assert (
        plain.constant_bytes - few.constant_bytes
        == 2 * (40 + 30 + 9)
        == sum(a.constant_bytes - b.constant_bytes for a, b in zip(plain.steps, few.steps, strict=True))
    )
    arrays, before = ({c.name: c.values for c in p.constants} for p in (few, plain))
    for step, old in zip(few.steps, plain.steps, strict=True):
        (call,), (usual,) = step.invocations, old.invocations
        stored_as = arrays[str(call.params["bias"])].astype(np.int64) * int(call.params["bias_unit"])
        assert call.params["bias_unit"] == 5
        assert np.array_equal(stored_as, before[str(usual.params["bias"])])
    assert [c.values.tolist() for c in widened(few).constants] == [c.values.tolist() for c in plain.constants]
    assert lower(replace(graph, storage={}), HOST, "size").narrow == few.narrow
    assert narrowed(plain).narrow == few.narrow


def test_few_biases_stay_as_they_are() -> None:
    """Reading them would take more than is saved."""
    graph = load(dense_layers((6, 8, 5, 4)))
    assert lower(graph, HOST, "size").narrow == {}


def test_one_firmware_has_one_type() -> None:
    """A model with few bits beside one that needs more, and beside one of another unit."""
    graphs, texts = [asking(0), asking(1), asking(2), asking(3, 9)], list[dict[str, str]]()
    graphs[1] = with_bias(graphs[1], graphs[1].nodes[1], np.arange(30, dtype=np.int32) * 77_777, bias_quant(0.1, SCALE))
    graphs = [replace(graph, name=f"m{index}") for index, graph in enumerate(graphs)]
    for first in (0, 2):
        files = emit_shared(f"pair{first}", [laid_out(g, HOST, "balanced")[1:] for g in graphs[first : first + 2]], [])
        assert ("bias_unit" in files[f"pair{first}.c"]) == (first == 2)
        texts += [{**files, f"m{first}.c": files[f"pair{first}.c"]}, {f"m{first + 1}.c": "typedef int nothing;\n"}]
        del texts[first][f"pair{first}.c"]
    sets = [draw_inputs(graph, 0) for graph in graphs]
    for graph, inputs, answers in zip(graphs, sets, run_texts(graphs, texts, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal("in one firmware", got, run(graph, values))


def test_structs_of_fields() -> None:
    assert struct_of("conv_2d_codebook", "plain.bias") == "conv_2d"
    assert struct_of("conv_2d_v6m_codebook", "plain.bias") == "conv_2d_v6m"
    assert struct_of("fully_connected_v6m_four", "bias") == "fully_connected_v6m_four"
    assert struct_of("conv_2d_dsp_packed", "plain.down.bias") == "down"
    assert struct_of("fully_connected_mve", "matrix.output.bias") == "mve_output"
    assert struct_of("mean", "bias") is None and struct_of("conv_2d", "weights") is None


def test_units() -> None:
    for values, unit in (([0, 0], 1), ([6, -9], 3), ([127 * 300, -300], 300), ([7], 7)):
        assert unit_of(np.array(values, np.int32)) == unit
    assert fits(np.array([127 * 300, -300]), "int8") and not fits(np.array([128 * 300, -300]), "int8")
    assert fits(np.array([-(2**31), 0]), "int8") and not fits(np.array([32768, 1]), "int16")
    assert NARROW not in TYPES

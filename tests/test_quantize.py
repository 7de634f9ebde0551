# SPDX-License-Identifier: Apache-2.0
"""Quantization after training: every operator has a rule, what is folded keeps its meaning, int8 keeps the accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tests import odd_models, small_models, zoo
from tests.differential.corpus import supported
from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen import frontends
from tinygen.batch import run_batch
from tinygen.errors import ModelError, UnsupportedError, UsageError
from tinygen.ir import store
from tinygen.ir.graph import Attrs, Graph, Node
from tinygen.ir.types import Array, DType, Quant, TensorType
from tinygen.ops import Activation, all_ops, call_of
from tinygen.ops.convolution import OPERANDS, ConvAttrs, real_bias
from tinygen.ops.limits import check_float, check_graph, is_float
from tinygen.ops.split import SplitAttrs
from tinygen.quantize import Options, quantize, with_float_ports
from tinygen.quantize.assign import assign
from tinygen.quantize.calibrate import Statistics, calibrate
from tinygen.quantize.choose import least_harm
from tinygen.quantize.equalize import equalize
from tinygen.quantize.groups import group
from tinygen.quantize.layers import columns, rows, uncolumned
from tinygen.quantize.prepare import prepare as prepare_on
from tinygen.quantize.ranges import METHODS, fake, quant_of
from tinygen.quantize.report import compare as report_of
from tinygen.quantize.report import inputs_of
from tinygen.quantize.rounding import Fit, by_columns, descend, fitted_scales
from tinygen.reference import run, run_all, run_real

REAL = DType.FLOAT32
CONVERSIONS = {"CAST", "DEQUANTIZE", "LOOKUP", "QUANTIZE", "SHAPE"}


# --- Rules --------------------------------------------------------------------------------------------------------


def in_float(graph: Graph) -> Graph:
    """An int8 network as the float network that it approximates."""
    types, constants = dict(graph.types), dict(graph.constants)
    for node in graph.nodes:
        where = OPERANDS.get(node.op)
        if where is not None and len(node.inputs) > where.bias and node.inputs[where.bias]:
            name = node.inputs[where.bias]
            values: list[Any] = [None] * len(node.inputs)
            constants[name] = real_bias(call_of(graph, node), values).astype(np.float32)
            types[name] = TensorType(constants[name].shape, REAL)
    for name, tensor in graph.types.items():
        if tensor.dtype is DType.INT8:
            types[name] = TensorType(tensor.shape, REAL)
            if name in constants:
                constants[name] = tensor.dequantize(constants[name]).astype(np.float32)
    return replace(graph, types=types, constants=constants)


def networks() -> Iterator[tuple[str, Graph]]:
    """Float networks that use, together, every operator that the corpus uses."""
    covered: set[str] = set()
    for name, data in supported():
        graph = load(data)
        found = {node.op for node in graph.nodes}
        if not found & CONVERSIONS and not found <= covered:
            covered |= found
            yield name, in_float(graph)


def draw(graph: Graph, count: int, seed: int = 0) -> list[list[Array]]:
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=graph.types[n].shape).astype(np.float32) for n in graph.inputs] for _ in range(count)]


def single(op: str, *constants: Array, attrs: Attrs | None = None, first: Array | None = None) -> Graph:
    """A float graph of one node that reads x [1,4,4,4] and `constants` (`first`: one before x)."""
    names = [f"c{i}" for i in range(len(constants))]
    types = {"x": TensorType((1, 4, 4, 4), REAL), "y": TensorType((1,), REAL)}
    values = dict(zip(names, constants, strict=True))
    inputs = ("x", *names)
    if first is not None:
        values["first"], inputs = first, ("first", "x")
    types |= {n: TensorType(v.shape, DType.of(v)) for n, v in values.items()}
    node = Node("node", op, inputs, ("y",), attrs or all_ops()[op].attrs())
    if op == "SPLIT":
        node, types["z"] = replace(node, outputs=("y", "z")), types["y"]
    rough = Graph("g", ("x",), node.outputs, (node,), types, values)
    inferred = all_ops()[op].infer(call_of(rough, node))
    exact = {n: TensorType(*signature) for n, signature in zip(node.outputs, inferred, strict=True)}
    return replace(rough, types={**types, **exact})


def integers(*values: Any) -> Array:
    return np.array(values, np.int32)


#: Operators that the corpus lacks and that are more than a function of one value.
SINGLE = {
    "ARG_MIN": lambda: single("ARG_MIN", integers(3)[0]),
    "BATCH_TO_SPACE_ND": lambda: replace_batch(),
    "EXPAND_DIMS": lambda: single("EXPAND_DIMS", integers(1)),
    "PADV2": lambda: single("PADV2", integers((0, 0), (1, 1), (2, 0), (0, 0)), np.array([-2.0], np.float32)),
    "POW": lambda: single("POW", np.array([2.0], np.float32)),
    "SPACE_TO_DEPTH": lambda: single("SPACE_TO_DEPTH"),
    "SPLIT": lambda: single("SPLIT", first=integers(3)[0], attrs=SplitAttrs(2)),
}


def replace_batch() -> Graph:
    return single("BATCH_TO_SPACE_ND", integers(1, 1), integers((1, 0), (0, 1)))


def test_every_operator_has_a_rule_that_leads_to_int8() -> None:
    covered = set[str]()
    for name, graph in networks():
        check_float(graph)
        made = quantize(graph, draw(graph, 4), Options(rounding="bias"))
        check_graph(made.graph)
        assert all(np.isfinite(layer.activations) for layer in made.report.layers), name
        covered |= {node.op for node in graph.nodes}
    for op in set(all_ops()) - covered - CONVERSIONS:
        graph = SINGLE[op]() if op in SINGLE else single(op)
        samples = draw(graph, 8)
        made = quantize(graph, [[np.abs(v) + np.float32(0.5) for v in s] for s in samples])
        check_graph(made.graph)
        assert min(made.report.outputs.values(), default=99) > 25, op


def test_float_nodes_are_held_to_the_shapes_of_int8_nodes() -> None:
    graph = single("TRANSPOSE", integers(0, 2, 1, 3))
    wrong = replace(graph, constants={"c0": integers(0, 0, 1, 3)})
    with pytest.raises(UnsupportedError, match=r"node 'node' \(TRANSPOSE\): The order of dimensions must list each"):
        check_float(wrong)


# --- Preparation --------------------------------------------------------------------------------------------------


def layer(activation: Activation = Activation.NONE, padding: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Graph:
    """x [1,5,5,2] through CONV_2D 'c' with three 3x3 filters."""
    rng = np.random.default_rng(1)
    constants = {"w": rng.normal(size=(3, 3, 3, 2)).astype(np.float32), "b": rng.normal(size=3).astype(np.float32)}
    side = 3 + padding[0] + padding[1]
    types = {"x": TensorType((1, 5, 5, 2), REAL), "c": TensorType((1, side, side, 3), REAL)}
    types |= {n: TensorType(v.shape, REAL) for n, v in constants.items()}
    node = Node("c", "CONV_2D", ("x", "w", "b"), ("c",), ConvAttrs(padding=padding, activation=activation))
    return Graph("g", ("x",), ("c",), (node,), types, constants)


def after(graph: Graph, op: str, value: Any = None, attrs: Attrs | None = None) -> Graph:
    """`graph` with one more operator, with a constant of this value if any, whose output has the same shape."""
    name, last = f"{graph.outputs[0]}{op[0].lower()}", graph.outputs[0]
    types, constants, inputs = dict(graph.types), dict(graph.constants), [last]
    types[name] = types[last]
    if value is not None:
        constants[f"{name}:k"] = np.asarray(value, np.float32)
        types[f"{name}:k"] = TensorType(np.shape(value), REAL)
        inputs.append(f"{name}:k")
    node = Node(name, op, tuple(inputs), (name,), attrs or all_ops()[op].attrs())
    return Graph("g", graph.inputs, (name,), (*graph.nodes, node), types, constants)


def prepare(graph: Graph) -> Graph:
    return prepare_on(graph, draw(graph, 1)[0])


def same_meaning(before: Graph, now: Graph) -> None:
    for sample in draw(before, 3):
        for name in before.outputs:
            assert np.allclose(run_real(before, sample)[name], run_real(now, sample)[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_a_normalization_and_its_activation_become_part_of_the_layer(padding: tuple[int, int, int, int]) -> None:
    normalized = after(after(layer(padding=padding), "MUL", [0.5, -2, 1]), "ADD", [1, 0.1, -3])
    before = after(after(normalized, "SUB", 0.25), "RELU6")
    now = prepare(before)
    assert [(n.op, getattr(n.attrs, "activation", None)) for n in now.nodes] == [("CONV_2D", Activation.RELU6)]
    same_meaning(before, now)


def test_clamps_meet() -> None:
    before = after(after(layer(), "MAXIMUM", 0), "MINIMUM", 6)
    now = prepare(before)
    assert [getattr(n.attrs, "activation", None) for n in now.nodes] == [Activation.RELU6]
    same_meaning(before, now)
    assert [n.op for n in prepare(after(layer(), "MAXIMUM", 0.5)).nodes] == ["CONV_2D", "MAXIMUM"]


@pytest.mark.parametrize(
    "op, value, padding, left",
    [
        ("MUL", [3, -0.5], (1, 1, 1, 1), ["CONV_2D"]),
        ("ADD", [3, -0.5], (0, 0, 0, 0), ["CONV_2D"]),
        ("ADD", [3, -0.5], (1, 1, 1, 1), ["ADD", "CONV_2D"]),
    ],
)
def test_what_stands_before_a_layer(op: str, value: list[float], padding: Any, left: list[str]) -> None:
    graph = layer(padding=padding)
    types = {**graph.types, "u": graph.types["x"], "k": TensorType((2,), REAL)}
    first = Node("first", op, ("u", "k"), ("x",), all_ops()[op].attrs())
    constants = {**graph.constants, "k": np.array(value, np.float32)}
    before = Graph("g", ("u",), ("c",), (first, *graph.nodes), types, constants)
    now = prepare(before)
    assert [n.op for n in now.nodes] == left
    same_meaning(before, now)


def test_what_others_read_is_not_folded() -> None:
    graph = after(layer(), "MUL", [0.5, -2, 1])
    shared = replace(graph, outputs=("c", "cm"))
    assert [n.op for n in prepare(shared).nodes] == ["CONV_2D", "MUL"]


def test_a_layer_that_clamps_keeps_what_follows() -> None:
    before = after(layer(Activation.RELU), "ADD", [1.0, 2.0, 3.0])
    assert [n.op for n in prepare(before).nodes] == ["CONV_2D", "ADD"]


# --- Scales -------------------------------------------------------------------------------------------------------


def two_branches() -> Graph:
    """CONCATENATION of LOGISTIC(x), whose scale is fixed, and of RELU(x)."""
    shape = TensorType((1, 2, 2, 3), REAL)
    types = {n: shape for n in ("x", "p", "r")} | {"y": TensorType((1, 2, 2, 6), REAL)}
    concatenation = all_ops()["CONCATENATION"].attrs(axis=3)
    nodes = (
        Node("p", "LOGISTIC", ("x",), ("p",)),
        Node("r", "RELU", ("x",), ("r",)),
        Node("y", "CONCATENATION", ("p", "r"), ("y",), concatenation),
    )
    return Graph("g", ("x",), ("y",), nodes, types, {})


def test_inputs_that_must_share_a_scale_are_requantized_or_share() -> None:
    graph = two_branches()
    samples = [[8 * v for v in s] for s in draw(graph, 4)]
    made = quantize(graph, samples).graph
    assert [n.op for n in made.nodes] == ["LOGISTIC", "RELU", "QUANTIZE", "CONCATENATION"]
    assert made.types["r"].quant == made.types["y"].quant != made.types["p"].quant
    assert made.types["p"].quant == Quant((1 / 256,), (-128,))
    check_graph(made)


def test_a_constant_output_is_quantized_too() -> None:
    graph = layer()
    made = quantize(replace(graph, outputs=("c", "b")), draw(graph, 2)).graph
    assert made.types["b"].dtype is DType.INT8
    close = made.types["b"].dequantize(made.constants["b"]) - graph.constants["b"]
    assert np.max(np.abs(close)) <= made.types["b"].q.scale


def test_weights_must_be_numbers() -> None:
    graph = layer()
    broken = replace(graph, constants={**graph.constants, "b": np.full(3, np.inf, np.float32)})
    with pytest.raises(ModelError, match="tensor 'b' holds weights that are not finite"):
        quantize(broken, draw(graph, 1))


def test_channels_of_unlike_size_are_equalized() -> None:
    def dense(name: str, source: str) -> Node:
        return Node(name, "FULLY_CONNECTED", (source, f"{name}:w"), (name,), attrs(activation=relu))

    attrs, relu = all_ops()["FULLY_CONNECTED"].attrs, Activation.RELU
    rng = np.random.default_rng(0)
    sizes = 2.0 ** np.arange(-3, 3)
    constants = {
        "a:w": (rng.normal(size=(6, 4)) * sizes[:, None]).astype(np.float32),
        "b:w": (rng.normal(size=(5, 6)) / sizes).astype(np.float32),
    }
    types = {n: TensorType((1, k), REAL) for n, k in (("x", 4), ("a", 6), ("b", 5))}
    types |= {n: TensorType(v.shape, REAL) for n, v in constants.items()}
    graph = Graph("g", ("x",), ("b",), (dense("a", "x"), dense("b", "a")), types, constants)
    samples = draw(graph, 32)
    equal = equalize(graph, samples)
    same_meaning(graph, equal)
    ratios = [quantize(graph, samples, Options(equalize=e)).report.outputs["b"] for e in (False, True)]
    assert ratios[1] > ratios[0] + 3


def test_zero_is_exact_and_the_range_covers_what_was_seen() -> None:
    for low, high in ((0.0, 6.0), (-1.0, 2.0), (-5.0, -1.0), (3.0, 4.0), (0.0, 0.0)):
        quant = quant_of(low, high)
        assert fake(np.zeros(1), quant)[0] == 0
        ends = np.array([low, high])
        assert np.all(np.abs(fake(ends, quant) - ends) <= quant.scale * 0.51)


def test_outliers_are_given_up_where_that_pays() -> None:
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(size=100_000), [60.0])
    counts, _ = np.histogram(values, 2048)
    stats = Statistics(float(values.min()), float(values.max()), counts.astype(float))
    errors = {
        n: float(np.mean((fake(values, quant_of(*method(stats))) - values) ** 2)) for n, method in METHODS.items()
    }
    assert METHODS["minmax"](stats) == (stats.low, stats.high)
    assert errors["mse"] < errors["minmax"]
    assert METHODS["percentile"](stats)[1] < 10
    assert METHODS["entropy"](stats)[1] < 60


def test_samples_that_were_not_seen_speak_for_a_margin() -> None:
    """A tail like that of exponential values: the largest of many lies beyond that of the few that ranges are from."""
    graph = single("RELU")
    values = np.random.default_rng(0).exponential(size=(80, 1, 4, 4, 4)).astype(np.float32)
    values[3] *= 1.12 * values[:40].max() / values[3].max()
    samples = [[v] for v in values]
    groups = group(graph)
    statistics = {n: s.statistics(slice(40, None)) for n, s in calibrate(groups, samples).items()}
    seen = METHODS["minmax"](statistics["x"])
    assert seen[1] < METHODS["margin"](statistics["x"])[1] < 1.2 * seen[1]
    assert set(least_harm(groups, statistics, samples[3:4]).values()) == {"margin"}
    assert set(least_harm(groups, statistics, [[0.5 * v] for v in values[3:4]]).values()) != {"margin"}


def problem(seed: int = 0, depth: int = 12) -> tuple[Fit, Array]:
    """What a dense layer of 5 filters should fit, and the inputs [500, depth] it is from, which hang together."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(500, depth)) @ rng.normal(size=(depth, depth))
    weights = rng.normal(size=(1, 5, depth))
    return Fit.of(weights, (inputs.T @ inputs)[None] / len(inputs), np.full((1, 5), 0.1)), inputs


def cost(fit: Fit, integers: Array, inputs: Array) -> float:
    """The squared error of the layer's outputs."""
    return float(np.sum(((integers * fit.scales[:, :, None] - fit.weights)[0] @ inputs.T) ** 2))


def test_weights_fitted_to_their_inputs_beat_nearest_ones() -> None:
    total = np.zeros(3)
    for seed in range(5):
        fit, inputs = problem(seed)
        total += [cost(fit, q, inputs) for q in (fit.nearest(), by_columns(fit), descend(fit, by_columns(fit)))]
    assert total[1] < 0.7 * total[0] and total[2] < total[1]


def test_descent_ends_where_no_weight_can_do_better() -> None:
    fit, _ = problem(depth=6)
    found = descend(fit, fit.nearest())
    assert np.all(found == np.rint(found)) and np.abs(found).max() <= 127
    least = fit.cost(found * fit.scales[:, :, None])
    assert np.all(least <= fit.cost(fit.nearest() * fit.scales[:, :, None]))
    for index in range(6):
        for move in (-1, 1):
            other = found.copy()
            other[:, :, index] += move
            assert np.all(fit.cost(other * fit.scales[:, :, None]) >= least - 1e-12)


def test_descent_finds_the_best_of_all_integers_of_two_weights() -> None:
    fit, _ = problem(depth=2)
    found = fit.cost(descend(fit, by_columns(fit)) * fit.scales[:, :, None])
    near = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 2), axis=-1).reshape(-1, 1, 1, 2)
    every = [fit.cost((fit.nearest() + move) * fit.scales[:, :, None]) for move in near]
    assert np.all(found <= np.min(every, axis=0) * 1.5 + 1e-12)


def test_a_weight_that_hardly_matters_is_clipped() -> None:
    fit, _ = problem()
    weights, moments = fit.weights.copy(), fit.moments.copy()
    weights[:, 0, 3] = 30.0
    moments[:, 3] = moments[:, :, 3] = 0.0
    moments[:, 3, 3] = 1e-6
    largest = (np.abs(weights).max(axis=2) / 127).astype(np.float32).astype(np.float64)
    rough = Fit(weights, moments, largest)
    scales = fitted_scales(rough, np.zeros((1, 5)))
    assert scales[0, 0] < 0.75 * rough.scales[0, 0] and np.all(scales <= rough.scales)
    assert np.all(scales == scales.astype(np.float32))
    assert np.array_equal(fitted_scales(rough, rough.scales), rough.scales)


@pytest.mark.parametrize("shape", [(4, 3, 2, 1), (3, 3, 2, 2), (1, 3, 2, 4)])
def test_rows_times_columns_is_the_layer(shape: tuple[int, ...]) -> None:
    op = "DEPTHWISE_CONV_2D" if shape[0] == 1 else "CONV_2D"
    rng = np.random.default_rng(0)
    weights, image = rng.normal(size=shape), rng.normal(size=(2, 5, 6, 2))
    attrs = ConvAttrs(stride=(2, 1), dilation=(1, 2), padding=(1, 0, 2, 1))
    filters = shape[0] if op == "CONV_2D" else shape[3]
    types = {
        "x": TensorType(image.shape, REAL),
        "w": TensorType(shape, REAL),
        "y": TensorType((2, 2, 7, filters), REAL),
    }
    node = Node("y", op, ("x", "w"), ("y",), attrs)
    graph = Graph("g", ("x",), ("y",), (node,), types, {"w": weights.astype(np.float32)})
    call = call_of(graph, node)
    assert all_ops()[op].infer(call)[0][0] == (2, 2, 7, filters)
    found = rows(call, image)
    by_group = columns(op, weights, found.shape[1])
    assert np.array_equal(uncolumned(op, by_group, shape), weights)
    expected = np.asarray(all_ops()[op].real(call, [image, weights])[0]).reshape(-1, filters)
    assert np.allclose(np.einsum("pgd,gfd->pgf", found, by_group).reshape(-1, filters), expected)
    some = rows(call, image, 5)
    assert len(some) == 5 and all(np.any(np.all(np.isclose(found, row), axis=(1, 2))) for row in some)


def test_many_samples_at_once_are_what_each_is_alone() -> None:
    for name, graph in networks():
        with np.errstate(all="ignore"):
            compare_with_single(name, graph, draw(graph, 3), run_real)
    rng = np.random.default_rng(0)
    for name, data in list(supported())[::8]:
        graph = load(data)
        kinds = [(graph.types[n].shape, graph.types[n].dtype) for n in graph.inputs]
        samples = [
            [rng.integers(*((-128, 128) if d is DType.INT8 else (0, 3)), s).astype(d.numpy) for s, d in kinds]
            for _ in range(3)
        ]
        compare_with_single(name, graph, samples, run_all)


def compare_with_single(name: str, graph: Graph, samples: list[list[Array]], alone: Any) -> None:
    together = run_batch(graph, samples)
    for index, sample in enumerate(samples):
        values = alone(graph, sample)
        for tensor, found in together.items():
            expected = values[tensor]
            assert found[index].shape == expected.shape, (name, tensor)
            if alone is run_all:
                assert np.array_equal(found[index], expected), (name, tensor)
            else:
                room = 1e-9 * np.abs(expected).max(initial=0.0)
                assert np.allclose(found[index], expected, rtol=1e-9, atol=room, equal_nan=True), (name, tensor)


def test_the_report_names_what_lost_most() -> None:
    graph = after(layer(), "RELU")
    samples = draw(graph, 8)
    quant = {"x": quant_of(-4, 4), "c": quant_of(-1.0, 0.5), "cr": quant_of(0, 9)}
    groups = group(graph)
    made = assign(groups, {groups.of[n]: q for n, q in quant.items()})
    report = report_of(graph, made, samples)
    exact = np.stack([run_real(graph, s)["c"] for s in samples])
    got = np.stack([run_all(made, inputs_of(made, s))["c"] for s in samples])
    lost = made.types["c"].dequantize(got) - exact
    first = report.layers[0]
    assert first.name == "c" and first.activations == pytest.approx(10 * np.log10(np.sum(exact**2) / np.sum(lost**2)))
    step = quant["c"].scale / 2
    assert first.clipped == pytest.approx(np.mean((exact < -1.0 - 2 * step) | (exact > 0.5 + 2 * step)), abs=0.02)
    assert first.clipped > 0.3 and report.layers[1].clipped < first.clipped
    assert first.weights is not None and 35 < first.weights < 70 and report.layers[1].weights is None
    ratios = [found.activations for found in report.worst()]
    assert ratios == sorted(ratios) and len(report.worst(1)) == 1


@pytest.mark.parametrize("rounding", ["nearest", "bias", "columns", "adaptive"])
@pytest.mark.parametrize("ranges", ["auto", *METHODS])
def test_every_option_gives_a_network_that_compiles(ranges: Any, rounding: Any) -> None:
    graph = after(layer(), "RELU")
    samples = draw(graph, 8)
    options = Options(ranges=ranges, rounding=rounding, scales="fitted" if ranges in ("auto", "mse") else "largest")
    made = quantize(graph, samples, options)
    check_graph(made.graph)
    assert made.report.outputs["cr"] > 15
    assert store.dumps(made.graph) == store.dumps(quantize(graph, samples, options).graph)


# --- Building -----------------------------------------------------------------------------------------------------


def test_float_models_need_samples_and_others_none(tmp_path: Path) -> None:
    model = tmp_path / "floats.tflite"
    model.write_bytes(small_models.float_add())
    with pytest.raises(UsageError, match=r"floats\.tflite is a float model: pass samples .* --calibration"):
        tinygen.build(model)
    with pytest.raises(UsageError, match="is quantized already"):
        tinygen.build(load(small_models.dense_layers()), calibration="random")
    for samples, words in (
        ([np.zeros((2, 2))], "expected samples like"),
        ([np.full((1, 4), np.nan)], "finite"),
        ([], "at least one"),
    ):
        with pytest.raises(UsageError, match=words):
            tinygen.build(model, calibration=samples)
    with pytest.warns(UserWarning, match="random"):
        made = tinygen.build(model, calibration="random")
    assert "--calibration random" in made.report["command"]
    assert made.report["quantization"]["outputs"]["sum"] > 30


def test_float_ports_of_what_goes_through_and_of_constants() -> None:
    """An output that is the input gives what went in; a constant output gives its real numbers."""
    outer = with_float_ports(load(odd_models.nothing()))
    x = np.array([[0.5, -1.0, 3.25, 7.0]], np.float32)
    through, constant, again = run(outer, [x])
    np.testing.assert_array_equal(through, x)
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(constant, np.float32(0.1) * np.float32([1, 2, 3]))


def test_float_ports_convert_as_the_caller_would(tmp_path: Path) -> None:
    graph = after(layer(), "RELU")
    samples = draw(graph, 4)
    inner = quantize(graph, samples).graph
    outer = with_float_ports(inner)
    for sample in samples:
        expected = run(inner, inputs_of(inner, sample))[0]
        assert np.allclose(run(outer, sample)[0], inner.types["cr"].dequantize(expected))
    made = tinygen.build(graph, "host", calibration=samples, float_io=True)
    assert [p["dtype"] for p in (*made.report["inputs"], *made.report["outputs"])] == ["float32", "float32"]
    tinygen.verify(made.write(tmp_path), on="host").raise_if_wrong()


def test_dynamic_range_models_are_taken_as_float() -> None:
    b = ModelBuilder()
    x, y = b.tensor((1, 4), "float32"), b.tensor((1, 2), "float32")
    weights = np.arange(8).reshape(2, 4)
    b.op("FULLY_CONNECTED", [x, b.tensor((2, 4), "int8", 0.5, 0, weights)], [y], "FullyConnectedOptions")
    graph = load(b.finish([x], [y]))
    assert is_float(graph)
    assert np.array_equal(graph.constants[graph.nodes[0].inputs[1]], weights * np.float32(0.5))


# --- The zoo ------------------------------------------------------------------------------------------------------

FLOATS = (
    "ai_edge_quantizer/conv_fc_mnist",
    "dtln/model_1",
    "efinix/magic_wand_float_2019",
    "kazuhito/keypoint_classifier",
    "mlperf_tiny/ad01_fp32",
    "mlperf_tiny/ic01_fp32",
    "mlperf_tiny/ic_large_fp32",
    "mlperf_tiny/vww01_fp32",
    "tflm/hello_world_float",
    "tinymaix/cifar10_f",
    "tinymaix/mnist_dw_f",
    "tinymaix/mnist_resnet_f",
)
#: int8 weights: LiteRT quantizes their activations at run time, so its answers are not those of a float model.
HYBRID = ("mlperf_tiny/ad01_hybrid_dynrange", "mlperf_tiny/kws01_hybrid_named_float32")
#: Accuracy in float and in int8 may differ by this much.
POINTS = 0.005

in_the_zoo = pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)


@pytest.mark.zoo
@in_the_zoo
@pytest.mark.parametrize("name", FLOATS)
def test_real_numbers_agree_with_tflm_in_float(name: str) -> None:
    graph = frontends.load(zoo.path_of(name))
    for golden in zoo.golden(name):
        values = run_real(graph, golden.inputs)
        for output, expected in zip(graph.outputs, golden.outputs, strict=True):
            assert np.max(np.abs(values[output] - expected)) <= 1e-4 * np.max(np.abs(expected)), output


@pytest.mark.zoo
@in_the_zoo
@pytest.mark.parametrize("name", [n for n in (*FLOATS, *HYBRID) if "large" not in n])
def test_float_models_build_and_equal_the_reference(name: str, tmp_path: Path) -> None:
    graph = frontends.load(zoo.path_of(name))
    made = tinygen.build(zoo.path_of(name), "cortex-m4", calibration=draw(graph, 8))
    tinygen.verify(made.write(tmp_path), on="host", vectors=2).raise_if_wrong()
    # recurrent layers, unrolled, are the worst case of noise after noise
    assert min(made.report["quantization"]["outputs"].values()) > (15 if "dtln" in name else 20)


def labelled(name: str) -> tuple[Array, Array]:
    """Inputs of model `name` and what they show."""
    if "keypoint" in name:
        data = zoo.dataset("hand_gesture_mediapipe/keypoint")
        order = np.random.default_rng(0).permutation(len(data["y"]))
        return data["x"][order], data["y"][order]
    if "kws01" in name:
        data = zoo.dataset("mlperf_kws01/all")
        return ((data["x"].astype(np.float32) - 83) * np.float32(0.584703)), data["y"]
    data = zoo.dataset("mnist_t10k/dev")
    return data["x"].astype(np.float32) / 255, data["y"]


@pytest.mark.zoo
@in_the_zoo
@pytest.mark.parametrize(
    "name",
    [
        "ai_edge_quantizer/conv_fc_mnist",
        "kazuhito/keypoint_classifier",
        "mlperf_tiny/kws01_hybrid_named_float32",
        "tinymaix/mnist_dw_f",
        "tinymaix/mnist_resnet_f",
    ],
)
def test_int8_is_as_accurate_as_float(name: str) -> None:
    """Calibrated on 100 samples, tested on others."""
    graph = frontends.load(zoo.path_of(name))
    inputs, labels = labelled(name)
    sets = [[x.reshape(graph.types[graph.inputs[0]].shape)] for x in inputs[:900]]
    made, output = quantize(graph, sets[:100]).graph, graph.outputs[0]
    answers = [
        np.argmax(run_batch(g, tests)[output].reshape(800, -1), axis=1)
        for g, tests in ((graph, sets[100:]), (made, [inputs_of(made, s) for s in sets[100:]]))
    ]
    real, integer = (np.mean(found == labels[100:900]) for found in answers)
    assert integer >= real - POINTS

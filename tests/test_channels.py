# SPDX-License-Identifier: Apache-2.0
"""Groups of channels, and their removal: what is left computes what it computed with the others' weights at zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.channel_models import network
from tests.laws import assert_equal, draw_inputs, load
from tests.tflite_builder import ModelBuilder
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops import problems_of
from tinygen.passes.channels import Groups, channel_groups
from tinygen.passes.surgery import remove_channels
from tinygen.reference import run, run_all

Q = ("int8", 0.1, -5)
CONV = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": 0}


def layer(
    b: ModelBuilder, x: int, size: tuple[int, int, int], op: str = "CONV_2D", kernel: int = 1, depth: int = 0
) -> int:
    """A padded convolution of an image `size` (height, width, channels of the output) with random weights."""
    rng = np.random.default_rng(x)
    depthwise = op == "DEPTHWISE_CONV_2D"
    shape = (1, kernel, kernel, size[2]) if depthwise else (size[2], kernel, kernel, depth)
    weights = b.tensor(shape, "int8", 0.01, 0, rng.integers(-127, 128, shape))
    bias = b.tensor((size[2],), "int32", 0.001, 0, rng.integers(-500, 500, size[2]))
    y = b.tensor((1, *size), *Q, name=f"{op.lower()}{x}")
    multiplier = {"depthMultiplier": 1} if depthwise else {}
    b.op(op, [x, weights, bias], [y], "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions", **CONV, **multiplier)
    return y


def residual() -> Graph:
    """x → a → depthwise b; a + b → c, whose concatenation with itself is laid flat for a dense layer."""
    b = ModelBuilder()
    x = b.tensor((1, 2, 3, 2), *Q, name="x")
    a = layer(b, x, (2, 3, 4), depth=2)
    d = layer(b, a, (2, 3, 4), "DEPTHWISE_CONV_2D", 3)
    total, joined = b.tensor((1, 2, 3, 4), *Q, name="total"), b.tensor((1, 2, 3, 8), *Q, name="joined")
    b.op("ADD", [a, d], [total], "AddOptions")
    b.op("CONCATENATION", [total, total], [joined], "ConcatenationOptions", axis=3)
    flat, y = b.tensor((1, 48), *Q, name="flat"), b.tensor((1, 2), *Q, name="y")
    b.op("RESHAPE", [joined, b.constant([1, 48])], [flat], "ReshapeOptions", newShape=[1, 48])
    weights = b.tensor((2, 48), "int8", 0.01, 0, np.random.default_rng(0).integers(-127, 128, (2, 48)))
    b.op("FULLY_CONNECTED", [flat, weights, -1], [y], "FullyConnectedOptions")
    return load(b.finish([x], [y]))


def test_what_is_tied_is_one_group() -> None:
    groups = channel_groups(residual())
    first = groups.of["conv_2d0"]
    assert len(set(first.tolist())) == 4
    for name, repeats in {"depthwise_conv_2d3": 1, "total": 1, "joined": 2, "flat": 12}.items():
        assert np.array_equal(groups.of[name], np.tile(first, repeats)), name
    assert set(groups.fixed) == {*groups.of["x"].tolist(), *groups.of["y"].tolist()}
    assert groups.count == 4 + 2 + 2


def test_a_group_goes_as_a_whole() -> None:
    graph = residual()
    groups = channel_groups(graph)
    removed = np.zeros(groups.count, np.bool_)
    removed[groups.of["conv_2d0"][[0, 2]]] = True
    smaller = remove_channels(graph, groups.masks(removed))
    shapes = {name: smaller.types[name].shape for name in ("conv_2d0", "total", "joined", "flat", "y")}
    image = (1, 2, 3, 2)
    assert shapes == {"conv_2d0": image, "total": image, "joined": (1, 2, 3, 4), "flat": (1, 24), "y": (1, 2)}
    weights = [smaller.types[node.inputs[1]].shape for node in smaller.nodes if len(node.inputs) == 3]
    assert weights == [(2, 1, 1, 2), (1, 3, 3, 2), (2, 24)]
    assert problems_of(smaller) == []


def moved(op: str, shape: tuple[int, ...], target: tuple[int, ...], constant: object, **options: object) -> Groups:
    """The groups of ELU, a move, ELU, between an input and an output of the model."""
    b = ModelBuilder()
    x, y = b.tensor(shape, *Q, name="x"), b.tensor(target, *Q, name="y")
    b.op(op, [x, b.constant(constant)], [y], **options)  # type: ignore[arg-type]  # options are a schema's
    return channel_groups(load(b.finish([x], [y])))


@pytest.mark.parametrize(
    "op, shape, target, constant, pairs",
    [
        ("RESHAPE", (1, 2, 4), (1, 8), [1, 8], {(c, 4 * r + c) for c in range(4) for r in range(2)}),
        ("RESHAPE", (1, 8), (2, 4), [2, 4], {(4 * r + c, c) for c in range(4) for r in range(2)}),
        ("TRANSPOSE", (2, 3, 3), (3, 2, 3), [1, 0, 2], {(0, 0), (1, 1), (2, 2)}),
        ("TRANSPOSE", (2, 3, 3), (2, 3, 3), [0, 2, 1], {(a, b) for a in range(3) for b in range(3)}),
        ("PAD", (1, 2, 3), (1, 3, 3), [[0, 0], [1, 0], [0, 0]], {(0, 0), (1, 1), (2, 2)}),
        ("PAD", (1, 2, 3), (1, 2, 5), [[0, 0], [0, 0], [1, 1]], {(0, 1), (1, 2), (2, 3)}),
        ("MEAN", (1, 2, 3), (1, 3), [1], {(0, 0), (1, 1), (2, 2)}),
        ("MEAN", (1, 3, 3), (1, 3), [2], set()),
    ],
)
def test_where_channels_go(
    op: str, shape: tuple[int, ...], target: tuple[int, ...], constant: object, pairs: set[tuple[int, int]]
) -> None:
    options = {"options": "ReshapeOptions", "newShape": constant} if op == "RESHAPE" else {}
    of = moved(op, shape, target, constant, **options).of
    same = {(a, b) for a in range(shape[-1]) for b in range(target[-1]) if of["x"][a] == of["y"][b]}
    # pairs, and what follows from them
    assert pairs <= same
    assert len(set(of["x"]) | set(of["y"])) == shape[-1] + target[-1] - len(spanning(pairs, shape[-1]))


def spanning(pairs: set[tuple[int, int]], channels: int) -> list[tuple[int, int]]:
    """Pairs that connect what the others do not (Kruskal)."""
    root = {i: i for i in range(1000)}

    def find(i: int) -> int:
        return i if root[i] == i else find(root[i])

    kept = []
    for a, b in sorted(pairs):
        if find(a) != find(channels + b):
            root[find(a)] = find(channels + b)
            kept.append((a, b))
    return kept


def with_zero_weights(graph: Graph, groups: Groups, removed: Array) -> Graph:
    """`graph` whose dense layers and convolutions multiply the removed channels with zero."""
    constants = dict(graph.constants)
    nodes, types = [], dict(graph.types)
    for number, node in enumerate(graph.nodes):
        if node.op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            source, name = node.inputs[:2]
            weights, channels = constants[name].copy(), graph.types[source].shape[-1]
            gone = removed[groups.of[source]]
            if node.op != "DEPTHWISE_CONV_2D" and weights.shape[-1] % channels == 0:
                weights[..., np.tile(gone, weights.shape[-1] // channels)] = 0
            elif channels == 1 and gone[0]:
                weights[:] = 0
            constants[f"w{number}"], types[f"w{number}"] = weights, graph.types[name]
            node = replace(node, inputs=(source, f"w{number}", *node.inputs[2:]))
        nodes.append(node)
    return graph.with_nodes(nodes, types=types, constants=constants)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6))
def test_what_is_left_computes_what_it_did(seed: int) -> None:
    graph = load(network(seed))
    groups = channel_groups(graph)
    removed = np.random.default_rng(seed).random(groups.count) < 0.4
    removed[list(groups.fixed)] = False
    masks = groups.masks(removed)
    try:
        smaller = remove_channels(graph, masks)
    except ValueError as error:
        assert "without any input" in str(error)
        assume(False)
    assert problems_of(smaller) == []
    zeroed = with_zero_weights(graph, groups, removed)
    for inputs in draw_inputs(graph, seed):
        before, after = run_all(zeroed, inputs), run_all(smaller, inputs)
        for name in {n for node in smaller.nodes for n in node.outputs}:
            assert np.array_equal(before[name][..., masks[name]], after[name]), name
        assert_equal("outputs", run(smaller, inputs), run(zeroed, inputs))


def test_masks_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="removing channels left ADD 'total'"):
        remove_channels(residual(), {"conv_2d0": np.array([True, True, False, True])})


def test_a_layer_must_keep_an_input() -> None:
    graph = residual()
    groups = channel_groups(graph)
    removed = np.zeros(groups.count, np.bool_)
    removed[groups.of["conv_2d0"]] = True
    with pytest.raises(ValueError, match="left FULLY_CONNECTED 'y' without any input"):
        remove_channels(graph, groups.masks(removed))

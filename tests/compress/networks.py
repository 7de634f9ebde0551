# SPDX-License-Identifier: Apache-2.0
"""A layer and small networks whose inputs are correlated, as those of real layers are."""

from __future__ import annotations

import numpy as np

from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen.compress.fitting.layerwise import Fitted, Layer
from tinygen.compress.fitting.moments import moments
from tinygen.ir.graph import Graph, Node
from tinygen.ir.types import Array, Real

#: One step of activations.
STEP = 0.05


def inputs(rng: np.random.Generator, count: int, depth: int) -> Real:
    """[count, depth]: mixtures of a few sources, some of them far stronger than others, around a mean, and noise."""
    sources = max(depth // 4, 1)
    mix = rng.normal(size=(sources, depth)) * rng.uniform(0.1, 2, depth)
    return np.asarray(rng.normal(size=(count, sources)) @ mix + 0.2 * rng.normal(size=(count, depth)) + 0.5)


def layer(seed: int = 0, filters: int = 12, depth: int = 48, density: float = 1.0) -> Layer:
    """A dense layer of int8 weights with bell-shaped values, a share `density` of them not zero."""
    rng = np.random.default_rng(seed)
    found = moments([(inputs(rng, 600, depth)[:, None, :], None)])
    scales = rng.uniform(0.002, 0.02, (1, filters))
    stored = np.clip(np.rint(rng.normal(0, 35, (1, filters, depth))), -127, 127).astype(np.int64)
    stored[stored == 0] = 1
    stored *= rng.permuted(np.arange(stored.size) < density * stored.size).reshape(stored.shape)
    target = stored * scales[:, :, None]
    smallest = np.full(scales.shape, 1e-9)
    return Layer(Node("dense", "FULLY_CONNECTED", (), ()), "w", target, stored, scales, smallest, found.hessian, depth)


def noise(layer: Layer, fitted: Fitted) -> float:
    """The mean square error of the layer's outputs, by the definition."""
    (_, matrix), *_ = layer.hessian.parts
    lost = layer.target - fitted.real
    return float(sum(row @ matrix[g] @ row for g in range(len(lost)) for row in lost[g]))


def network(seed: int = 0) -> Graph:
    """Layers ``conv`` 3×3, ``depthwise`` 3×3, ``pointwise``, ``hidden`` and ``head``, which suit `samples`."""
    b, rng = ModelBuilder(), np.random.default_rng(seed)
    x = b.tensor((1, 6, 6, 4), "int8", STEP, -3, name="x")

    def weights(shape: tuple[int, ...], axis: int, gain: float) -> list[int]:
        filters = shape[axis]
        fan = int(np.prod(shape)) // filters
        values = np.clip(np.rint(rng.normal(0, 35, shape)), -127, 127)
        scales = (gain / 35 / np.sqrt(fan) * rng.uniform(0.6, 1.6, filters)).tolist()
        bias = rng.integers(-400, 400, filters)
        return [b.tensor(shape, "int8", scales, 0, values, axis), b.tensor((filters,), "int32", scales, 0, bias)]

    conv = b.tensor((1, 6, 6, 16), "int8", STEP, -100, name="conv")
    b.op("CONV_2D", [x, *weights((16, 3, 3, 4), 0, 1.2)], [conv], "Conv2DOptions", strideH=1, strideW=1)
    depthwise = b.tensor((1, 3, 3, 16), "int8", STEP, -60, name="depthwise")
    options = {"strideH": 2, "strideW": 2, "depthMultiplier": 1}
    b.op("DEPTHWISE_CONV_2D", [conv, *weights((1, 3, 3, 16), 3, 1)], [depthwise], "DepthwiseConv2DOptions", **options)
    pointwise = b.tensor((1, 3, 3, 24), "int8", STEP, -90, name="pointwise")
    b.op("CONV_2D", [depthwise, *weights((24, 1, 1, 16), 0, 1.2)], [pointwise], "Conv2DOptions", strideH=1, strideW=1)
    flat = b.tensor((1, 216), "int8", STEP, -90, name="flat")
    b.op("RESHAPE", [pointwise, b.constant([1, 216])], [flat], "ReshapeOptions", newShape=[1, 216])
    hidden, head = (
        b.tensor((1, n), "int8", STEP, zero, name=m) for n, m, zero in ((32, "hidden", -100), (5, "head", 0))
    )
    b.op("FULLY_CONNECTED", [flat, *weights((32, 216), 0, 0.8)], [hidden], "FullyConnectedOptions")
    b.op("FULLY_CONNECTED", [hidden, *weights((5, 32), 0, 0.8)], [head], "FullyConnectedOptions")
    return load(b.finish([x], [head]), "net")


def samples(count: int = 80, seed: int = 1) -> list[tuple[Array]]:
    """Inputs of `network`."""
    values = inputs(np.random.default_rng(seed), count * 36, 4) / 2 / STEP - 3
    return [(v.reshape(1, 6, 6, 4),) for v in np.clip(np.rint(values), -128, 127).astype(np.int8).reshape(count, -1)]


def weights_of(graph: Graph, name: str) -> Array:
    """The stored weights of layer `name`."""
    node = next(n for n in graph.nodes if n.name == name)
    return graph.constants[node.inputs[1]]

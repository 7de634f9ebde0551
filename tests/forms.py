# SPDX-License-Identifier: Apache-2.0
"""Weights that the storage forms hold, and models that store theirs so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops.convolution import OPERANDS

#: Weights as rows [output channels, weights of each], int8, drawn for a shape.
Draw = Callable[[np.random.Generator, tuple[int, int]], Array]


def _shared(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Few values, those of a table for each group of channels."""
    groups, levels = -(-shape[0] // int(rng.integers(1, shape[0] + 1))), int(rng.integers(1, 65))
    tables = rng.integers(-128, 128, (groups, levels))
    of_row = np.arange(shape[0]) * groups // shape[0]
    return tables[of_row[:, None], rng.integers(0, levels, shape)].astype(np.int8)


def _grid(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Whole steps from a lowest value, for each channel or for all of them."""
    levels = int(rng.choice([2, 3, 4, 5, 6, 8, 16, 32]))
    channels = shape[0] if rng.integers(2) else 1
    step = rng.integers(1, 255 // levels + 1, (channels, 1))
    low = rng.integers(-128, 128 - step * (levels - 1))
    return (low + step * rng.integers(0, levels, shape)).astype(np.int8)


def _peaked(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """One value more or less often than any other, and those with a spread of their own."""
    others = np.clip(rng.normal(0, rng.uniform(0.1, 60), shape), -127, 127).round()
    return np.where(rng.random(shape) < rng.choice([0, 0.5, 0.9, 0.99, 1]), rng.integers(-128, 128), others).astype(
        np.int8
    )


#: For each form, weights that it holds.
DRAWS: dict[str, Draw] = {
    "codebook": _shared,
    "packed": _grid,
    "entropy": _peaked,
}


def stored(graph: Graph, form: str, rng: np.random.Generator) -> Graph:
    """`graph` with weights that `form` holds in place of its constant ones, and with the wish to store them so."""
    constants, storage = dict(graph.constants), {}
    for node in graph.nodes:
        where = OPERANDS.get(node.op)
        if where is None or node.inputs[where.weights] not in constants:
            continue
        name = node.inputs[where.weights]
        first = np.moveaxis(constants[name], where.channel, 0)
        rows = DRAWS[form](rng, (len(first), first[0].size)).reshape(first.shape)
        constants[name], storage[name] = np.moveaxis(rows, 0, where.channel), form
    return replace(graph, constants=constants, storage=storage)


def network() -> Graph:
    """A layer of each kind that has forms, of odd sizes but for the last."""
    b, rng, q = ModelBuilder(), np.random.default_rng(0), ("int8", 0.1, -5)
    shapes = ((1, 7, 5, 3), (1, 7, 5, 9), (1, 4, 3, 9), (1, 4, 3, 6), (1, 8, 6, 3), (1, 10))
    at = [b.tensor(shape, *q) for shape in shapes]
    kernels = ((9, 3, 3, 3), (1, 3, 3, 9), (6, 1, 1, 9), (3, 2, 3, 6), (10, 144))
    w = [b.tensor(shape, "int8", 0.02, 0, rng.integers(-9, 9, shape)) for shape in kernels]
    one, two = {"strideW": 1, "strideH": 1}, {"strideW": 2, "strideH": 2}
    undilated = {"dilationWFactor": 1, "dilationHFactor": 1}
    b.op("CONV_2D", [at[0], w[0]], [at[1]], "Conv2DOptions", **one, **undilated)
    b.op("DEPTHWISE_CONV_2D", [at[1], w[1]], [at[2]], "DepthwiseConv2DOptions", **two, **undilated)
    b.op("CONV_2D", [at[2], w[2]], [at[3]], "Conv2DOptions", **one, **undilated)
    b.op("TRANSPOSE_CONV", [b.constant(shapes[4]), w[3], at[3]], [at[4]], "TransposeConvOptions", **two)
    b.op("FULLY_CONNECTED", [at[4], w[4], -1], [at[5]], "FullyConnectedOptions")
    return load(b.finish(at[:1], at[5:]))

# SPDX-License-Identifier: Apache-2.0
"""Many samples at once: the same answers as one by one, also where a model does not stack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests import small_models, zoo
from tests.laws import load
from tests.tflite_builder import ModelBuilder
from tinygen import api, batch
from tinygen.batch import run_real_samples, run_samples
from tinygen.ir.graph import Graph
from tinygen.passes.base import random_inputs
from tinygen.reference import run_all, run_real

Q = ("int8", 0.1, -5)


def reshaped() -> bytes:
    """A RESHAPE whose shape input names the batch of one, then a layer."""
    b, rng = ModelBuilder(), np.random.default_rng(3)
    x, v, y = b.tensor((1, 2, 3), *Q), b.tensor((1, 6), *Q), b.tensor((1, 4), *Q)
    b.op("RESHAPE", [x, b.constant((1, 6))], [v], "ReshapeOptions", newShape=[1, 6])
    weights = b.tensor((4, 6), "int8", 0.01, 0, rng.integers(-100, 101, (4, 6)))
    b.op("FULLY_CONNECTED", [v, weights, -1], [y], "FullyConnectedOptions")
    return b.finish([x], [y])


def row_by_constant() -> bytes:
    """A constant [1, 4] is added to each sample: it spreads over the batch."""
    b = ModelBuilder()
    x, c, y = b.tensor((1, 4), *Q), b.tensor((1, 4), *Q, [-128, -1, 0, 127]), b.tensor((1, 4), *Q)
    b.op("ADD", [x, c], [y], "AddOptions")
    return b.finish([x], [y])


def across_the_batch() -> bytes:
    """A concatenation along the first axis: samples would mix."""
    b = ModelBuilder()
    x, y = b.tensor((1, 4), *Q), b.tensor((2, 4), *Q)
    b.op("CONCATENATION", [x, x], [y], "ConcatenationOptions", axis=0)
    return b.finish([x], [y])


def without_a_batch() -> bytes:
    """Tensors of which the first dimension is no batch."""
    return small_models.two_inputs()


@pytest.mark.parametrize("make", [small_models.dense_layers, reshaped, row_by_constant])
@pytest.mark.parametrize("count", [1, 3, 31, 40])
def test_what_stacks_gives_the_same_answers(make: Callable[[], bytes], count: int) -> None:
    graph = load(make())
    same(graph, count)


@pytest.mark.parametrize("make", [across_the_batch, without_a_batch])
def test_what_does_not_stack_runs_one_by_one(make: Callable[[], bytes]) -> None:
    graph = load(make())
    same(graph, 5)


@pytest.mark.parametrize("make", [small_models.dense_layers, reshaped, row_by_constant, across_the_batch])
def test_samples_come_in_pieces(make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Several for each node, and several for the graph, the last of which are not full."""
    graph = load(make())
    monkeypatch.setattr(batch, "PIECE", 3 * max(t.elements for t in graph.types.values()))
    monkeypatch.setattr(batch, "HELD", 7 * batch.elements(graph))
    same(graph, 18)


def same(graph: Graph, count: int) -> None:
    samples = [random_inputs(graph, seed) for seed in range(count)]
    names = [*graph.outputs, *(n for node in graph.nodes for n in node.inputs if n)]
    for sample, got, real in zip(
        samples, run_samples(graph, samples, names), run_real_samples(graph, samples), strict=True
    ):
        alone, exact = run_all(graph, sample), run_real(graph, sample)
        assert all(np.array_equal(got[n], alone[n]) and got[n].shape == alone[n].shape for n in names)
        assert all(np.allclose(real[n], exact[n]) for n in graph.outputs)


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize("name", ["mlperf_tiny/kws01_int8", "tinymaix/mnist_resnet_f"])
def test_real_models_stack(name: str) -> None:
    graph = api.load(zoo.path_of(name))
    samples = [random_inputs(graph, seed) for seed in range(3)]
    names = [n for node in graph.nodes for n in node.outputs]
    if name.endswith("int8"):
        for sample, got in zip(samples, run_samples(graph, samples, names), strict=True):
            assert all(np.array_equal(value, run_all(graph, sample)[n]) for n, value in got.items())
    else:
        for sample, got in zip(samples, run_real_samples(graph, samples, names), strict=True):
            assert all(np.allclose(value, run_real(graph, sample)[n]) for n, value in got.items())

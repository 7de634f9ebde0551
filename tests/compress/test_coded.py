# SPDX-License-Identifier: Apache-2.0
"""Weights for codes: as few bits as asked for, and less lost than by rounding to as many."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compress.networks import layer, network, noise, samples
from tinygen.compress import Evidence, Setting
from tinygen.compress.coded import TOP, WORTH, Coded, cheap, coded, lengths, size
from tinygen.compress.fitting.layerwise import Fitted
from tinygen.compress.fitting.solve import on_support
from tinygen.errors import UsageError
from tinygen.quantize.layers import is_layer


@pytest.mark.parametrize("seed", [0, 1])
def test_less_is_lost_than_by_rounding_to_as_many_bits(seed: int) -> None:
    one = layer(seed)
    for step in (0.25, 0.5, 1.0):
        fitted = coded(one, step)
        for finer in 2.0 ** np.arange(0.5, -5, -0.25):
            scale = finer * np.sqrt(np.mean(one.target**2))
            integers = np.clip(np.rint(one.target / scale), -TOP, TOP).astype(np.int64)
            if size(integers) > size(fitted.integers):
                break
            assert noise(one, Fitted(integers, np.full(one.scales.shape, scale))) > 1.5 * noise(one, fitted)


def test_coarser_steps_take_fewer_bits_and_lose_more() -> None:
    one = layer()
    tried = [coded(one, step) for step in (0.125, 0.25, 0.5, 1.0)]
    bits, losses = [size(fitted.integers) for fitted in tried], [noise(one, fitted) for fitted in tried]
    assert bits == sorted(bits, reverse=True) and losses == sorted(losses)
    assert all(np.abs(fitted.integers).max() > TOP // 2 for fitted in tried)


def test_zeros_of_a_sparse_layer_stay() -> None:
    one = layer(density=0.4)
    assert on_support(one.stored) is not None
    assert not coded(one, 0.5).integers[one.stored == 0].any()


def test_what_costs_least_is_chosen() -> None:
    rng = np.random.default_rng(0)
    some = np.rint(rng.normal(0, 2, 4000))
    bits, powers, values = lengths(some), rng.uniform(0.1, 4, (1, 6)), rng.normal(0, 3, (1, 50))
    counts = {int(v): int(c) for v, c in zip(*np.unique(some, return_counts=True), strict=True)}
    assert bits[TOP] == pytest.approx(np.log2(4000 / counts[0])) and bits[0] > bits[TOP + 5]
    allowed = cheap(bits, powers, None)
    for column in range(6):
        found = allowed(column, values)
        for value, taken in zip(values[0], found[0], strict=True):
            near = np.rint(value)
            costs = {
                v: powers[0, column] * (v - value) ** 2 + WORTH * powers.mean() * bits[int(v) + TOP]
                for v in (near, near - np.sign(near), 0.0)
            }
            assert costs[float(taken)] == pytest.approx(min(costs.values()))
    assert np.array_equal(cheap(np.zeros(2 * TOP + 1), powers, None)(0, values), np.rint(values))


def test_a_network_takes_so_many_bits() -> None:
    bits, evidence = 3.0, Evidence(samples(100))
    result = Coded(Setting(bits, {"head": None})).run(network(), evidence)
    assert len(result.done) == 4
    layers = [node for node in result.graph.nodes if is_layer(result.graph, node) and node.name != "head"]
    weights = [result.graph.constants[node.inputs[1]] for node in layers]
    taken = sum(size(w.reshape(1, len(w), -1).astype(np.int64)) * w.size for w in weights)
    assert 0.8 * bits < taken / sum(w.size for w in weights) < 1.08 * bits


def test_a_layer_takes_the_step_that_is_asked_for() -> None:
    evidence, graph = Evidence(samples(100)), network()
    result = Coded(Setting(None, {"head": "step:0.7"})).run(graph, evidence)
    head = next(node for node in graph.nodes if node.name == "head")
    changed = {n for n, v in graph.constants.items() if not np.array_equal(v, result.graph.constants[n])}
    assert head.inputs[1] in changed and len(result.done) == 1
    values = np.unique(result.graph.constants[head.inputs[1]])
    spread = np.abs(np.diff(values)).min() / np.sqrt(np.mean(graph.constants[head.inputs[1]].astype(float) ** 2))
    scales = (g.types[head.inputs[1]].quant for g in (graph, result.graph))
    before, after = (float(np.mean(q.scales)) for q in scales if q is not None)
    assert 0.5 < spread * after / before < 1.0


def test_refusals() -> None:
    for wrong in (0, 8, "auto:3", "step:9", "step:0.01", "step:-1", "step:"):
        with pytest.raises(UsageError, match="no bits for a weight: give a number above 0, and at most 7"):
            Coded(Setting(wrong))

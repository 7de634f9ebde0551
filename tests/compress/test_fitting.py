# SPDX-License-Identifier: Apache-2.0
"""What pruning and factoring stand on: least squares, the cost of going without inputs, noise that arrives, sizes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compress.nets import Net, closeness
from tests.compress.test_prune import residual
from tinygen.batch import run_batch
from tinygen.compress import Setting
from tinygen.compress.fitting import refit
from tinygen.compress.fitting.refit import RefusedError
from tinygen.compress.fitting.regression import FEWEST, Halves, Sums, fit, nearest
from tinygen.compress.fitting.saliency import Reader, order
from tinygen.compress.fitting.sensitivity import sensitivities
from tinygen.compress.fitting.sizes import sizes, weight_bytes
from tinygen.compress.fitting.walk import walk
from tinygen.compress.low_rank import LowRank
from tinygen.compress.prune import Prune
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, DType
from tinygen.lower import lower
from tinygen.ops import Activation
from tinygen.ops.limits import check_graph
from tinygen.passes.base import macs
from tinygen.target import load_target

RNG = np.random.default_rng(3)


def rows(count: int, groups: int, depth: int) -> Array:
    return RNG.normal(size=(count, groups, depth)) @ RNG.normal(size=(groups, depth, depth))[0] + RNG.normal(size=depth)


def seen_of(x: Array, y: Array) -> Halves:
    seen = Halves()
    for half, some in enumerate(Halves.halves(len(x))):
        seen.add(half, x[some], y[some])
    return seen


# --- Least squares -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 3])
def test_weights_are_those_of_least_squares(groups: int) -> None:
    x, y = rows(300, groups, 6), rows(300, groups, 4)
    made = nearest(Sums.of(x, y), np.zeros((groups, 4, 6)), 0.0)
    for g in range(groups):
        ones = np.column_stack([x[:, g], np.ones(len(x))])
        best, *_ = np.linalg.lstsq(ones, y[:, g], rcond=None)
        assert np.allclose(made[g], best[:-1].T, atol=1e-6)
        assert np.allclose(Sums.of(x, y).bias(made)[g], best[-1], atol=1e-6)


def test_errors_are_what_is_left() -> None:
    x, y, weights = rows(200, 2, 5), rows(200, 2, 3), RNG.normal(size=(2, 3, 5))
    sums = Sums.of(x[:90], y[:90]) + Sums.of(x[90:], y[90:])
    left = y - np.einsum("ngd,gfd->ngf", x, weights) - sums.bias(weights)
    assert sums.error(weights) == pytest.approx(float(np.mean(left**2, axis=0).sum()))


def test_what_cannot_be_learnt_stays_where_it_was() -> None:
    """Outputs of pure noise: the weights stay nearer to the prior than those of least squares."""
    x, y, prior = rows(24, 1, 20), RNG.normal(size=(24, 1, 2)), np.zeros((1, 2, 20))
    assert np.linalg.norm(fit(seen_of(x, y), prior)) < 0.5 * np.linalg.norm(nearest(Sums.of(x, y), prior, 1e-4))


def test_what_can_be_learnt_is() -> None:
    x, weights = rows(400, 1, 8), RNG.normal(size=(1, 3, 8))
    y = np.einsum("ngd,gfd->ngf", x, weights) + 2.0
    assert np.allclose(fit(seen_of(x, y), np.zeros((1, 3, 8))), weights, atol=0.02)


def test_halves_have_nothing_in_common() -> None:
    for count in (1, FEWEST - 1, FEWEST, 50):
        parts = Halves.halves(count)
        assert sorted(np.concatenate(parts)) == list(range(count)) and len(parts) == 1 + (count >= FEWEST)


# --- Saliency ------------------------------------------------------------------------------------------------------


def test_costs_are_those_of_the_best_weights_without_the_channel() -> None:
    """Against least squares without the inputs, by brute force; and again once others have gone."""
    depth, places = 8, np.arange(8).reshape(4, 2)
    x, weights = rows(500, 1, depth)[:, 0], RNG.normal(size=(3, depth))
    covariance = np.cov(x.T, bias=True)
    reader = Reader(weights.copy(), np.linalg.inv(covariance), places, 2.0)

    def brute(gone: list[int]) -> float:
        kept = np.setdiff1d(np.arange(depth), places[gone])
        root = np.linalg.cholesky(covariance)
        _, left, *_ = np.linalg.lstsq(root[kept].T, (weights @ root).T, rcond=None)
        return 2.0 * float(left.sum())

    assert np.allclose(reader.costs(np.arange(4)), [brute([c]) for c in range(4)])
    reader.remove(2)
    assert np.allclose(reader.costs(np.array([0, 3])), [brute([2, c]) - brute([2]) for c in (0, 3)])


def test_one_of_two_equal_channels_goes_and_then_not_the_other() -> None:
    x = rows(400, 1, 4)[:, 0]
    x = np.column_stack([x, x[:, 1] + 1e-4 * RNG.normal(size=len(x))])
    covariance = np.cov(x.T) + 1e-9 * np.eye(5)
    reader = Reader(np.ones((2, 5)), np.linalg.inv(covariance), np.arange(5)[:, None], 1.0)
    found = order([reader], 5, np.ones(5), 3)
    assert found.channels[0] in (1, 4) and found.channels[1] not in (1, 4)
    assert found.costs[0] < 1e-3 * found.costs[1]


# --- Sensitivity ---------------------------------------------------------------------------------------------------


def test_errors_that_do_not_arrive_count_little() -> None:
    net = Net((1, 8))
    loud, quiet = net.dense("loud", "x", 8), net.dense("quiet", "x", 8)
    weights = net.rng.normal(size=(4, 8))
    small = net.dense("small", quiet, 4, 0.01 * weights, Activation.NONE)
    graph, evidence = net.finish(net.sum("sum", net.dense("large", loud, 4, weights, Activation.NONE), small))
    values = run_batch(graph, evidence.samples[:16])
    found = sensitivities(graph, values, ["loud", "quiet"])
    assert found["loud"] > 20 * found["quiet"]
    assert found == sensitivities(graph, values, ["loud", "quiet"])


# --- Sizes ---------------------------------------------------------------------------------------------------------


def test_sizes_are_what_is_left_once_channels_are_gone() -> None:
    graph, evidence = residual()
    smaller = Prune(Setting(0.4)).run(graph, evidence).graph
    left = {
        name: smaller.types[name].shape[-1] / graph.types[name].shape[-1]
        for node in smaller.nodes
        for name in (node.inputs[0], *node.outputs)
    }
    assert sizes(graph, "macs").total(left) == macs(smaller)
    weights = sum(weight_bytes(smaller, node) for node in smaller.nodes if len(node.inputs) == 3)
    assert sizes(graph, "bytes").total(left) == pytest.approx(weights)
    # constants of the program: these, and a requantization that channels share, or a fold of it, is all that differs
    packed = lower(smaller, load_target("cortex-m4")).constant_bytes
    assert abs(packed - weights) < 0.15 * weights


# --- Refitting -----------------------------------------------------------------------------------------------------


def spoiled() -> tuple[Graph, Graph, list[list[Array]], float]:
    """A network, and one whose first layer is rounded to a few values."""
    net = Net((1, 12))
    first = net.dense("first", "x", 16)
    graph, evidence = net.finish(net.dense("last", first, 4, activation=Activation.NONE), samples=200)
    coarse = {**graph.constants, "first:w": (graph.constants["first:w"] // 40 * 40 + 20).astype(np.int8)}
    worse = Graph("net", graph.inputs, graph.outputs, graph.nodes, graph.types, coarse)
    return graph, worse, [list(s) for s in evidence.samples], closeness(graph, worse, evidence)


@pytest.mark.parametrize("deep", [False, True])
def test_layers_behind_a_change_make_up_for_it(deep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted weights, or where the layer counts as too deep for that, at least a bias that takes up the mean."""
    graph, worse, samples, _ = spoiled()
    if deep:
        monkeypatch.setattr(refit, "MAX_DEPTH", 15)
    made = walk(graph, samples, graph=worse)
    for node in worse.nodes:
        made.add(refit.refit(made, node) if node.name == "last" else node)
    plain = walk(graph, samples, graph=worse)
    for node in worse.nodes:
        plain.add(node)
    _, weights, bias = made.nodes[-1].inputs
    exact = made.moments(made.nodes[-1], graph.nodes[-1]).all.bias(
        made.types[weights].dequantize(made.constants[weights])[None]
    )
    assert np.allclose(made.types[bias].dequantize(made.constants[bias]), exact, atol=0.01)
    assert deep or made.closeness("last") > plain.closeness("last") + 3
    same = np.array_equal(made.constants["last:w"], graph.constants["last:w"])
    assert same == deep


def test_layers_of_int16_activations_are_fitted_too() -> None:
    net = Net((1, 12))
    graph, evidence = net.finish(
        net.dense("last", net.dense("first", "x", 16), 4, activation=Activation.NONE), 64, wide="all"
    )
    assert any(t.dtype is DType.INT16 for t in graph.types.values())
    result = Prune(Setting(0.3)).run(graph, evidence)
    check_graph(result.graph)
    assert closeness(graph, result.graph, evidence) > 10
    declined = LowRank(Setting(0.3)).run(graph, evidence)
    assert declined.graph is graph and all("activations are not int8" in line for line in declined.declined)


def test_unchanged_inputs_leave_a_layer_alone() -> None:
    graph, _, samples, _ = spoiled()
    made = walk(graph, samples)
    for node in graph.nodes:
        assert refit.refit(made, node) is node
        made.add(node)
    assert made.closeness("last") == 200.0


def test_weights_that_an_operator_refuses_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, worse, samples, _ = spoiled()
    made = walk(graph, samples, graph=worse)
    made.add(worse.nodes[0])
    seen = made.moments(worse.nodes[1], graph.nodes[1])
    monkeypatch.setattr(refit, "steps", lambda *arguments: np.full(4, 2**31 - 1, np.int32))
    before = dict(made.constants)
    with pytest.raises(RefusedError, match="must fit 32 bits"):
        refit.with_weights(made, worse.nodes[1], np.ones((1, 4, 16)), seen.all)
    assert made.constants == before and refit.refit(made, worse.nodes[1]) is worse.nodes[1]

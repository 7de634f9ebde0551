# SPDX-License-Identifier: Apache-2.0
"""What changes weights does what it says, knows what outputs need, and keeps what came before it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.compress.networks import layer, network, noise, samples, weights_of
from tests.laws import assert_equal, run_c
from tinygen.compress import Evidence, Setting
from tinygen.compress.base import Technique
from tinygen.compress.bits import Bits, limits, quantized
from tinygen.compress.entropy import Entropy
from tinygen.compress.fitting import moments, obs
from tinygen.compress.fitting.codebook import clusters
from tinygen.compress.fitting.layerwise import Declined, Fitted, Layer
from tinygen.compress.prune import Prune
from tinygen.compress.share import Share, share
from tinygen.compress.sparsity import Pattern, Sparsity, sparse
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.store import dumps, loads
from tinygen.ir.types import Array
from tinygen.kernels.base import AT_ANY_SPEED, SMALLEST
from tinygen.lower import lower
from tinygen.ops import all_ops
from tinygen.passes.base import Result
from tinygen.quantize.report import decibels
from tinygen.reference import run
from tinygen.target import load_target

SEEDS = (0, 1, 2)
LAYERS = ("conv", "depthwise", "pointwise", "hidden", "head")
EVIDENCE = Evidence(samples(250))


def changed(technique: Technique, graph: Graph | None = None) -> Result:
    return technique.run(network() if graph is None else graph, EVIDENCE)


def after(*recipe: Technique) -> Graph:
    graph = network()
    for technique in recipe:
        graph = technique.run(graph, EVIDENCE).graph
    return graph


def constants(graph: Graph) -> int:
    """Bytes of packed constants."""
    return lower(graph, load_target("cortex-m4"), "size").constant_bytes


def closeness(graph: Graph, other: Graph) -> float:
    """Signal to noise in dB of the outputs of `other`, on samples that nothing was fitted to."""
    tensor, signal, lost = graph.types[graph.outputs[0]], 0.0, 0.0
    pairs = [[tensor.dequantize(run(g, s)[0]) for g in (graph, other)] for s in samples(60, seed=9)]
    mean = np.mean([a for a, _ in pairs], axis=0)
    for a, b in pairs:
        signal, lost = signal + float(np.sum((a - mean) ** 2)), lost + float(np.sum((a - b) ** 2))
    return decibels(signal, lost)


# --- Each does what it says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 8, 16, 64])
def test_sharing_leaves_so_many_values(count: int) -> None:
    fitted = share(layer(), count)
    assert len(np.unique(fitted.integers)) <= count and np.abs(fitted.integers).max() <= 127


def test_a_scale_per_tensor_is_one_scale() -> None:
    assert len(set(share(layer(), 8, one_scale=True).scales.ravel().tolist())) == 1
    graph = changed(Share(Setting(8), scale="tensor")).graph
    assert all(graph.types[n.inputs[1]].q.axis is None for n in graph.nodes if n.name in LAYERS[:2])


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, "ternary"])
def test_weights_take_so_many_bits(bits: int | str) -> None:
    values = np.unique(quantized(layer(), bits).integers)
    low, high = limits(bits)
    assert low <= values.min() and values.max() <= high
    assert bits != 1 or values.tolist() == [-1, 1]
    assert len(values) <= (3 if bits == "ternary" else 2 ** int(bits))


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_as_many_weights_are_zero_as_asked_for(ratio: float) -> None:
    kept = sparse(layer(), Pattern.read(ratio)).integers
    assert np.mean(kept == 0) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("pattern", ["1:2", "2:4", "1:4", "3:5"])
def test_so_many_of_each_group_stay(pattern: str) -> None:
    n, m = map(int, pattern.split(":"))
    kept = sparse(layer(), Pattern.read(pattern)).integers[0] != 0
    groups = np.pad(kept, ((0, 0), (0, -kept.shape[1] % m))).reshape(len(kept), -1, m).sum(axis=2)
    assert groups.max() == n and groups.mean() > n * 0.9


def test_blocks_are_zero_together() -> None:
    blocks = sparse(layer(), Pattern.read("blocks:0.5")).integers.reshape(-1, 4)
    assert np.mean(~blocks.any(axis=1)) == pytest.approx(0.5, abs=0.01)
    assert np.mean(blocks[blocks.any(axis=1)] != 0) > 0.9


@pytest.mark.parametrize(
    "technique", [Sparsity(Setting(0.3)), Sparsity(Setting("blocks:0.2")), Share(Setting(64)), Bits(Setting(6))]
)
def test_each_buys_flash_alone(technique: Technique) -> None:
    """Under `balanced`, where forms that save little are taken only because the technique asked for small ones."""
    flash = lambda graph: lower(graph, load_target("cortex-m4"), "balanced").constant_bytes  # noqa: E731  # short
    graph = changed(technique).graph
    assert flash(graph) < 0.95 * flash(network())
    assert flash(replace(graph, storage={})) > flash(graph)


def test_what_is_asked_for_outlives_pruning_and_the_file() -> None:
    graph = after(Share(Setting(None, {"hidden": 32})))
    (name,) = graph.storage
    again = loads(dumps(graph), {name: op.attrs for name, op in all_ops().items()})
    assert dict(again.storage) == {name: SMALLEST}
    assert Prune(Setting(0.2)).run(graph, EVIDENCE).graph.storage == {name: SMALLEST}


def test_entropy_coding_is_asked_for_where_it_is_smaller() -> None:
    graph = after(Share(Setting(None, {"hidden": 34})))
    result = Entropy().run(graph, EVIDENCE)
    name = next(n for n in graph.nodes if n.name == "hidden").inputs[1]
    assert result.graph.storage == {name: AT_ANY_SPEED} and len(result.declined) == 4
    assert all("bytes coded" in line for line in result.declined)
    saved = constants(replace(graph, storage={name: "plain"})) - constants(result.graph)
    coded, plain = (int(size) for size in re.findall(r": (\d+) bytes instead of (\d+)", result.done[0])[0])
    assert 300 < plain - coded < saved


def test_entropy_coding_is_declined_where_its_code_takes_more() -> None:
    even = Entropy().run(after(Bits(Setting(1))), EVIDENCE)
    assert not even.done and AT_ANY_SPEED not in even.graph.storage.values()
    assert "of code" in even.declined[-1]


def test_clusters_are_the_best_there_are() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=9), rng.uniform(0.1, 1, 9)

    def cost(centres: Array) -> float:
        return float(np.sum(weights * np.min((values[:, None] - centres) ** 2, axis=1)))

    orders = product(range(3), repeat=9)
    best = min(
        cost(np.array([np.average(values[p == k], weights=weights[p == k]) for k in range(3)]))
        for p in map(np.array, orders)
        if len(np.unique(p)) == 3
    )
    assert cost(clusters(values, weights, 3)) == pytest.approx(best, rel=1e-6)


# --- What outputs need --------------------------------------------------------------------------------------------


def plain_clusters(one: Layer, count: int) -> Fitted:
    """k-means of the real weights, in as many steps of the old scales' mean as there can be."""
    step = np.abs(one.target).max() / 127
    centres = np.rint(clusters(one.target / step, np.ones(one.target.shape), count))
    near = np.argmin(np.abs(one.target[..., None] / step - centres), axis=-1)
    return Fitted(centres[near].astype(np.int64), np.full(one.scales.shape, step))


def plain_rounding(one: Layer, bits: int) -> Fitted:
    """The nearest of the values up to each filter's largest weight."""
    low, high = limits(bits)
    scales = np.abs(one.target).max(axis=2) / high
    return Fitted(np.clip(np.rint(one.target / scales[:, :, None]), low, high).astype(np.int64), scales)


def plain_pruning(one: Layer, share: float) -> Fitted:
    """The smallest weights of the layer go, the others stay as they are."""
    limit = np.quantile(np.abs(one.target), share)
    return Fitted(np.where(np.abs(one.target) >= limit, one.stored, 0), one.scales)


@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_lose_less_than_by_the_plain_methods(seed: int) -> None:
    one = layer(seed)
    for count in (4, 16):
        assert noise(one, share(one, count)) < 0.5 * noise(one, plain_clusters(one, count))
    for bits in (3, 4):
        assert noise(one, quantized(one, bits)) < 0.5 * noise(one, plain_rounding(one, bits))
    for ratio in (0.5, 0.8):
        assert noise(one, sparse(one, Pattern(ratio))) < 0.5 * noise(one, plain_pruning(one, ratio))


def test_deep_layers_are_fitted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "MAX_DEPTH", 20)
    one = layer()
    assert [part for part, _ in one.hessian.parts] == [slice(0, 20), slice(20, 40), slice(40, 48)]
    for fitted, plain in (
        (share(one, 8), plain_clusters(one, 8)),
        (quantized(one, 3), plain_rounding(one, 3)),
        (sparse(one, Pattern(0.5)), plain_pruning(one, 0.5)),
    ):
        assert one.noise(fitted.real) < 0.7 * one.noise(plain.real)


def test_large_layers_are_pruned_without_exact_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    one, exact = layer(), sparse(layer(), Pattern(0.5))
    monkeypatch.setattr(obs, "MAX_WORK", 0)
    rough = sparse(one, Pattern(0.5))
    assert np.mean(rough.integers == 0) == pytest.approx(0.5, abs=0.01)
    assert noise(one, exact) <= noise(one, rough) < 0.7 * noise(one, plain_pruning(one, 0.5))


@pytest.mark.parametrize("seed", SEEDS)
def test_more_freedom_costs_no_quality(seed: int) -> None:
    one = layer(seed)
    assert noise(one, share(one, 32)) < noise(one, share(one, 16)) < noise(one, share(one, 4))
    assert noise(one, quantized(one, 6)) < noise(one, quantized(one, 4)) < noise(one, quantized(one, "ternary"))
    free, groups, blocks = (noise(one, sparse(one, Pattern.read(p))) for p in (0.5, "2:4", "blocks:0.5"))
    assert free < groups < blocks


def test_the_walk_keeps_the_network_near() -> None:
    graph = network()
    assert closeness(graph, changed(Share(Setting(16))).graph) > 12
    assert closeness(graph, changed(Bits(Setting(4))).graph) > 11
    assert closeness(graph, changed(Sparsity(Setting(0.3))).graph) > 7


def test_biases_take_up_the_mean() -> None:
    """Two bits are far off, but not on average."""
    graph, other = network(), changed(Bits(Setting(2))).graph
    tensor = graph.types["head"]
    outputs = [np.array([tensor.dequantize(run(g, s)[0]) for s in EVIDENCE.samples]) for g in (graph, other)]
    lost = outputs[1] - outputs[0]
    assert np.all(np.abs(lost.mean(axis=0)) < 0.35 * lost.std(axis=0) + tensor.q.scale / 2)


# --- What came before ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", [lambda x: share(x, 5), lambda x: quantized(x, 3), lambda x: quantized(x, "ternary")])
def test_zeros_of_sparse_layers_stay_zero(fit: Any) -> None:
    one = layer(density=0.4)
    integers = fit(one).integers
    assert not integers[one.stored == 0].any()
    assert len(np.unique(integers)) <= 8


def test_techniques_follow_each_other() -> None:
    graph = after(Sparsity(Setting("2:4")), Share(Setting(8)))
    groups = weights_of(graph, "hidden").reshape(-1, 4) != 0
    assert groups.sum(axis=1).max() == 2 and len(np.unique(weights_of(graph, "hidden"))) <= 8
    assert constants(graph) < constants(network()) * 0.6


# --- Settings, reasons, refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("technique", [Share, Bits, Sparsity])
def test_layers_without_a_setting_keep_their_bits(technique: Any) -> None:
    graph, value = network(), 4 if technique is not Sparsity else 0.5
    other = changed(technique(Setting(None, {"hid*": value})), graph)
    assert len(other.done) == 1 and "'hidden'" in other.done[0] and " dB" in other.done[0]
    for name in LAYERS:
        same = np.array_equal(weights_of(graph, name), weights_of(other.graph, name))
        assert same == (name != "hidden")


def test_automatic_bits_keep_to_the_average() -> None:
    graph = changed(Bits(Setting("auto:4"))).graph
    sizes = {name: weights_of(graph, name) for name in LAYERS}
    bits = sum(w.size * int(np.ceil(np.log2(np.abs(w + 0.5).max() + 0.5) + 1)) for w in sizes.values())
    assert bits <= 4 * sum(w.size for w in sizes.values())
    assert closeness(network(), graph) > closeness(network(), changed(Bits(Setting(4))).graph)


def test_automatic_sharing_keeps_to_the_average() -> None:
    graph = changed(Share(Setting("auto:4"))).graph
    sizes = {name: weights_of(graph, name) for name in LAYERS}
    bits = sum(w.size * int(np.ceil(np.log2(len(np.unique(w))))) for w in sizes.values())
    assert bits <= 4 * sum(w.size for w in sizes.values())
    assert closeness(network(), graph) > closeness(network(), changed(Share(Setting(16))).graph)


def test_a_global_spread_has_as_many_zeros_and_loses_less() -> None:
    graph, named = network(), {name: 0.6 for name in LAYERS}
    even, spread = (changed(Sparsity(Setting(None, named), how)).graph for how in ("uniform", "global"))
    zeros = [sum(np.sum(weights_of(g, name) == 0) for name in LAYERS) for g in (even, spread)]
    assert zeros[1] > zeros[0] * 0.98
    assert closeness(graph, spread) > closeness(graph, even)


def test_small_layers_are_left_dense_unless_named() -> None:
    result = changed(Sparsity(Setting(0.5)))
    assert any("depthwise" in line for line in result.declined)
    assert weights_of(result.graph, "depthwise").all() == weights_of(network(), "depthwise").all()
    named = changed(Sparsity(Setting(0.5, {"depthwise": 0.5})))
    assert np.mean(weights_of(named.graph, "depthwise") == 0) >= 0.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Share(Setting(1)), "give 2 to 64"),
        (lambda: Share(Setting(65)), "give 2 to 64"),
        (lambda: Share(Setting("auto:7")), "for 2 to 6 bits"),
        (lambda: Share(scale="row"), "'channel' or 'tensor'"),
        (lambda: Bits(Setting(9)), "'auto:N'"),
        (lambda: Bits(Setting("auto:1")), "'auto:N'"),
        (lambda: Sparsity(Setting(1.5)), "no sparsity"),
        (lambda: Sparsity(Setting("blocks:2")), "no sparsity"),
        (lambda: Sparsity(Setting("4:2")), "N < M"),
        (lambda: Sparsity(Setting("2:4"), "global"), "globally"),
        (lambda: Sparsity(spread="wide"), "'uniform' or 'global'"),
        (lambda: Share().run(network(), Evidence(())), "samples"),
    ],
)
def test_nonsense_is_refused(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_what_there_is_nothing_to_do_for_is_declined() -> None:
    graph = changed(Share(Setting(None, {"hidden": 4}))).graph
    assert "has no more than 4 values already" in changed(Share(Setting(None, {"hidden": 8})), graph).declined[0]
    graph = changed(Bits(Setting(None, {"hidden": 3}))).graph
    assert "fits 4 bits already" in changed(Bits(Setting(None, {"hidden": 4})), graph).declined[0]
    graph = changed(Sparsity(Setting(None, {"hidden": 0.5}))).graph
    assert "has these zeros already" in changed(Sparsity(Setting(None, {"hidden": 0.3})), graph).declined[0]
    assert "1 bit has no zero" in changed(Bits(Setting(None, {"hidden": 1})), graph).declined[0]
    assert "save nothing" in changed(Share(Setting(None, {"head": 64}))).declined[0]
    with pytest.raises(Declined, match="do not make blocks"):
        sparse(layer(depth=47), Pattern.read("blocks:0.5"))


def test_the_same_input_gives_the_same_bits() -> None:
    for technique in (Share(Setting(8)), Bits(Setting("auto:3.5")), Sparsity(Setting(0.6), "global")):
        one, two = changed(technique).graph, changed(technique).graph
        assert all(np.array_equal(value, two.constants[name]) for name, value in one.constants.items())
        assert one.types == two.types


def test_the_generated_c_has_the_same_bits() -> None:
    recipes: list[list[Technique]] = [
        [Share(Setting(16))],
        [Bits(Setting("auto:4"))],
        [Sparsity(Setting(0.7)), Share(Setting(8), scale="tensor")],
        [Sparsity(Setting("2:4")), Bits(Setting(4))],
        [Sparsity(Setting("blocks:0.75")), Entropy()],
    ]
    graphs = [after(*recipe) for recipe in recipes]
    sets = [samples(4, seed=5)] * len(graphs)
    for graph, inputs, got in zip(graphs, sets, run_c(graphs, sets), strict=True):
        for sample, outputs in zip(inputs, got, strict=True):
            assert_equal(graph.name, outputs, run(graph, sample))


def test_shared_constants_stay_as_they_are_for_other_layers() -> None:
    graph = network()
    one, other = (next(n for n in graph.nodes if n.name == name) for name in ("conv", "hidden"))
    twice = replace(one, name="again", outputs=("again",))
    more = replace(
        graph,
        nodes=(*graph.nodes, twice),
        types={**graph.types, "again": graph.types["conv"]},
        outputs=("head", "again"),
    )
    result = changed(Share(Setting(None, {"conv": 4})), more).graph
    assert len(np.unique(weights_of(result, "conv"))) <= 4
    assert np.array_equal(weights_of(result, "again"), weights_of(graph, "conv"))
    assert other in result.nodes

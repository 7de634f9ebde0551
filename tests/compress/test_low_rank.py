# SPDX-License-Identifier: Apache-2.0
"""Low rank: exact products lose only rounding, forms are counted and measured as they are, refusals say why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.compress.nets import Net, closeness
from tests.laws import assert_equal, run_c
from tinygen.compress import Evidence, Setting
from tinygen.compress.fitting.factors import Form, Layer, forms, restricted, spatial_basis, spread
from tinygen.compress.fitting.latents import choose_latents
from tinygen.compress.fitting.pricing import Offer, Price, cheapest, frontier, price, price_of
from tinygen.compress.low_rank import LowRank
from tinygen.errors import UsageError
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array
from tinygen.ops import Activation, call_of
from tinygen.ops.limits import check_graph
from tinygen.passes.base import macs
from tinygen.reference import run
from tinygen.target import load_target

NONE = Activation.NONE
RNG = np.random.default_rng(7)
#: 8 filters of 3×3×6 that are an exact product of each kind.
COLUMNS = np.einsum("fwr,rhc->fhwc", RNG.normal(size=(16, 3, 4)), RNG.normal(size=(4, 3, 12)))
ROWS = np.einsum("fhr,rwc->fhwc", RNG.normal(size=(16, 3, 4)), RNG.normal(size=(4, 3, 12)))
TUCKER = np.einsum(
    "fq,qhwp,pc->fhwc", RNG.normal(size=(16, 4)), RNG.normal(size=(4, 3, 3, 4)), RNG.normal(size=(4, 12))
)
SVD = np.einsum("fr,rhwc->fhwc", RNG.normal(size=(16, 4)), RNG.normal(size=(4, 3, 3, 12)))
KINDS = {"columns": (COLUMNS, (4,)), "rows": (ROWS, (4,)), "tucker": (TUCKER, (4, 4)), "svd": (SVD, (4,))}


def dense_net(rank: int = 6) -> tuple[Graph, Evidence]:
    """A dense layer of 32 × 40 weights of `rank`, another one of full rank, and the last."""
    net = Net((1, 40))
    low = net.rng.normal(size=(32, rank)) @ net.rng.normal(size=(rank, 40)) / 6
    first = net.dense("low", "x", 32, low)
    return net.finish(net.dense("last", net.dense("full", first, 24), 6, activation=NONE), samples=300)


def conv_net(weights: Array, **attrs: object) -> tuple[Graph, Evidence]:
    net = Net((1, 9, 8, 12))
    first = net.conv("conv", "x", 16, (3, 3), weights / 10, **attrs)
    return net.finish(net.conv("last", first, 4, activation=NONE), samples=24)


def covariance(depth: int) -> Array:
    inputs = RNG.normal(size=(400, depth)) @ RNG.normal(size=(depth, depth))
    return np.cov(inputs.T)


# --- Forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_exact_products_are_found(kind: str) -> None:
    weights, ranks = KINDS[kind]
    found = list(forms(Layer(weights.reshape(16, -1), covariance(108), (16, 3, 3, 12)), 4))
    errors = {form.ranks: form.error for form in found if form.kind == kind}
    assert errors[ranks] < 1e-6
    others = [form.error for form in found if form.kind != kind and max(form.ranks) == 4]
    assert kind == "tucker" or min(others) > 1e-3, "it is no product of another kind"


def test_errors_are_those_of_the_outputs() -> None:
    """Against outputs computed from inputs, not from moments."""
    inputs = RNG.normal(size=(5000, 12)) @ RNG.normal(size=(12, 12))
    weights = RNG.normal(size=(8, 12))
    layer = Layer(weights, inputs.T @ inputs / len(inputs), (8, 1, 1, 12))
    for form in forms(layer, 2):
        outputs = inputs @ weights.T
        _, values, _ = np.linalg.svd(outputs, full_matrices=False)
        best = np.sum(values[form.ranks[0] :] ** 2) / np.sum(outputs**2)
        assert form.error == pytest.approx(best, rel=1e-6), "Eckart and Young: nothing of this rank is nearer"


@pytest.mark.parametrize("kind", ["columns", "rows"])
def test_restricted_weights_are_least_squares(kind: str) -> None:
    layer = Layer(RNG.normal(size=(6, 54)), covariance(54), (6, 3, 3, 6))
    maps = spread(spatial_basis(layer, kind)[:4], kind, layer.shape)
    root = np.linalg.cholesky(layer.covariance)
    best, *_ = np.linalg.lstsq((maps @ root).T, (layer.weights @ root).T, rcond=None)
    assert np.allclose(restricted(layer, maps), best.T, rtol=1e-4, atol=1e-6)


def test_latents_are_spread_evenly() -> None:
    """One large direction and many small ones: turned, they all have the same share of it."""
    basis, mix = np.diag([16.0, *[1.0] * 7]), np.eye(8)
    inputs = RNG.normal(size=(2000, 8))
    chosen = choose_latents(basis, mix, inputs, per_tensor=True)
    peaks = np.abs(inputs @ chosen.basis.T).max(axis=0)
    assert peaks.max() < 4 * peaks.min()
    assert np.abs(inputs @ basis.T).max() > 1.3 * peaks.max()


# --- Prices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "attrs"), [(k, a) for k in KINDS for a in ({}, {"stride": (2, 1)})])
def test_prices_are_what_the_layers_cost(kind: str, attrs: dict[str, object]) -> None:
    weights, ranks = KINDS[kind]
    graph, evidence = conv_net(weights, **attrs)
    result = LowRank(Setting(None, {"conv": 0.5})).run(graph, evidence)
    target, node = load_target("cortex-m4"), graph.nodes[0]
    made = [n for n in result.graph.nodes if n.name.startswith("conv")]
    if f"{kind} of rank {' and '.join(map(str, ranks))}" in result.done[0]:
        form = Form(kind, ranks, 0.0)
        parts = [price_of(call_of(result.graph, n), target) for n in made]
        assert sum(parts[1:], start=parts[0]) == price(call_of(graph, node), form, target)
    assert macs(result.graph) < macs(graph)


def test_a_budget_is_spent_where_it_serves_best() -> None:
    target = load_target("cortex-m4")

    def offer(size: int, error: float) -> Offer:
        return Offer(Form("svd", (4,), error), Price(size, size, float(size)), target)

    offers = {"a": (offer(20, 0.3), offer(60, 0.2)), "b": (offer(20, 0.05), offer(60, 0.01))}
    plain = {name: Price(100, 100, 100.0) for name in offers}
    assert {n: o.price.bytes for n, o in cheapest(offers, plain, {"a": 1.0, "b": 1.0}, 130).items()} == {"b": 20}
    assert set(cheapest(offers, plain, {"a": 1.0, "b": 1000.0}, 130)) == {"a"}
    assert {n: o.price.bytes for n, o in cheapest(offers, plain, {"a": 1.0, "b": 1.0}, 1).items()} == {"a": 20, "b": 20}
    assert {n: o.price.bytes for n, o in cheapest(offers, plain, {"a": 1.0, "b": 1.0}, 165).items()} == {"b": 60}
    assert cheapest(offers, plain, {"a": 1.0, "b": 1.0}, 200) == {}


def test_the_frontier_has_no_offer_that_another_beats() -> None:
    target = load_target("cortex-m4")
    sizes = [(10, 0.5), (20, 0.6), (30, 0.2), (30, 0.3), (40, 0.2)]
    offers = [Offer(Form("svd", (4,), e), Price(b, b, float(b)), target) for b, e in sizes]
    assert [(o.price.bytes, o.form.error) for o in frontier(offers)] == [(10, 0.5), (30, 0.2)]


# --- The technique -------------------------------------------------------------------------------------------------


def test_an_exactly_low_rank_layer_loses_only_rounding() -> None:
    graph, evidence = dense_net(rank=8)
    result = LowRank(Setting(None, {"low": 0.4})).run(graph, evidence)
    assert "svd of rank 8" in result.done[0]
    assert closeness(graph, result.graph, evidence) > 30
    check_graph(result.graph)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
def test_separable_kernels_lose_only_rounding(kind: str, stride: tuple[int, int]) -> None:
    weights, _ = KINDS[kind]
    graph, evidence = conv_net(weights, stride=stride)
    result = LowRank(Setting(None, {"conv": 0.5})).run(graph, evidence)
    assert result.done[0].startswith(f"CONV_2D 'conv': {kind if kind != 'svd' else ''}"), result.done
    assert closeness(graph, result.graph, evidence) > 27
    check_graph(result.graph)


def test_full_rank_is_declined() -> None:
    net = Net((1, 16))
    weights, _ = np.linalg.qr(net.rng.normal(size=(16, 16)))
    graph, evidence = net.finish(net.dense("last", "x", 16, weights, NONE), samples=200)
    result = LowRank(energy=0.999).run(graph, evidence)
    assert result.graph is graph and not result.done
    assert "keeps at most" in result.declined[0]


def test_layers_without_a_form_say_why() -> None:
    net = Net((1, 4, 4, 8))
    tiny = net.conv("tiny", "x", 4)
    grouped = net.depthwise("dw", tiny)
    graph, evidence = net.finish(net.conv("last", grouped, 32, (3, 3), activation=NONE), samples=16)
    result = LowRank(Setting(0.2)).run(graph, evidence)
    assert any("'tiny'" in line and "no rank gives both fewer bytes and fewer instructions" in line
               for line in result.declined)  # fmt: skip
    assert not any("'dw'" in line for line in (*result.done, *result.declined))


def test_the_ratio_is_met_over_the_whole_model() -> None:
    graph, evidence = dense_net(rank=6)
    result = LowRank(Setting(0.25)).run(graph, evidence)
    sizes = [sum(v.nbytes for v in g.constants.values()) for g in (graph, result.graph)]
    assert sizes[1] <= 0.78 * sizes[0] and macs(result.graph) < macs(graph)
    assert "'low'" in result.done[0] and "svd" in result.done[0], "the layer of low rank goes first"


def test_energy_takes_the_fewest_bytes_that_keep_it() -> None:
    graph, evidence = dense_net(rank=6)
    low, high = (LowRank(energy=e).run(graph, evidence) for e in (0.5, 0.999))
    assert "svd of rank 4" in low.done[0] and "svd of rank 8" in high.done[0]


def test_rounding_the_first_factor_is_made_good() -> None:
    """Fitted on what the rounded first factor gives, the second loses less than when it is taken as it was."""
    from tinygen.compress.fitting import chains

    graph, evidence = dense_net(rank=16)
    technique = LowRank(Setting(None, {"low": 0.3}))
    fitted = closeness(graph, technique.run(graph, evidence).graph, evidence)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(chains, "fit", lambda seen, prior: prior)
        plain = closeness(graph, technique.run(graph, evidence).graph, evidence)
    assert fitted >= plain


def test_layers_left_out_stay_and_ports_do() -> None:
    graph, evidence = dense_net()
    result = LowRank(Setting(0.3, {"low": None})).run(graph, evidence)
    assert not any("'low'" in line for line in (*result.done, *result.declined))
    assert np.array_equal(result.graph.constants["low:w"], graph.constants["low:w"])
    names = (*graph.inputs, *graph.outputs)
    assert [result.graph.types[n] for n in names] == [graph.types[n] for n in names]


def test_the_same_bits_twice() -> None:
    graph, evidence = conv_net(TUCKER)
    first, second = (LowRank(Setting(0.4)).run(graph, evidence) for _ in range(2))
    assert store.dumps(first.graph) == store.dumps(second.graph) and first.done == second.done


def test_one_sample_is_enough_to_run() -> None:
    graph, evidence = conv_net(COLUMNS)
    check_graph(LowRank(Setting(0.4)).run(graph, replace(evidence, samples=evidence.samples[:1])).graph)


def test_generated_c_gives_the_same_bits() -> None:
    nets = [(conv_net(w), Setting(0.4)) for w, _ in KINDS.values()] + [(dense_net(), Setting(0.2))]
    made = [LowRank(setting).run(graph, evidence) for (graph, evidence), setting in nets]
    assert all(result.done for result in made)
    sets = [[list(sample) for sample in evidence.held_back[:3]] for (_, evidence), _ in nets]
    for result, inputs, got in zip(made, sets, run_c([r.graph for r in made], sets), strict=True):
        for sample, answer in zip(inputs, got, strict=True):
            assert_equal("C", answer, run(result.graph, sample))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ratio": Setting(1)}, "ratio"),
        ({"ratio": Setting(0.5, {"a": "much"})}, "ratio"),
        ({"energy": 1.5}, "energy"),
        ({"multiple": 0}, "multiple"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LowRank(**settings)  # type: ignore[arg-type]

# SPDX-License-Identifier: Apache-2.0
"""Structured pruning: the right channels go, everywhere they reach, and the layers behind make up for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.compress.nets import Net, channels, closeness
from tests.laws import assert_equal, run_c
from tinygen.compress import Evidence, Setting
from tinygen.compress import prune as pruning
from tinygen.compress.prune import Prune
from tinygen.errors import UsageError
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ops import Activation
from tinygen.ops.limits import check_graph
from tinygen.passes.base import macs
from tinygen.reference import run

NONE = Activation.NONE


def residual() -> tuple[Graph, Evidence]:
    """A convolution, a residual block with a depthwise convolution, a concatenation, a pool, and dense layers."""
    net = Net((1, 4, 4, 4))
    stem = net.conv("stem", "x", 16, (3, 3))
    body = net.conv("body", net.depthwise("dw", net.conv("wide", stem, 24)), 16, activation=NONE)
    joined = net.concat("joined", net.sum("sum", stem, body), net.conv("side", "x", 8))
    flat = net.flatten("flat", net.pool("pool", joined))
    return net.finish(net.dense("head", net.dense("hidden", flat, 20), 5, activation=NONE))


def dense_net(hidden: int = 32) -> tuple[Graph, Evidence]:
    net = Net((1, 12))
    first = net.dense("first", "x", hidden)
    return net.finish(net.dense("last", net.dense("second", first, 24), 6, activation=NONE), samples=400)


def repeated() -> tuple[Graph, Evidence]:
    """A dense layer whose units come in four copies each."""
    net = Net((1, 10))
    rows = np.repeat(net.rng.normal(size=(8, 10)), 4, axis=0)
    first = net.dense("first", "x", 32, rows)
    net.constants["first:b"] = np.repeat(net.rng.normal(size=8), 4).astype(np.float32)
    return net.finish(net.dense("last", first, 6, activation=NONE), samples=300)


@pytest.mark.parametrize("saliency", ["activation", "magnitude", "mix"])
@pytest.mark.parametrize("spread", ["global", "uniform"])
def test_ties_hold_and_ports_stay(saliency: str, spread: str) -> None:
    graph, evidence = residual()
    result = Prune(Setting(0.4), saliency=saliency, spread=spread).run(graph, evidence)  # type: ignore[arg-type]
    now, sizes = result.graph, channels(result.graph)
    check_graph(now)
    assert sizes["stem"] == sizes["body"] == sizes["sum"]
    assert sizes["wide"] == sizes["dw"]
    assert sizes["joined"] == sizes["sum"] + sizes["side"] == sizes["pool"]
    assert sizes["flat"] == 4 * sizes["pool"] and sizes["head"] == 5
    assert all(sizes[name] % 4 == 0 for name in ("stem", "wide", "side", "hidden"))
    assert [now.types[n] for n in (*now.inputs, *now.outputs)] == [graph.types[n] for n in (*graph.inputs, "head")]
    weights = [sum(v.size for v in g.constants.values() if v.dtype == np.int8) for g in (graph, now)]
    assert 0.45 * weights[0] < weights[1] <= 0.62 * weights[0]
    assert any("head" in line and "output of the model" in line for line in result.declined)


def test_what_is_left_answers_as_before_where_channels_are_copies() -> None:
    graph, evidence = repeated()
    result = Prune(Setting(0.0, {"first": 0.75})).run(graph, evidence)
    assert channels(result.graph)["first"] == 8
    assert closeness(graph, result.graph, evidence) > 30
    kept = result.graph.constants[result.graph.nodes[0].inputs[1]]
    assert len(np.unique(kept, axis=0)) == 8, "one of each is left"


def test_a_channel_that_says_nothing_goes_first() -> None:
    net = Net((1, 12))
    first = net.dense("first", "x", 16)
    weights = net.rng.normal(size=(8, 16))
    weights[:, [1, 5, 6, 11]] = 0.001
    graph, evidence = net.finish(net.dense("last", first, 8, weights, NONE), samples=200)
    result = Prune(Setting(None, {"first": 0.25})).run(graph, evidence)
    before, now = (g.constants[g.nodes[0].inputs[1]] for g in (graph, result.graph))
    assert np.array_equal(now, np.delete(before, [1, 5, 6, 11], axis=0))
    assert closeness(graph, result.graph, evidence) > 30


def test_reconstruction_beats_plain_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, evidence = dense_net()
    fitted = Prune(Setting(0.3)).run(graph, evidence).graph
    monkeypatch.setattr(pruning, "refit", lambda walk, node: node)
    plain = Prune(Setting(0.3)).run(graph, evidence).graph
    assert channels(fitted) == channels(plain)
    assert closeness(graph, fitted, evidence) > closeness(graph, plain, evidence) + 3


def test_activations_tell_more_than_magnitudes() -> None:
    graph, evidence = dense_net(48)
    aware, blind = (Prune(Setting(0.3), saliency=s).run(graph, evidence).graph for s in ("activation", "magnitude"))
    assert closeness(graph, aware, evidence) > closeness(graph, blind, evidence)


def test_quality_falls_gracefully() -> None:
    graph, evidence = dense_net()
    made = [closeness(graph, Prune(Setting(r)).run(graph, evidence).graph, evidence) for r in (0.1, 0.3, 0.6)]
    assert made == sorted(made, reverse=True) and made[0] > 15 and made[-1] > 0


def test_what_lies_before_keeps_its_bits() -> None:
    graph, evidence = residual()
    result = Prune(Setting(None, {"hidden": 0.4})).run(graph, evidence)
    assert channels(result.graph)["hidden"] == 12
    for old, new in zip(graph.nodes, result.graph.nodes, strict=True):
        if old.name not in ("hidden", "head"):
            assert [graph.constants.get(n) is None or np.array_equal(graph.constants[n], result.graph.constants[m])
                    for n, m in zip(old.inputs, new.inputs, strict=True)]  # fmt: skip
            assert old == new


@pytest.mark.parametrize("measure", ["bytes", "macs", "channels"])
def test_the_share_is_of_what_is_asked_for(measure: str) -> None:
    graph, evidence = residual()
    result = Prune(Setting(0.3), of=measure).run(graph, evidence)  # type: ignore[arg-type]
    if measure == "macs":
        assert 0.55 * macs(graph) < macs(result.graph) <= 0.7 * macs(graph)
    if measure == "channels":
        layers = ("stem", "wide", "body", "side", "hidden", "head")
        assert sum(channels(result.graph)[n] for n in layers) <= 0.7 * sum(channels(graph)[n] for n in layers)


def test_the_share_counts_channels_that_cannot_go() -> None:
    """Half of what the last layer reads is the input itself, and stays."""
    net = Net((1, 4, 4, 16))
    joined = net.concat("joined", "x", net.conv("side", "x", 16))
    graph, evidence = net.finish(net.conv("last", joined, 8, activation=NONE), samples=24)
    result = Prune(Setting(0.5), floor=0.0).run(graph, evidence)
    assert channels(result.graph) == {"side": 4, "joined": 20, "last": 8}
    lowered = [sum(v.size for v in g.constants.values() if v.dtype == np.int8) for g in (graph, result.graph)]
    assert lowered == [16 * 16 + 32 * 8, 4 * 16 + 20 * 8]


def test_layers_that_are_left_out_keep_all_channels() -> None:
    graph, evidence = residual()
    result = Prune(Setting(0.3, {"wide": None, "h*": None})).run(graph, evidence)
    assert channels(result.graph)["wide"] == 24 and channels(result.graph)["hidden"] == 20
    assert channels(result.graph)["stem"] < 16


def test_says_so_where_the_floor_is_reached() -> None:
    graph, evidence = dense_net()
    result = Prune(Setting(0.95), floor=0.5).run(graph, evidence)
    assert channels(result.graph)["first"] == 16
    assert any("can go: the rest is at its floor" in line for line in result.declined)


def test_nothing_to_remove() -> None:
    net = Net((1, 8))
    graph, evidence = net.finish(net.dense("only", "x", 4, activation=NONE))
    result = Prune(Setting(0.5)).run(graph, evidence)
    assert result.graph is graph and not result.done
    assert any("there is no layer whose channels could go" in line for line in result.declined)


def test_the_same_bits_twice() -> None:
    graph, evidence = residual()
    first, second = (Prune(Setting(0.4)).run(graph, evidence) for _ in range(2))
    assert store.dumps(first.graph) == store.dumps(second.graph) and first.done == second.done


def test_one_sample_is_enough_to_run() -> None:
    graph, evidence = residual()
    result = Prune(Setting(0.3)).run(graph, replace(evidence, samples=evidence.samples[:1]))
    check_graph(result.graph)


def test_generated_c_gives_the_same_bits() -> None:
    graph, evidence = residual()
    smaller = Prune(Setting(0.4)).run(graph, evidence).graph
    sets = [list(sample) for sample in evidence.held_back[:4]]
    expected = [run(smaller, inputs) for inputs in sets]
    for got, wanted in zip(run_c([smaller], [sets])[0], expected, strict=True):
        assert_equal("C", got, wanted)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ratio": Setting(1.0)}, "ratio"),
        ({"ratio": Setting("half")}, "ratio"),
        ({"ratio": Setting(0.5, {"a": -1})}, "ratio"),
        ({"of": "flash"}, "expected of to be one of bytes, macs, channels"),
        ({"saliency": "luck"}, "saliency"),
        ({"spread": "even"}, "spread"),
        ({"multiple": 0}, "multiple"),
        ({"floor": 2}, "floor"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Prune(**settings)  # type: ignore[arg-type]


def test_groups_are_what_has_a_width() -> None:
    """Each is found under its layers' names, and its width alone changes by a pattern of one of them."""
    graph, evidence = residual()
    found = {group.layers: group for group in pruning.groups(graph)}
    assert {layers: group.channels for layers, group in found.items()} == {
        ("stem", "body"): 16,
        ("wide", "dw"): 24,
        ("side",): 8,
        ("hidden",): 20,
    }
    before = channels(graph)
    for group in found.values():
        ratio = Setting(None, {group.layers[-1]: 1 - 8 / group.channels})
        now = Prune(ratio).run(graph, evidence).graph
        changed = {name for name, count in channels(now).items() if count != before[name]}
        assert set(group.layers) <= changed if group.channels > 8 else not changed
        assert all(channels(now)[name] == 8 for name in group.layers)
        assert not changed & {name for other in found.values() if other is not group for name in other.layers}
        weights = sum(graph.constants[n].nbytes for n in graph.constants)
        saved = weights - sum(now.constants[n].nbytes for n in now.constants)
        assert abs(saved - group.bytes * (group.channels - 8)) <= 0.05 * weights

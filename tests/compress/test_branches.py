# SPDX-License-Identifier: Apache-2.0
"""Branches of residual sums: the one that is missed least goes, and the layers behind make up for it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compress.nets import Net, closeness
from tests.laws import assert_equal, run_c
from tinygen.compress import Evidence, Setting
from tinygen.compress.branches import Branches, branches, removed, without
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ops import Activation
from tinygen.ops.limits import check_graph
from tinygen.passes.base import macs
from tinygen.reference import run

NONE = Activation.NONE


def residual(quiet: float = 0.002) -> tuple[Graph, Evidence]:
    """A sum with its input (``first``) whose branch hardly counts; one with a shortcut with weights (``second``)."""
    net = Net((1, 6, 6, 3))
    stem = net.conv("stem", "x", 12, (3, 3))
    body = net.conv("body", net.conv("wide", stem, 16), 12, activation=NONE)
    net.constants["body:w"] = net.constants["body:w"] * np.float32(quiet)
    first = net.sum("first", stem, body)
    inner = net.conv("inner", net.conv("down", first, 16, (3, 3), stride=(2, 2)), 16, (3, 3), activation=NONE)
    shortcut = net.conv("shortcut", first, 16, stride=(2, 2), activation=NONE)
    second = net.sum("second", inner, shortcut)
    return net.finish(net.dense("head", net.flatten("flat", net.pool("pool", second, 3)), 5, activation=NONE))


def names(graph: Graph) -> set[str]:
    return {node.name for node in graph.nodes}


def test_every_branch_with_weights_is_offered() -> None:
    graph, _ = residual()
    offers = {(b.add.name, b.stays): b for b in branches(graph)}
    assert set(offers) == {("first", "stem"), ("second", "inner"), ("second", "shortcut")}
    assert offers["second", "inner"].nodes == ("shortcut",) and offers["first", "stem"].nodes == ("wide", "body")
    for (add, stays), branch in offers.items():
        made = without(graph, branch.add, stays)
        check_graph(made)
        assert names(graph) - names(made) == {add, *branch.nodes}
        assert made.inputs == graph.inputs and made.outputs == graph.outputs


def test_what_is_missed_least_goes_and_the_rest_makes_up_for_it() -> None:
    graph, evidence = residual()
    result = Branches(Setting(1)).run(graph, evidence)
    check_graph(result.graph)
    assert names(graph) - names(result.graph) == {"first", "wide", "body"} and macs(result.graph) < macs(graph)
    assert "without wide, body" in result.done[0] and not result.declined
    raw = without(graph, next(n for n in graph.nodes if n.name == "first"), "stem")
    assert closeness(graph, result.graph, evidence) > closeness(graph, raw, evidence) + 3
    assert closeness(graph, result.graph, evidence) > 20


def test_who_stays_alone_learns_the_sum() -> None:
    """The shortcut computes what both branches did together, as far as it can: better than with its own weights."""
    graph, evidence = residual()
    branch = next(b for b in branches(graph) if b.stays == "shortcut")
    made = removed(graph, branch, evidence.samples).graph()
    raw = without(graph, branch.add, "shortcut")
    check_graph(made)
    assert closeness(graph, made, evidence) > closeness(graph, raw, evidence) + 3


def test_patterns_choose() -> None:
    graph, evidence = residual()
    gone = Branches(Setting(0, {"shortcut": 1})).run(graph, evidence).graph
    assert names(graph) - names(gone) == {"second", "shortcut"}
    kept = Branches(Setting("all", {"wide": None, "short*": None})).run(graph, evidence)
    assert names(graph) - names(kept.graph) == {"second", "down", "inner"}
    assert len(kept.declined) == 1 and "no further sum" in kept.declined[0]


def test_the_same_input_gives_the_same_bits_also_in_c() -> None:
    graph, evidence = residual()
    one, two = (Branches(Setting("all")).run(graph, evidence).graph for _ in range(2))
    assert all(np.array_equal(value, two.constants[name]) for name, value in one.constants.items())
    inputs = list(evidence.held_back[:3])
    for sample, outputs in zip(inputs, run_c([one], [inputs])[0], strict=True):
        assert_equal("net", outputs, run(one, sample))


def test_without_a_sum_nothing_goes() -> None:
    net = Net((1, 8))
    graph, evidence = net.finish(net.dense("head", net.dense("hidden", "x", 8), 4, activation=NONE))
    result = Branches().run(graph, evidence)
    assert result.graph is graph and not result.done and result.declined


@pytest.mark.parametrize("setting", [Setting(-1), Setting(0.5), Setting("some"), Setting(1, {"a": 2})])
def test_nonsense_is_refused(setting: Setting) -> None:
    with pytest.raises(UsageError, match="expected"):
        Branches(setting)

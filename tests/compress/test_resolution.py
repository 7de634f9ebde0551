# SPDX-License-Identifier: Apache-2.0
"""A smaller image in front of a network that ends in a global pool: ports stay, the rest shrinks and is fitted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compress.nets import Net, closeness
from tests.laws import assert_equal, run_c
from tinygen.compress import Evidence, Setting
from tinygen.compress.resolution import Resolution, UnsuitableError, shrunk
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ops import Activation
from tinygen.ops.limits import check_graph
from tinygen.passes.base import macs
from tinygen.quantize.report import inputs_of
from tinygen.reference import run

NONE = Activation.NONE


def pooled(side: int = 8, window: int = 0) -> tuple[Graph, Evidence]:
    """Convolutions, a residual sum, a depthwise layer, a pool of `window` (default: all there is), a dense layer."""
    net = Net((1, side, side, 2))
    stem = net.conv("stem", "x", 8, (3, 3))
    body = net.sum("sum", stem, net.conv("body", stem, 8, (3, 3), activation=NONE))
    flat = net.flatten("flat", net.pool("pool", net.depthwise("dw", body), window or side))
    graph, _ = net.finish(net.dense("head", flat, 4, activation=NONE), samples=1)
    sets = [inputs_of(graph, (smooth(side, seed),)) for seed in range(150)]
    return graph, Evidence(sets[:110], sets[110:])


def smooth(side: int, seed: int) -> np.ndarray:
    """An image whose pixels are like their neighbours."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(1, -(-side // 2), -(-side // 2), 2)).repeat(2, axis=1).repeat(2, axis=2)
    return (coarse[:, :side, :side] + 0.1 * rng.normal(size=(1, side, side, 2))).astype(np.float32)


def test_everything_but_the_ports_shrinks() -> None:
    graph, evidence = pooled()
    result = Resolution().run(graph, evidence)
    now = result.graph
    check_graph(now)
    assert now.types[now.inputs[0]] == graph.types[graph.inputs[0]] and now.inputs == graph.inputs
    assert now.types[now.outputs[0]] == graph.types[graph.outputs[0]]
    assert {now.types[n].shape for n in ("stem", "sum", "dw")} == {(1, 4, 4, 8)}
    assert 3.5 < macs(graph) / macs(now) < 4.5
    assert "pooled from 8 to 4 rows" in result.done[0] and not result.declined


def test_layers_are_fitted_to_what_they_gave() -> None:
    graph, evidence = pooled()
    raw, fitted = shrunk(graph, 2), Resolution().run(graph, evidence).graph
    assert closeness(graph, fitted, evidence) > closeness(graph, raw, evidence) + 2


@pytest.mark.parametrize(("side", "factor"), [(7, 2), (8, 3), (9, 4)])
def test_odd_sizes_and_the_same_bits_in_c(side: int, factor: int) -> None:
    graph, evidence = pooled(side)
    now = Resolution(Setting(factor)).run(graph, evidence).graph
    check_graph(now)
    assert now.types["stem"].shape[1] == -(-side // factor)
    inputs = list(evidence.held_back[:2])
    for sample, outputs in zip(inputs, run_c([now], [inputs])[0], strict=True):
        assert_equal("net", outputs, run(now, sample))


def test_networks_that_need_their_size_are_left_alone() -> None:
    graph, evidence = pooled(8, window=2)
    result = Resolution().run(graph, evidence)
    assert result.graph is graph and "asks for the size" in result.declined[0]
    net = Net((1, 6))
    dense, _ = net.finish(net.dense("head", "x", 4, activation=NONE), samples=1)
    with pytest.raises(UnsuitableError, match="one input, an image"):
        shrunk(dense, 2)
    net = Net((1, 6, 6, 2))
    maps, _ = net.finish(net.conv("map", "x", 4, (3, 3)), samples=1)
    with pytest.raises(UnsuitableError, match="no global pool"):
        shrunk(maps, 2)


@pytest.mark.parametrize("setting", [Setting(1), Setting(2.5), Setting("all"), Setting(2, {"stem": 3})])
def test_nonsense_is_refused(setting: Setting) -> None:
    with pytest.raises(UsageError, match="expected factor"):
        Resolution(setting)

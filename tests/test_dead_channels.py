# SPDX-License-Identifier: Apache-2.0
"""Dead channels: where they go, where they must stay and why; that no bit changes, in TFLM's answers and in the C's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import zoo
from tests.channel_models import network
from tests.laws import assert_equal, draw_inputs, load, run_c, tflm
from tests.test_passes import Case, check
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.cli import main
from tinygen.errors import UsageError
from tinygen.ir.graph import Graph
from tinygen.ops import call_of, op_of, problems_of
from tinygen.passes import LOSSLESS, lossless, run_passes
from tinygen.passes.base import Result, constant_bytes
from tinygen.passes.dead_channels import DeadChannels
from tinygen.reference import run

#: Scale and zero point of tensors, and scale of weights, with which nothing is constant but what shall be.
SCALE, ZERO, WEIGHT = 0.1, -5, 0.003
#: A bias with which a channel is at its upper limit for every input, or with RELU at its lower limit if negative.
LARGE = 4_000_000


class Net:
    """A network in the making, of tensors that are known by name: x is its input."""

    def __init__(self, channels: int = 2, size: int = 4) -> None:
        self.b, self.rng = ModelBuilder(), np.random.default_rng(channels)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.numbers: dict[str, int] = {}
        self.tensor("x", (1, size, size, channels))

    def tensor(self, name: str, shape: tuple[int, ...], scale: float = SCALE) -> int:
        self.shapes[name] = shape
        self.numbers[name] = self.b.tensor(shape, "int8", scale, ZERO, name=name)
        return self.numbers[name]

    def layer(
        self,
        op: str,
        source: str,
        name: str,
        channels: int,
        kernel: int = 1,
        bias: Mapping[int, int] | None = None,
        zero: Mapping[str, list[int]] | None = None,
        same: bool = True,
        plain: bool = False,
        weights: int | None = None,
    ) -> Net:
        """A layer `name` of `channels`, with weights that are not zero but for outputs `zero["out"]`, inputs
        `zero["in"]` and, for inputs `zero["edge"]`, every tap but the middle one. `bias` has other values than small
        ones, and goes with RELU; `plain`: no bias at all. `weights`: those of another layer."""
        n, height, width, depth = (*self.shapes[source], 1, 1, 1)[:4]
        depthwise, dense = op == "DEPTHWISE_CONV_2D", op == "FULLY_CONNECTED"
        shape = (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, depth)
        values = self.rng.integers(1, 128, shape) * self.rng.choice([-1, 1], shape)
        for what, listed in (zero or {}).items():
            if what == "out":
                np.moveaxis(values, 3 if depthwise else 0, 0)[listed] = 0
            middle = values[:, 1:2, 1:2].copy() if what == "edge" else 0
            if what in ("in", "edge"):
                values[..., listed] = 0
            if what == "edge":
                values[:, 1:2, 1:2] = middle
        biases = self.rng.integers(-200, 200, channels)
        for channel, value in (bias or {}).items():
            biases[channel] = value
        if dense:
            n, depth = self.shapes[source]
            shape = (channels, depth)
            values = self.rng.integers(1, 128, shape) * self.rng.choice([-1, 1], shape)
        number = self.b.tensor(shape, "int8", WEIGHT, 0, values) if weights is None else weights
        self.last = number
        inputs = [self.numbers[source], number]
        inputs.append(-1 if plain else self.b.tensor((channels,), "int32", SCALE * WEIGHT, 0, biases))
        if dense:
            self.b.op(op, inputs, [self.tensor(name, (n, channels))], "FullyConnectedOptions")
            return self
        sides = (height, width) if same else (height - kernel + 1, width - kernel + 1)
        options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": int(not same)}
        options |= {"depthMultiplier": channels // depth} if depthwise else {}
        table = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        output = self.tensor(name, (n, *sides, channels))
        self.b.op(op, inputs, [output], table, fusedActivationFunction=int(bool(bias)), **options)
        return self

    def conv(self, source: str, name: str, channels: int, **options: Any) -> Net:
        return self.layer("CONV_2D", source, name, channels, **options)

    def depthwise(self, source: str, name: str, channels: int, kernel: int = 3, **options: Any) -> Net:
        return self.layer("DEPTHWISE_CONV_2D", source, name, channels, kernel=kernel, **options)

    def op(
        self, op: str, sources: str, name: str, shape: tuple[int, ...], *constants: Any, table: str = "", **options: Any
    ) -> Net:
        inputs = [self.numbers[s] for s in sources.split()] + [self.b.constant(c) for c in constants]
        self.b.op(op, inputs, [self.tensor(name, shape, SCALE * (1 + (op == "ADD")))], table or None, **options)
        return self

    def dense(self, source: str, name: str = "y", units: int = 2) -> Net:
        """`source` laid flat, and a dense layer."""
        depth = int(np.prod(self.shapes[source]))
        self.op("RESHAPE", source, f"{name}:flat", (1, depth), [1, depth], table="ReshapeOptions", newShape=[1, depth])
        return self.layer("FULLY_CONNECTED", f"{name}:flat", name, units)

    def finish(self, *outputs: str) -> bytes:
        return self.b.finish([self.numbers["x"]], [self.numbers[o] for o in outputs or ("y",)])


@dataclass(frozen=True)
class Dead:
    """A model, the channels that each tensor has afterwards (0: it is gone), and words of why some stay."""

    make: Callable[[], bytes]
    left: Mapping[str, int] = field(default_factory=dict)
    declined: str = ""


HIGH, LOW = {0: LARGE}, {0: -LARGE}
POOL = {"table": "Pool2DOptions", "filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2, "padding": 1}


def reader(kernel: int = 1, size: int = 4, **options: Any) -> bytes:
    """A layer of three channels, the first at its upper limit, and a padded convolution that reads it."""
    net = Net(size=size).conv("x", "a", 3, bias=options.pop("bias", HIGH), zero=options.pop("dead", None))
    return net.conv("a", "y", 2, kernel=kernel, **options).finish()


def through_depthwise(bias: Mapping[int, int], second: Mapping[int, int], channels: int = 3) -> bytes:
    net = Net().conv("x", "a", 3, bias=bias).depthwise("a", "d", channels, bias=second)
    return net.conv("d", "y", 2).finish()


def summed(first: Mapping[int, int], second: Mapping[int, int]) -> bytes:
    net = Net().conv("x", "a", 3, bias=first).conv("x", "b", 3, bias=second)
    return net.op("ADD", "a b", "s", (1, 4, 4, 3), table="AddOptions").conv("s", "y", 2).finish()


def joined(first: Mapping[int, int]) -> bytes:
    net = Net().conv("x", "a", 2, bias=first).conv("x", "b", 3)
    net.op("CONCATENATION", "a b", "j", (1, 4, 4, 5), table="ConcatenationOptions", axis=3)
    return net.conv("j", "y", 2).finish()


def pooled(op: str = "MAX_POOL_2D") -> bytes:
    """A pool, a function and a dense layer, whose weights lose rows by pixel and channel."""
    net = Net().conv("x", "a", 3, bias=HIGH).op(op, "a", "p", (1, 2, 2, 3), **POOL)
    return net.op("ELU", "p", "e", (1, 2, 2, 3)).dense("e").finish()


def bordered(value: int) -> bytes:
    """PAD, which a pool reads, so that it stays; the first channel is `value`."""
    net = Net().conv("x", "a", 3, bias={0: round((value - ZERO) / WEIGHT)}, zero={"out": [0]})
    net.op("PAD", "a", "p", (1, 6, 6, 3), [[0, 0], [1, 1], [1, 1], [0, 0]], table="PadOptions")
    return net.op("MAX_POOL_2D", "p", "m", (1, 3, 3, 3), **POOL).conv("m", "y", 2).finish()


def shared_weights() -> bytes:
    """Two layers with the same weights, of which one has a dead channel."""
    net = Net().conv("x", "a", 3, bias=HIGH)
    return net.conv("x", "b", 3, weights=net.last).conv("a", "c", 2).conv("b", "y", 2).finish("c", "y")


def all_dead(size: int = 1) -> bytes:
    net = Net(size=size).conv("x", "a", 3, bias={c: LARGE for c in range(3)})
    return net.conv("a", "y", 2).finish()


def branch() -> bytes:
    """A branch that is constant altogether, added to one that is not."""
    net = Net().conv("x", "a", 3, bias={c: LARGE for c in range(3)}).conv("a", "c", 3).conv("x", "b", 3)
    return net.op("ADD", "c b", "s", (1, 4, 4, 3), table="AddOptions").conv("s", "y", 2).finish()


CASES = {
    "at the upper limit": Dead(reader, {"a": 2, "y": 2}),
    "at the lower limit": Dead(lambda: reader(bias=LOW), {"a": 2}),
    "without weights": Dead(lambda: reader(bias={}, dead={"out": [0, 2]}), {"a": 1}),
    "into a bias that was not there": Dead(lambda: reader(plain=True), {"a": 2}),
    "read by weights of zero": Dead(lambda: reader(bias={}, zero={"in": [1]}), {"a": 2}),
    "at the zero point, before padding": Dead(lambda: reader(3, bias=LOW), {"a": 2}),
    "elsewhere, before padding": Dead(lambda: reader(3), {"a": 3}, "CONV_2D 'y' pads with another value"),
    "elsewhere, before no padding": Dead(lambda: reader(3, same=False), {"a": 2}),
    "read in the middle only": Dead(lambda: reader(3, zero={"edge": [0]}), {"a": 2}),
    "one pixel, always in the middle": Dead(lambda: reader(3, size=1), {"a": 2}),
    "after a depthwise layer": Dead(lambda: through_depthwise({}, HIGH), {"a": 2, "d": 2}),
    "before a depthwise layer": Dead(lambda: through_depthwise(LOW, {}), {"a": 2, "d": 2}),
    "differs at the edges": Dead(lambda: through_depthwise(HIGH, {}), {"a": 3, "d": 3}, "tie them to channels"),
    "both": Dead(lambda: through_depthwise(HIGH, {0: -LARGE}), {"a": 2, "d": 2}),
    "one of two from a channel": Dead(lambda: through_depthwise({}, HIGH, 6), {"a": 3, "d": 6}, "tie them"),
    "two of two from a channel": Dead(lambda: through_depthwise({}, {0: LARGE, 1: -LARGE}, 6), {"a": 2, "d": 4}),
    "added to one that is not": Dead(lambda: summed(HIGH, {}), {"a": 3, "b": 3, "s": 3}, "operators tie them"),
    "added to another": Dead(lambda: summed(HIGH, LOW), {"a": 2, "b": 2, "s": 2}),
    "joined": Dead(lambda: joined({1: LARGE}), {"a": 1, "b": 3, "j": 4}),
    "joined, nothing left": Dead(lambda: joined({0: LARGE, 1: -LARGE}), {"a": 0, "b": 3, "j": 3}),
    "pooled, laid flat": Dead(pooled, {"a": 2, "p": 2, "e": 2, "y:flat": 8}),
    "averaged, laid flat": Dead(lambda: pooled("AVERAGE_POOL_2D"), {"a": 2, "y:flat": 8}),
    "the zero point in a border": Dead(lambda: bordered(ZERO), {"a": 2, "p": 2, "m": 2}),
    "another value in a border": Dead(lambda: bordered(60), {"a": 3, "p": 3}, "operators tie them"),
    "weights of two layers": Dead(shared_weights, {"a": 2, "b": 3}),
    "an output": Dead(lambda: Net().conv("x", "y", 3, bias=HIGH).finish(), {"y": 3},
                      "'y' is an output of the model"),
    "the whole model": Dead(all_dead, {"a": 0}),
    "a whole model of larger images": Dead(lambda: all_dead(4), {"a": 1}, "CONV_2D 'y' needs an input"),
    "a whole branch": Dead(branch, {"a": 1, "c": 3}, "CONV_2D 'c' needs an input"),
    "nothing": Dead(lambda: Net().conv("x", "a", 3).conv("a", "y", 2).finish(), {"a": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_where_channels_go(name: str) -> None:
    dead = CASES[name]
    result = check(Case(dead.make, DeadChannels(), ""))
    shapes = {n: t.shape[-1] for n, t in result.graph.types.items()}
    assert {n: shapes.get(n, 0) for n in dead.left} == dict(dead.left)
    assert dead.declined in "\n".join(result.declined) and bool(dead.declined) == bool(result.declined)
    assert problems_of(result.graph) == []


def test_the_c_of_all() -> None:
    before = [load(dead.make()) for dead in CASES.values()]
    after = [run_passes(graph, LOSSLESS)[0] for graph in before]
    sets = [draw_inputs(graph, seed=5) for graph in before]
    for name, graph, inputs, answers in zip(CASES, before, sets, run_c(after, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal(f"C of '{name}'", got, run(graph, values))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6))
def test_no_bit_changes(seed: int) -> None:
    graph = load(network(seed))
    result = DeadChannels().run(graph)
    assert problems_of(result.graph) == []
    assert not DeadChannels().run(result.graph).done
    for inputs in draw_inputs(graph, seed, count=2):
        assert_equal("after the pass", run(result.graph, inputs), run(graph, inputs))


def test_what_was_done_is_said() -> None:
    result = DeadChannels().run(load(through_depthwise(LOW, {})))
    assert result.done == (
        "CONV_2D 'a' computes 2 of 3 channels from 2 of 2: 6 bytes less",
        "DEPTHWISE_CONV_2D 'd' computes 2 of 3 channels from 2 of 3: 13 bytes less",
        "CONV_2D 'y' computes 2 of 2 channels from 2 of 3: 2 bytes less",
    )


def test_a_folded_bias_stays_within_32_bits() -> None:
    """A bias near the limit that `sums_fit` leaves, and a constant that drives it farther."""
    net = Net().conv("x", "a", 2, bias=HIGH)
    limit = 2**31 - 1 - 2 * 127 * 256
    graph = load(net.conv("a", "y", 2, bias={0: limit, 1: -limit}).finish())
    assert problems_of(graph) == []
    smaller = DeadChannels().run(graph).graph
    assert smaller.types["a"].shape[-1] == 1 and problems_of(smaller) == []
    for inputs in draw_inputs(graph, seed=1):
        assert_equal("y", run(smaller, inputs), run(graph, inputs))


def test_huge_tensors_are_left_alone() -> None:
    """The largest shapes that a file may declare: they are not looked at element by element."""
    b, size = ModelBuilder(), 2**23
    shapes = ((1, 1, 1, 1), (1, 1, 1, size), (1, size, 1, 1), (1, size // 2, 1, 1))
    x, wide, tall, filtered = (b.tensor(shape, "int8", SCALE, ZERO) for shape in shapes)
    b.op("PAD", [x, b.constant([[0, 0], [0, 0], [0, 0], [0, size - 1]])], [wide], "PadOptions")
    b.op("PAD", [x, b.constant([[0, 0], [0, size - 1], [0, 0], [0, 0]])], [tall], "PadOptions")
    weights = b.tensor((1, 2, 1, 1), "int8", WEIGHT, 0, [[[[1]], [[2]]]])
    b.op("CONV_2D", [tall, weights, -1], [filtered], "Conv2DOptions", strideH=2, strideW=1, dilationHFactor=1,
         dilationWFactor=1, padding=1)  # fmt: skip
    data = b.finish([x], [wide, filtered])
    assert "too many to look at" in DeadChannels().run(load(data)).declined[0]
    graph = replace(load(data), outputs=load(data).outputs[1:])
    graph = graph.with_nodes([node for node in graph.nodes if node.outputs[0] != "t1"])
    assert DeadChannels().run(graph) == Result(graph)


def test_the_pass_can_be_left_out() -> None:
    assert "dead-channels" not in [step.name for step in lossless(["dead-channels"])]
    graph = load(reader())
    kept, removed = (api.build(graph, "host", without=names).report for names in (["dead-channels"], []))
    assert kept["macs"] > removed["macs"]
    assert kept["command"].endswith("--without dead-channels") and "--without" not in removed["command"]
    with pytest.raises(UsageError, match="--without dead-chanels: expected one of dead-channels, fold-constants, "):
        api.build(graph, "host", without=["dead-chanels"])


def test_the_option_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(reader())
    words = ["build", str(tmp_path / "m.tflite"), "--target", "host", "--out", str(tmp_path / "out"), "--json"]
    passes = [
        [step["name"] for step in json.loads(CliRunner().invoke(main, [*words, *more]).stdout)["passes"]]
        for more in ([], ["--without", "dead-channels"])
    ]
    assert [name for name in passes[0] if name != "dead-channels"] == passes[1] != passes[0]
    assert CliRunner().invoke(main, [*words, "--without", "care"]).exit_code == 2


# --- The zoo --------------------------------------------------------------------------------------------------------

VWW = "mlperf_tiny/vww01_int8"


def macs(graph: Graph) -> int:
    """Multiply-accumulates of convolutions."""
    return sum(op_of(n).macs(call_of(graph, n)) for n in graph.nodes if n.op in ("CONV_2D", "DEPTHWISE_CONV_2D"))


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
def test_half_of_vww_is_dead() -> None:
    graph = api.load(zoo.path_of(VWW))
    assert (constant_bytes(graph), macs(graph)) == (219_072, 7_489_152)
    smaller, _ = run_passes(graph, LOSSLESS)
    assert constant_bytes(smaller) <= 36_000 and macs(smaller) <= 3_810_000
    rng = np.random.default_rng(0)
    sets = [list(g.inputs) for g in zoo.golden(VWW)]
    sets += [[rng.integers(-128, 128, (1, 96, 96, 3)).astype(np.int8)] for _ in range(200)]
    for number, inputs in enumerate(sets):
        assert_equal(f"input {number}", run(smaller, inputs), run(graph, inputs))
    for inputs, expected in zip(sets[-3:], tflm(zoo.path_of(VWW).read_bytes(), sets[-3:]), strict=True):
        assert_equal("TensorFlow Lite Micro", run(smaller, inputs), expected)


@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize("name", ["ic01_int8", "kws01_int8", "ad01_int8"])
def test_the_others_have_no_dead_channels(name: str) -> None:
    result = DeadChannels().run(api.load(zoo.path_of(f"mlperf_tiny/{name}")))
    assert not result.done

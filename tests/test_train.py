# SPDX-License-Identifier: Apache-2.0
"""Training: the same integers as the reference, structure kept bit for bit, damage made good, the same bytes again."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests import small_models, zoo
from tests.compress.nets import RELU, Net, closeness
from tinygen import api, train
from tinygen.batch import run_samples
from tinygen.cli import main
from tinygen.compress import Evidence, Setting
from tinygen.compress.base import Technique, check_order
from tinygen.compress.bits import Bits
from tinygen.compress.entropy import Entropy
from tinygen.compress.prune import Prune
from tinygen.compress.recover import Recover
from tinygen.compress.share import Share
from tinygen.compress.sparsity import Sparsity
from tinygen.errors import ToolError, UnsupportedError, UsageError
from tinygen.ir.graph import Graph
from tinygen.ir.types import Array, DType
from tinygen.ops.binary import ActivationAttrs
from tinygen.ops.convolution import ConvAttrs
from tinygen.ops.pooling import PoolAttrs
from tinygen.ops.reduction import ReducerAttrs
from tinygen.ops.softmax import SoftmaxAttrs
from tinygen.passes import LOSSLESS, run_passes
from tinygen.train.moves import Moves, moves_of, shifted
from tinygen.train.options import Options
from tinygen.train.structure import structure_of

ROOT = Path(__file__).parents[1]
needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="TensorFlow is missing: pip install 'tinygen[train]'"
)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    if find_spec("tensorflow") is not None:
        train.require("the test")


# --- Without TensorFlow -------------------------------------------------------------------------------------------


def test_without_tensorflow_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"^recover trains .* not installed: pip install 'tinygen\[train\]'$"):
        Recover().run(small_net().graph, Evidence([]))
    model = tmp_path / "dense.tflite"
    model.write_bytes(small_models.dense_layers())
    words = ["compress", str(model), "--bits", "2", "--recover", "9", "--calibration", "random", "-o", "x.tflite"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == ToolError.exit_code == 7 and "tinygen[train]" in result.stderr
    assert "bits" not in result.stdout, "it says so before the others take their time"


def test_only_training_imports_tensorflow() -> None:
    def imported(path: Path) -> set[str]:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        named = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        return named | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}

    users = {p.relative_to(ROOT / "tinygen") for p in (ROOT / "tinygen").rglob("*.py") if "tensorflow" in imported(p)}
    assert {p for p in users if p.parts[0] != "train"} == {Path("frontends/keras_worker.py")}
    assert Path("train/loop.py") in users and Path("train/__init__.py") not in users


@pytest.mark.parametrize(
    ("order", "fine"),
    [
        ((Sparsity(), Recover(), Sparsity(), Recover(), Share(), Recover(), Entropy()), True),
        ((Recover(), Prune()), True),
        ((Share(), Recover(), Sparsity()), False),
        ((Entropy(), Recover()), False),
    ],
)
def test_recovery_stands_anywhere_before_storage(order: tuple[Technique, ...], fine: bool) -> None:
    if fine:
        check_order(order)
        return
    with pytest.raises(UsageError, match=f"put '{order[-1].name}' first"):
        check_order(order)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": Setting(0)}, "0 is no number of steps"),
        ({"steps": Setting(9, {"a": 8})}, "all layers are trained together"),
        ({"codebook": "none"}, "codebook 'none' is unknown"),
        ({"rate": 0.0}, "a rate and a temperature above 0"),
        ({"batch": 0}, "a batch of at least 1"),
        ({"copies": -1}, "copies and mixes of 0 or more"),
        ({"steady": 1.5}, "labels and steady from 0 to 1"),
        ({"heard": "me"}, "for callers in Python"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Recover(**settings)


RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("values", "words", "wrong"),
    [
        (RNG.integers(-127, 128, 400), "8 bits", None),
        (RNG.integers(-8, 8, 400), "4 bits", 8),
        (RNG.integers(-1, 2, 400), "2 bits", 2),
        (RNG.choice([-1, 0, 0, 0, 1], 400), r"2 bits, \d+% zeros", 2),
        (RNG.choice([-1, 1], 400), "2 values", 0),
        (RNG.choice([-100, -3, 60, 127], 400), "4 values", 5),
        (RNG.choice([0, 0, 0, 90, -80], 400), r"3 values, \d+% zeros", 1),
        (np.where(RNG.random(400) < 0.5, RNG.integers(1, 128, 400), 0), r"8 bits, \d+% zeros", None),
    ],
)
def test_structure_is_read_off_the_values(values: Array, words: str, wrong: int | None) -> None:
    weights = values.astype(np.int8)
    found = structure_of(weights)
    assert re.fullmatch(words, str(found)) and found.allows(weights)
    if wrong is not None:
        assert not found.allows(np.concatenate([[wrong], weights[1:]]).astype(np.int8))
    if found.kept is not None:
        assert not found.allows(np.where(found.kept, weights, weights.max()).astype(np.int8))


def test_samples_are_moved_only_as_the_network_bears_it() -> None:
    """A network that names the loudest of 12 bands, whenever it is loud: time may be shifted and mirrored."""
    loud = np.zeros((64, 1, 16, 12, 1), np.int8)
    loud[np.arange(64), 0, RNG.integers(4, 12, 64), RNG.integers(1, 11, 64)] = 100
    samples = [[sample] for sample in loud]

    def winners(some: Sequence[Sequence[Array]]) -> Array:
        return np.array([np.argmax(np.asarray(sample[0], np.int64).sum(axis=(0, 1, 3))) for sample in some])

    moves = moves_of(samples, winners)
    assert moves == Moves(shifts=((1, 4),), mirrors=(1,)), "a shift by 8 moves some of it out"
    drawn = [moves.draw(sample, np.random.default_rng(seed)) for seed, sample in enumerate(samples)]
    again = [moves.draw(sample, np.random.default_rng(seed)) for seed, sample in enumerate(samples)]
    assert np.array_equal(drawn, again) and np.array_equal(winners(drawn), winners(samples))
    assert (
        len(
            {
                np.argmax(d[0].sum(axis=(0, 2, 3))) - np.argmax(s[0].sum(axis=(0, 2, 3)))
                for d, s in zip(drawn, samples, strict=True)
            }
        )
        > 5
    )
    assert moves_of([[sample.ravel()[None]] for sample in loud], winners) == Moves(), "a row of numbers has no axes"
    ramp = np.arange(5)[None, :, None]
    assert [shifted(ramp, 1, by).ravel().tolist() for by in (2, -1)] == [[0, 0, 0, 1, 2], [1, 2, 3, 4, 4]]


class Brightest:
    """A teacher of pictures [1, 12, 4, 1]: logits are sums of columns, whose upper half counts twice."""

    known, classes = True, 4

    def __call__(self, samples: Sequence[Sequence[Array]]) -> Array:
        halves = [np.asarray(sample[0], np.float64).reshape(2, 6, 4).sum(axis=1) for sample in samples]
        return np.array([2 * upper + lower for upper, lower in halves])

    def winners(self, samples: Sequence[Sequence[Array]]) -> Array:
        return np.asarray(self(samples).argmax(axis=1))


def shares(logits: Array, temperature: float = 3.0) -> Array:
    powers = np.exp(logits / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@needs_tensorflow
def test_moved_samples_are_wanted_to_be_answered_as_those_they_are_made_of() -> None:
    from tinygen.train.samples import lots

    values = np.random.default_rng(1).random((30, 1, 12, 4, 1)).astype(np.float32)
    values[np.arange(30), 0, 4:8, np.arange(30) % 4] += 1
    samples, teacher = [[value] for value in values], Brightest()
    made = {}
    for steady in (0.0, 0.25):
        options = Options(copies=2, steady=steady, temperature=3.0)
        made[steady] = lots(teacher, samples, None, options)  # type: ignore[arg-type]  # what it needs of one
    (plain, held), (fit, judged) = made.values()
    assert len(plain.samples) == len(fit.samples) == 24 * 3 and len(held.samples) == 6 and len(judged.samples) == 12
    assert np.array_equal([s[0] for s in plain.samples], [s[0] for s in fit.samples])
    own = teacher(fit.samples)
    first = np.tile(own[:24], (3, 1))
    assert np.array_equal(plain.wanted, own) and not np.allclose(own, first, atol=1)
    assert np.allclose(shares(fit.wanted), 0.75 * shares(own) + 0.25 * shares(first))
    assert np.allclose(shares(judged.wanted)[:6], shares(held.wanted))


@needs_tensorflow
def test_blends_are_wanted_to_be_answered_as_both_are() -> None:
    """Each picture has a pixel of its own, so that a blend shows which two it is of, and how much of each."""
    from tinygen.train.samples import lots

    pictures, rng, teacher = np.eye(48, dtype=np.float32)[:40], np.random.default_rng(1), Brightest()
    samples, labels = [[p.reshape(1, 12, 4, 1)] for p in pictures], rng.integers(0, 4, 40)
    fit, judged = lots(teacher, samples, labels, Options(mixes=3, steady=1.0, temperature=3.0))  # type: ignore[arg-type]
    assert len(fit.samples) == 32 * 4 and len(judged.samples) == 8 * 2
    parts = np.array([sample[0].ravel() for sample in fit.samples])[:, :40]
    assert np.allclose(parts.sum(axis=1), 1) and np.all(np.count_nonzero(parts, axis=1)[32:] <= 2)
    assert np.allclose(shares(fit.wanted), parts @ shares(teacher(samples)))
    assert np.allclose(fit.labels, parts @ np.eye(4)[labels])


# --- The forward pass ---------------------------------------------------------------------------------------------


class Small:
    """An int8 network and samples."""

    def __init__(self, made: tuple[Graph, Evidence]) -> None:
        self.graph, self.evidence = made


def small_net(seed: int = 0, softmax: bool = False) -> Small:
    net = Net((1, 8, 8, 3), seed)
    x = net.conv("first", "x", 12, (3, 3), stride=(2, 2))
    x = net.depthwise("second", x)
    x = net.conv("third", x, 16)
    x = net.flatten("flat", net.pool("pool", x))
    x = net.dense("head", x, 10, activation=RELU.NONE)
    if softmax:
        x = net.add("SOFTMAX", "classes", [x], (1, 10), SoftmaxAttrs())
    return Small(net.finish(x, samples=200))


def every_operator() -> Small:
    """A network of all that zoo's networks consist of."""
    net = Net((1, 9, 7, 4), 5)
    weights = net.parameters("a", (6, 3, 3, 4), None, 6)
    attrs = ConvAttrs(dilation=(2, 1), padding=(2, 2, 1, 1))
    a = net.add("CONV_2D", "a", ["x", *weights], (1, 9, 7, 6), attrs)
    b = net.add("LOGISTIC", "b", [net.conv("b0", "x", 6)], net.types["a"].shape)
    c = net.add("MUL", "c", [a, b], net.types["a"].shape, ActivationAttrs())
    d = net.concat("d", net.sum("c2", c, net.add("TANH", "t", [a], net.types["a"].shape)), a)
    pads = net.constant("pads", np.array([[0, 0], [1, 0], [2, 1], [0, 0]], np.int32))
    e = net.add("PAD", "e", [d, pads], (1, 10, 10, 12))
    f = net.add("MAX_POOL_2D", "f", [e], (1, 5, 5, 12), PoolAttrs((3, 3), (2, 2), (1, 0, 0, 1)))
    order = net.constant("order", np.array([0, 2, 1, 3], np.int32))
    g = net.add("TRANSPOSE", "g", [f, order], (1, 5, 5, 12))
    h = net.add("AVERAGE_POOL_2D", "h", [g], (1, 3, 3, 12), PoolAttrs((2, 2), (2, 2), (0, 1, 0, 1)))
    kernel = net.constant("i:w", net.rng.normal(size=(1, 3, 2, 24)).astype(np.float32))
    i = net.add("DEPTHWISE_CONV_2D", "i", [h, kernel], (1, 1, 2, 24), ConvAttrs(stride=(2, 1)))
    axes = net.constant("axes", np.array([1, 2], np.int32))
    j = net.add("MEAN", "j", [i, axes], (1, 24), ReducerAttrs(keep_dims=False))
    k = net.dense("k", j, 6, activation=RELU.NONE)
    net.add("SOFTMAX", "out", [k], (1, 6), SoftmaxAttrs())
    return Small(net.finish("out", samples=24))


def apart(graph: Graph, samples: Any) -> dict[str, float]:
    """By how many steps training's tensors differ from the reference's, at most."""
    from tinygen.train.network import Network
    from tinygen.train.tensors import steps_of

    network, names = Network(graph), [name for node in graph.nodes for name in node.outputs]
    made, wanted = network(network.inputs(samples)), run_samples(graph, samples, names)
    stacks = {n: np.stack([steps_of(graph.types[n], values[n].ravel()) for values in wanted]) for n in names}
    return {name: float(np.max(np.abs(np.asarray(made[name]) - stacks[name]))) for name in names}


@needs_tensorflow
def test_the_forward_pass_gives_the_integers_of_the_reference() -> None:
    net = small_net(softmax=True)
    assert set(apart(net.graph, net.evidence.samples[:40]).values()) == {0.0}
    net = every_operator()
    found = apart(net.graph, net.evidence.samples)
    assert {op.op for op in net.graph.nodes} >= {"MEAN", "TANH", "LOGISTIC", "CONCATENATION", "MAX_POOL_2D", "PAD"}
    assert max(found.values()) <= 1, found
    assert all(v == 0 for n, v in found.items() if n in ("a", "b0", "b", "t")), found


@needs_tensorflow
@pytest.mark.zoo
@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
def test_the_forward_pass_of_kws01_gives_the_bits_of_the_reference_on_real_data() -> None:
    graph = api.load(zoo.path_of("mlperf_tiny/kws01_int8"))
    shape = graph.types[graph.inputs[0]].shape
    samples = [[x.reshape(shape)] for x in zoo.dataset("mlperf_kws01/all")["x"][:16]]
    found = apart(graph, samples)
    assert max(found.values()) <= 1 and sum(found.values()) <= 2, found


@needs_tensorflow
def test_gradients_are_those_of_real_numbers() -> None:
    """The straight-through gradient of the bias of the last layer is exact: one step of it is one of the output."""
    import tensorflow as tf

    from tinygen.train.network import Network

    net = small_net()
    network = Network(net.graph, ["head"])
    shift = network.layers["head"].shift
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(network(network.inputs(net.evidence.samples[:5]))["head"])
    unit = network.layers["head"].bias_unit / net.graph.types["head"].q.scale
    assert np.allclose(tape.gradient(total, shift), 5 * unit)


@needs_tensorflow
def test_unknown_operators_are_refused_by_name() -> None:
    from tinygen.train.network import Network

    net = Net((1, 4, 4, 3))
    x = net.add("L2_NORMALIZATION", "n", [net.conv("c", "x", 3)], (1, 4, 4, 3), ActivationAttrs())
    graph, _ = net.finish(x)
    with pytest.raises(UnsupportedError, match="node 'n': training does not know L2_NORMALIZATION"):
        Network(graph)
    wide = Net((1, 6), 1)
    graph, _ = wide.finish(wide.dense("b", wide.dense("a", "x", 4), 4), wide="all")
    with pytest.raises(UnsupportedError, match="int16"):
        Network(graph)


# --- What training keeps ------------------------------------------------------------------------------------------


def prepared(net: Small, *techniques: Technique) -> Graph:
    graph = net.graph
    for technique in techniques:
        graph, _ = run_passes(technique.run(graph, net.evidence).graph, LOSSLESS)
    return graph


def constants_of(graph: Graph, index: int) -> dict[str, Array]:
    """Weights (1) or biases (2) of layers, by their own names."""
    return {n.inputs[index]: graph.constants[n.inputs[index]] for n in graph.nodes if len(n.inputs) == 3}


def changed(graph: Graph, constants: dict[str, Array]) -> Graph:
    return replace(graph, constants={**graph.constants, **constants})


def with_teacher(net: Small) -> Evidence:
    return replace(net.evidence, teacher=net.graph)


def weights_of(graph: Graph) -> dict[str, Array]:
    return {n.name: graph.constants[n.inputs[1]] for n in graph.nodes if len(n.inputs) == 3}


@needs_tensorflow
def test_zeros_codebooks_and_bits_stay_and_the_same_bytes_come_again() -> None:
    """A layer of each kind: few bits, a codebook of a dense layer, one of a sparse layer, and one left alone."""
    net = small_net(1)
    before = prepared(
        net,
        Sparsity(Setting(None, {"third": 0.6})),
        Share(Setting(None, {"third": 6, "head": 6})),
        Bits(Setting(None, {"first": 3})),
    )
    harmed = {n: np.roll(w, 1) for n, w in constants_of(before, 1).items() if "first" in n}
    before = changed(before, {**{n: 0 * bias for n, bias in constants_of(before, 2).items()}, **harmed})
    found = {name: structure_of(weights) for name, weights in weights_of(before).items()}
    assert [str(found[n])[:8] for n in ("first", "second", "third", "head")] == [
        "3 bits",
        "8 bits",
        "6 values",
        "6 values",
    ]
    assert found["third"].kept is not None and found["head"].kept is None
    technique = Recover(Setting(40, {"second": None}), rate=0.2, mixes=1)
    evidence = replace(net.evidence, teacher=net.graph, classes=np.arange(200) % 10)
    result = technique.run(before, evidence)
    after = weights_of(result.graph)
    trained = {name for name, weights in weights_of(before).items() if after[name].tobytes() != weights.tobytes()}
    assert trained == {"first", "third", "head"} and result.done
    for name in found:
        assert found[name].allows(after[name]), name
        assert found[name].low <= after[name].min() and after[name].max() <= found[name].high
    assert not np.any(after["third"][weights_of(before)["third"] == 0])
    for name in ("third", "head"):
        for value in np.unique(weights_of(before)[name]):
            assert len(np.unique(after[name][weights_of(before)[name] == value])) == 1, "weights leave their places"
    assert result.graph.nodes == before.nodes and set(result.graph.types) == set(before.types)
    activations = [name for node in before.nodes for name in node.outputs]
    assert all(result.graph.types[name] == before.types[name] for name in activations)
    again = technique.run(before, evidence)
    assert all(v.tobytes() == again.graph.constants[n].tobytes() for n, v in result.graph.constants.items())
    assert again.graph.types == result.graph.types and again.done == result.done


# --- What training gains ------------------------------------------------------------------------------------------


@needs_tensorflow
def test_a_damaged_network_recovers_on_samples_it_has_not_seen() -> None:
    net, rng, heard = small_net(3), np.random.default_rng(0), list[Any]()
    noise = {n: np.clip(w + rng.normal(0, 20, w.shape), -127, 127) for n, w in constants_of(net.graph, 1).items()}
    damaged = changed(net.graph, {n: w.astype(np.int8) for n, w in noise.items()})
    result = Recover(Setting(100), heard=heard.append).run(damaged, with_teacher(net))
    before, after = (closeness(net.graph, graph, net.evidence) for graph in (damaged, result.graph))
    assert after > before + 6, (before, after)
    assert heard[-1].best < 0.2 * heard[-1].first and heard[0].step == 4 and heard[-1].steps == 100
    fitted = prepared(net, Bits(Setting(2)))
    spoilt = Recover(Setting(3), rate=50.0, codebook="nearest").run(fitted, with_teacher(net))
    assert spoilt.graph is fitted and "nothing better" in spoilt.declined[0]


@needs_tensorflow
def test_hints_are_what_layers_inside_of_the_teacher_say() -> None:
    from tinygen.train.network import Network
    from tinygen.train.teacher import Hints

    net = small_net(5)
    inputs = Network(net.graph).inputs(net.evidence.samples[:8])

    def gap(graph: Graph, teacher: Graph) -> float:
        network = Network(graph)
        return float(Hints(network, teacher).gap(inputs, network(inputs)))

    silent = {n: np.zeros_like(w) for n, w in constants_of(net.graph, 1).items() if "head" in n}
    assert gap(net.graph, net.graph) == 0
    assert 0 < gap(net.graph, _in_float()) < 0.01, "the same network in real numbers"
    assert 0 < gap(changed(net.graph, silent), net.graph) < 0.5, "one of four layers is wrong"
    assert Hints(Network(prepared(net, Prune(Setting(0.5)))), net.graph).names == ["head"], "others have less channels"


@needs_tensorflow
def test_a_float_teacher_is_asked_in_real_numbers() -> None:
    from tinygen.train.teacher import asking, compared, logits_of, real_inputs

    net = small_net(5, softmax=True)
    teacher = _in_float()
    assert logits_of(net.graph) == logits_of(teacher) == "head"
    assert compared(net.graph, teacher) == ("head", "head", True)
    exact = run_real(teacher, real_inputs(net.graph, net.evidence.samples[:8]))
    got = asking(teacher, "head")(real_inputs(net.graph, net.evidence.samples[:8]))
    assert teacher.types["x"].dtype is DType.FLOAT32 and np.allclose(got, exact, atol=1e-3)


def _in_float() -> Graph:
    net = Net((1, 8, 8, 3), 5)
    x = net.conv("first", "x", 12, (3, 3), stride=(2, 2))
    x = net.flatten("flat", net.pool("pool", net.conv("third", net.depthwise("second", x), 16)))
    net.add("SOFTMAX", "classes", [net.dense("head", x, 10, activation=RELU.NONE)], (1, 10), SoftmaxAttrs())
    return Graph("net", ("x",), ("classes",), tuple(net.nodes), net.types, net.constants)


def run_real(graph: Graph, samples: Any) -> Array:
    from tinygen.reference import run_real as real

    return np.stack([real(graph, sample)["head"].ravel() for sample in samples])

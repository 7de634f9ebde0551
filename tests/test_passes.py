# SPDX-License-Identifier: Apache-2.0
"""Every lossless pass: where it fires, where it must not and why; that it keeps every bit, and says the same twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.laws import assert_equal, draw_inputs, load, run_c, tflm
from tests.tflite_builder import ModelBuilder
from tinygen.ir import store
from tinygen.ir.graph import Graph
from tinygen.ops import Activation
from tinygen.ops.convolution import ConvAttrs
from tinygen.passes import LOSSLESS, Keeps, run_passes
from tinygen.passes.base import BrokenPassError, Pass, Result
from tinygen.passes.fold_constants import FoldConstants
from tinygen.passes.fold_tables import FoldTables
from tinygen.passes.fuse_activations import FuseActivations
from tinygen.passes.fuse_padding import FusePadding
from tinygen.passes.remove_dead import RemoveDead
from tinygen.passes.remove_identities import RemoveIdentities
from tinygen.reference import run

Q = ("int8", 0.1, -5)
POOL = {"filterHeight": 2, "filterWidth": 2, "strideH": 1, "strideW": 1}
STRIDE = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}


@dataclass(frozen=True)
class Case:
    """A model, the pass it is for, the operators left when dead nodes are gone, and the reason if it declines."""

    make: Callable[[], bytes]
    step: Pass
    left: str
    declined: str = ""
    in_tflm: bool = True


# --- Models -------------------------------------------------------------------------------------------------------


def shape_arithmetic() -> bytes:
    """RESHAPE to [batch, -1], the batch read from the input: what Keras' Flatten becomes."""
    b = ModelBuilder()
    x, y = b.tensor((2, 3, 2), *Q), b.tensor((2, 6), *Q)
    shape, batch, target = b.tensor((3,), "int32"), b.tensor((), "int32"), b.tensor((2,), "int32")
    b.op("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    bounds = [b.constant([0]), b.constant([1]), b.constant([1])]
    b.op("STRIDED_SLICE", [shape, *bounds], [batch], "StridedSliceOptions", shrinkAxisMask=1)
    b.op("PACK", [batch, b.constant(-1)], [target], "PackOptions", valuesCount=2, axis=0)
    b.op("RESHAPE", [x, target], [y], "ReshapeOptions", newShape=[])
    return b.finish([x], [y])


def constant_output() -> bytes:
    """One output does not depend on the input."""
    b = ModelBuilder()
    x, c, y, z = (
        b.tensor((1, 4), *Q),
        b.tensor((1, 4), *Q, [-128, -6, 4, 127]),
        b.tensor((1, 4), *Q),
        b.tensor((1, 4), *Q),
    )
    b.op("ELU", [c], [y])
    b.op("ELU", [x], [z])
    return b.finish([x], [y, z])


def unused() -> bytes:
    """Two nodes of which no output comes, and a SPLIT of which only one half is used."""
    b = ModelBuilder()
    x, left, right, dead, deader, y = (b.tensor(s, *Q) for s in ((1, 4), (1, 2), (1, 2), (1, 2), (1, 2), (1, 2)))
    b.op("SPLIT", [b.constant(1), x], [left, right], "SplitOptions", numSplits=2)
    b.op("ELU", [right], [dead])
    b.op("ELU", [dead], [deader])
    b.op("ELU", [left], [y])
    return b.finish([x], [y])


def reshapes(*shapes: tuple[int, ...], outputs: tuple[int, ...] = (-1,), elu_first: bool = True) -> bytes:
    """[ELU and] a RESHAPE to each of `shapes`; `outputs` are the reshaped tensors that the model gives out."""
    b = ModelBuilder()
    x = b.tensor((1, 6), *Q)
    tensors = [x]
    if elu_first:
        tensors.append(b.tensor((1, 6), *Q))
        b.op("ELU", [x], [tensors[-1]])
    for shape in shapes:
        tensors.append(b.tensor(shape, *Q))
        b.op("RESHAPE", [tensors[-2], b.constant(shape)], [tensors[-1]], "ReshapeOptions", newShape=list(shape))
    return b.finish([x], [tensors[i] for i in outputs])


def single_concatenation() -> bytes:
    b = ModelBuilder()
    x, y, z = (b.tensor((1, 6), *Q) for _ in range(3))
    b.op("CONCATENATION", [x], [y], "ConcatenationOptions", axis=1)
    b.op("ELU", [y], [z])
    return b.finish([x], [z])


def neutral_maximum(constant_first: bool) -> bytes:
    """MAXIMUM with -128, with operands of one and the same type."""
    b = ModelBuilder()
    x, c, y, z = b.tensor((1,), *Q), b.tensor((1,), *Q, [-128]), b.tensor((1,), *Q), b.tensor((1,), *Q)
    b.op("MAXIMUM", [c, x] if constant_first else [x, c], [y], "MaximumMinimumOptions")
    b.op("ELU", [y], [z])
    return b.finish([x], [z])


def padded(
    op: str = "CONV_2D",
    amounts: tuple[tuple[int, int], ...] = ((0, 0), (1, 2), (0, 1), (0, 0)),
    value: int | None = None,
    same: bool = False,
    readers: int = 1,
    pads: int = 1,
    give_out: bool = False,
) -> bytes:
    """PAD (or, with a `value`, PADV2), `pads` times, in front of `readers` convolutions with VALID or SAME padding."""
    b, rng = ModelBuilder(), np.random.default_rng(0)
    shape = (1, 3, 4, 2)
    x = b.tensor(shape, *Q)
    inner = x
    for _ in range(pads):
        shape = tuple(n + before + after for n, (before, after) in zip(shape, amounts, strict=True))
        wide = b.tensor(shape, *Q)
        extra = [] if value is None else [b.tensor((1,), *Q, [value])]
        b.op(
            "PADV2" if extra else "PAD",
            [inner, b.constant(amounts), *extra],
            [wide],
            "PadV2Options" if extra else "PadOptions",
        )
        inner = wide
    outputs = [inner] if give_out else []
    for _ in range(readers):
        outputs.append(_convolution(b, rng, op, inner, shape, same))
    return b.finish([x], outputs)


def _convolution(b: ModelBuilder, rng: Any, op: str, x: int, shape: tuple[int, ...], same: bool) -> int:
    n, h, w, c = shape
    size = (h, w) if same else (h - 1, w - 1)
    if op == "CONV_2D":
        weights = b.tensor((3, 2, 2, c), "int8", 0.01, 0, rng.integers(-127, 128, (3, 2, 2, c)))
        y = b.tensor((n, *size, 3), "int8", 0.05, 3)
        b.op(op, [x, weights], [y], "Conv2DOptions", padding=int(not same), **STRIDE)
    elif op == "DEPTHWISE_CONV_2D":
        weights = b.tensor((1, 2, 2, c), "int8", 0.01, 0, rng.integers(-127, 128, (1, 2, 2, c)), axis=3)
        y = b.tensor((n, *size, c), "int8", 0.02, 3)
        b.op(op, [x, weights], [y], "DepthwiseConv2DOptions", padding=int(not same), depthMultiplier=1, **STRIDE)
    else:
        y = b.tensor((n, *size, c), *Q)
        b.op(op, [x], [y], "Pool2DOptions", padding=int(not same), **POOL)
    return y


def clamped(
    producer: str = "CONV_2D",
    clamp: str = "RELU",
    fused: int = 0,
    quant: tuple[float, int] = (0.05, -10),
    target: tuple[float, int] | None = None,
    give_out: bool = False,
    twice: bool = False,
    wide: bool = False,
) -> bytes:
    """`producer` and a `clamp` after it: RELU and the like, or MAXIMUM with a number: "MAXIMUM 7", "7 MAXIMUM"."""
    b, rng = ModelBuilder(), np.random.default_rng(1)
    x, y, shape = _producer(b, rng, producer, fused, quant)
    z = b.tensor((1, *shape) if wide else shape, "int8", *(target or quant))
    words = clamp.split()
    op = next(w for w in words if not w.lstrip("-").isdigit())
    operands = [y if w == op else b.tensor((1,) * len(shape) + (1,) * wide, "int8", *quant, [int(w)]) for w in words]
    b.op(op, operands, [z], *(["MaximumMinimumOptions"] if len(words) > 1 else []))
    outputs = [z, y] if give_out else [z]
    if twice:
        outputs.append(b.tensor(shape, "int8", 0.1, 0))
        b.op("ELU", [y], [outputs[-1]])
    return b.finish([x], outputs)


def _producer(
    b: ModelBuilder, rng: Any, op: str, fused: int, quant: tuple[float, int]
) -> tuple[int, int, tuple[int, ...]]:
    """Input, output and output shape of a node that can clamp."""
    options: dict[str, Any] = {"fusedActivationFunction": fused}
    shape: tuple[int, ...] = (1, 6)
    if op == "FULLY_CONNECTED":
        x, y, shape = b.tensor((2, 5), *Q), b.tensor((2, 4), "int8", *quant), (2, 4)
        weights = b.tensor((4, 5), "int8", 0.02, 0, rng.integers(-127, 128, (4, 5)))
        b.op(op, [x, weights, -1], [y], "FullyConnectedOptions", **options)
    elif op == "CONV_2D":
        x, y, shape = b.tensor((1, 3, 3, 2), *Q), b.tensor((1, 2, 2, 3), "int8", *quant), (1, 2, 2, 3)
        weights = b.tensor((3, 2, 2, 2), "int8", 0.01, 0, rng.integers(-127, 128, (3, 2, 2, 2)))
        b.op(op, [x, weights], [y], "Conv2DOptions", padding=1, **STRIDE, **options)
    elif op.endswith("POOL_2D"):
        x, y, shape = b.tensor((1, 3, 3, 2), "int8", *quant), b.tensor((1, 2, 2, 2), "int8", *quant), (1, 2, 2, 2)
        b.op(op, [x], [y], "Pool2DOptions", padding=1, **POOL, **options)
    elif op == "CONCATENATION":
        x, y, shape = b.tensor((1, 6), "int8", *quant), b.tensor((1, 12), "int8", *quant), (1, 12)
        b.op(op, [x, x], [y], "ConcatenationOptions", axis=1, **options)
    else:
        x, y = b.tensor(shape, *Q), b.tensor(shape, "int8", *quant)
        b.op(op, [x, x], [y], f"{op.capitalize()}Options", **options)
    return x, y, shape


def chain(*ops: str, tap: int | None = None, give_out: bool = False) -> bytes:
    """One-input functions, each reading the one before; ELU reads tensor `tap` too, or the model gives it out.

    A number is added by an ADD with a constant. What lies between DEQUANTIZE and QUANTIZE is float.
    """
    b = ModelBuilder()
    tensors = [b.tensor((2, 3), "int8", 0.05, 3)]
    floats = False
    for number, op in enumerate(ops):
        floats = op == "DEQUANTIZE" or (floats and op != "QUANTIZE")
        quant = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(op, (0.02 + 0.01 * number, number))
        tensors.append(b.tensor((2, 3), "float32") if floats else b.tensor((2, 3), "int8", *quant))
        if op.isdigit():
            b.op("ADD", [b.tensor((1,), *Q, [int(op)]), tensors[-2]], [tensors[-1]], "AddOptions")
        else:
            b.op(op, [tensors[-2]], [tensors[-1]])
    outputs = [tensors[-1]]
    if tap is not None:
        outputs.append(tensors[tap] if give_out else b.tensor((2, 3), *Q))
        if not give_out:
            b.op("ELU", [tensors[tap]], [outputs[-1]])
    return b.finish([tensors[0]], outputs)


def shared_floats(give_out: bool) -> bytes:
    """Floats that two functions read: QUANTIZE, and NEG and QUANTIZE; the model may give them out."""
    b = ModelBuilder()
    x, floats, negated = b.tensor((2, 3), *Q), b.tensor((2, 3), "float32"), b.tensor((2, 3), "float32")
    y, z = b.tensor((2, 3), "int8", 0.2, 3), b.tensor((2, 3), "int8", 0.15, 0)
    for op, source, result in (
        ("DEQUANTIZE", x, floats),
        ("NEG", floats, negated),
        ("QUANTIZE", negated, y),
        ("QUANTIZE", floats, z),
    ):
        b.op(op, [source], [result])
    return b.finish([x], [y, z, floats] if give_out else [y, z])


# --- Cases --------------------------------------------------------------------------------------------------------


def clamps(producer: str, clamp: str) -> Case:
    return Case(lambda: clamped(producer, clamp), FuseActivations(), producer)


FIRES = {
    "shape arithmetic": Case(shape_arithmetic, FoldConstants(), "RESHAPE"),
    "a constant output": Case(constant_output, FoldConstants(), "ELU"),
    "unused nodes": Case(unused, RemoveDead(), "SPLIT ELU"),
    "a reshape to the same shape": Case(lambda: reshapes((1, 6), (2, 3)), RemoveIdentities(), "ELU RESHAPE"),
    "a chain of reshapes": Case(lambda: reshapes((2, 3), (3, 2), (6,)), RemoveIdentities(), "ELU RESHAPE"),
    "a reshape there and back": Case(lambda: reshapes((2, 3), (1, 6)), RemoveIdentities(), "ELU"),
    "an output by another name": Case(lambda: reshapes((1, 6)), RemoveIdentities(), "ELU"),
    "a join of one": Case(single_concatenation, RemoveIdentities(), "ELU"),
    "a maximum with the least": Case(lambda: neutral_maximum(False), RemoveIdentities(), "ELU"),
    "the least in front": Case(lambda: neutral_maximum(True), RemoveIdentities(), "ELU"),
    "a pad": Case(padded, FusePadding(), "CONV_2D"),
    "a pad of a depthwise convolution": Case(lambda: padded("DEPTHWISE_CONV_2D"), FusePadding(), "DEPTHWISE_CONV_2D"),
    "a pad of a padded convolution": Case(lambda: padded(same=True), FusePadding(), "CONV_2D"),
    "a pad of a pad": Case(lambda: padded(pads=2), FusePadding(), "CONV_2D"),
    "a pad wider than the window": Case(
        lambda: padded(amounts=((0, 0), (5, 0), (0, 6), (0, 0))), FusePadding(), "CONV_2D"
    ),
    "a wide pad of a depthwise convolution": Case(
        lambda: padded("DEPTHWISE_CONV_2D", ((0, 0), (0, 6), (5, 0), (0, 0))), FusePadding(), "DEPTHWISE_CONV_2D"
    ),
    "a pad with the zero point": Case(lambda: padded(value=-5), FusePadding(), "CONV_2D"),
    "a pad of two": Case(lambda: padded(readers=2), FusePadding(), "CONV_2D CONV_2D"),
    "a pad that is an output": Case(lambda: padded(give_out=True), FusePadding(), "PAD CONV_2D"),
    "a convolution and RELU": clamps("CONV_2D", "RELU"),
    "a convolution and a maximum": clamps("CONV_2D", "MAXIMUM -10"),
    "a maximum whose constant is first": clamps("CONV_2D", "-10 MAXIMUM"),
    "a dense layer and RELU6": clamps("FULLY_CONNECTED", "RELU6"),
    "a sum and RELU": clamps("ADD", "RELU"),
    "a difference and a maximum": clamps("SUB", "MAXIMUM -10"),
    "a product and RELU": clamps("MUL", "RELU"),
    "a sum and RELU_N1_TO_1": replace(clamps("ADD", "RELU_N1_TO_1"), in_tflm=False),
    "an average and RELU": clamps("AVERAGE_POOL_2D", "RELU"),
    "a pool and RELU6": clamps("MAX_POOL_2D", "RELU6"),
    "two tables": Case(lambda: chain("ELU", "TANH"), FoldTables(), "LOOKUP"),
    "a table of four": Case(lambda: chain("ELU", "7", "LOGISTIC", "100"), FoldTables(), "LOOKUP"),
    "a float island": Case(lambda: chain("ELU", "DEQUANTIZE", "NEG", "QUANTIZE", "TANH"), FoldTables(), "LOOKUP"),
    "a detour through floats": Case(lambda: chain("ELU", "DEQUANTIZE", "QUANTIZE"), FoldTables(), "LOOKUP"),
    "floats that two read": Case(lambda: shared_floats(False), FoldTables(), "LOOKUP LOOKUP"),
    "floats that are an output": Case(lambda: shared_floats(True), FoldTables(), "DEQUANTIZE LOOKUP LOOKUP"),
    "a float end": Case(lambda: chain("ELU", "TANH", "DEQUANTIZE"), FoldTables(), "LOOKUP DEQUANTIZE"),
    "two tables and an output": Case(
        lambda: chain("ELU", "TANH", "ELU", tap=1, give_out=True), FoldTables(), "ELU LOOKUP"
    ),
}

STAYS = {
    "nothing is constant": Case(lambda: chain("ELU", "TANH"), FoldConstants(), "ELU TANH"),
    "all are used": Case(lambda: chain("ELU", "TANH"), RemoveDead(), "ELU TANH"),
    "both names are outputs": Case(lambda: reshapes((1, 6), outputs=(-1, -2)), RemoveIdentities(), "ELU RESHAPE"),
    "the input under another name": Case(lambda: reshapes((1, 6), elu_first=False), RemoveIdentities(), "RESHAPE"),
    "a maximum with more": Case(lambda: clamped("ADD", "MAXIMUM -100"), RemoveIdentities(), "ADD MAXIMUM"),
    "a pad with another value": Case(lambda: padded(value=0), FusePadding(), "PADV2 CONV_2D", "another value"),
    "a pad of channels": Case(
        lambda: padded(amounts=((0, 0), (1, 1), (1, 1), (1, 0))), FusePadding(), "PAD CONV_2D", "other dimensions"
    ),
    "a pad of the batch": Case(
        lambda: padded(amounts=((1, 0), (1, 1), (1, 1), (0, 0))), FusePadding(), "PAD CONV_2D", "other dimensions"
    ),
    "a pad of a pool": Case(lambda: padded("MAX_POOL_2D"), FusePadding(), "PAD MAX_POOL_2D"),
    "a clamp that is no activation": Case(
        lambda: clamped("ADD", "MAXIMUM -9"), FuseActivations(), "ADD MAXIMUM", "more than a clamp"
    ),
    "a clamp at another scale": Case(
        lambda: clamped(target=(0.06, -10)), FuseActivations(), "CONV_2D RELU", "more than a clamp"
    ),
    "a clamp at another zero point": Case(
        lambda: clamped(target=(0.05, -128)), FuseActivations(), "CONV_2D RELU", "more than a clamp"
    ),
    "a clamp to another shape": Case(
        lambda: clamped("ADD", "MAXIMUM -10", wide=True), FuseActivations(), "ADD MAXIMUM", "more than a clamp"
    ),
    "a clamp of an output": Case(
        lambda: clamped(give_out=True), FuseActivations(), "CONV_2D RELU", "the model gives out 't1', too"
    ),
    "a clamp beside another reader": Case(
        lambda: clamped(twice=True), FuseActivations(), "CONV_2D RELU ELU", "another node reads 't1', too"
    ),
    "a clamp of what clamps": Case(lambda: clamped(fused=3), FuseActivations(), "CONV_2D RELU", "clamps already"),
    "a clamp of a join": Case(
        lambda: clamped("CONCATENATION"), FuseActivations(), "CONCATENATION RELU", "There must be no fused activation"
    ),
    "one table": Case(lambda: chain("ELU"), FoldTables(), "ELU"),
    "a table with a reader between": Case(lambda: chain("ELU", "TANH", tap=1), FoldTables(), "ELU TANH ELU"),
    "a table with an output between": Case(
        lambda: chain("ELU", "TANH", tap=1, give_out=True), FoldTables(), "ELU TANH"
    ),
}


def operators(graph: Graph) -> str:
    """Operators in order, without the nodes that nothing needs."""
    return " ".join(node.op for node in RemoveDead().run(graph).graph.nodes)


# --- Tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIRES)
def test_fires(name: str) -> None:
    case = FIRES[name]
    result = check(case)
    assert result.done and not result.declined
    assert operators(result.graph) == case.left


@pytest.mark.parametrize("name", STAYS)
def test_stays_and_says_why(name: str) -> None:
    case = STAYS[name]
    result = check(case)
    assert not result.done
    assert " ".join(node.op for node in result.graph.nodes) == case.left
    assert case.declined in " ".join(result.declined) and bool(case.declined) == bool(result.declined)


def check(case: Case) -> Result:
    """Run the pass: same answers as before and as TFLM's, same result twice, nothing left to do for a second run."""
    data = case.make()
    before = load(data)
    result, again = case.step.run(before), case.step.run(load(data))
    assert store.dumps(result.graph) == store.dumps(again.graph) and result.done == again.done
    second = case.step.run(result.graph)
    assert not second.done and store.dumps(second.graph) == store.dumps(result.graph)
    assert (result.graph.inputs, result.graph.outputs) == (before.inputs, before.outputs)
    sets = draw_inputs(before, seed=1)
    expected = tflm(data, sets) if case.in_tflm else [run(before, inputs) for inputs in sets]
    for inputs, outputs in zip(sets, expected, strict=True):
        assert_equal("before against TFLM", run(before, inputs), outputs)
        assert_equal("after against before", run(result.graph, inputs), outputs)
    return result


def test_the_c_of_all() -> None:
    """The generated C of every rewritten graph computes what the reference computes of the graph before."""
    before = [load(case.make()) for case in FIRES.values()]
    after = [RemoveDead().run(c.step.run(g).graph).graph for c, g in zip(FIRES.values(), before, strict=True)]
    sets = [draw_inputs(graph, seed=2) for graph in before]
    for graph, inputs, answers in zip(before, sets, run_c(after, sets), strict=True):
        for values, got in zip(inputs, answers, strict=True):
            assert_equal(f"C of {operators(graph)}", got, run(graph, values))


@pytest.mark.parametrize("name", [*FIRES, *STAYS])
def test_all_passes_together(name: str) -> None:
    graph = load({**FIRES, **STAYS}[name].make())
    after, outcomes = run_passes(graph, LOSSLESS)
    assert [o.name for o in outcomes] == [p.name for p in LOSSLESS]
    sets = draw_inputs(graph, seed=3)
    for inputs in sets:
        assert_equal(name, run(after, inputs), run(graph, inputs))
    assert store.dumps(run_passes(after, LOSSLESS)[0]) == store.dumps(after)


def test_padding_adds_up() -> None:
    result = FusePadding().run(load(padded(pads=2, same=True)))
    (node,) = RemoveDead().run(result.graph).graph.nodes
    assert isinstance(node.attrs, ConvAttrs)
    assert node.attrs.padding == (2, 4 + 1, 0, 2 + 1)  # SAME with a 2 × 2 window pads one row below, one column right


def test_the_activation_moves_with_its_name() -> None:
    graph = load(clamped("CONV_2D", "RELU6"))
    (node,) = FuseActivations().run(graph).graph.nodes
    assert isinstance(node.attrs, ConvAttrs)
    assert node.attrs.activation is Activation.RELU6 and node.outputs == graph.outputs


def test_a_folded_shape_is_a_constant() -> None:
    graph = FoldConstants().run(load(shape_arithmetic())).graph
    assert graph.constants[graph.nodes[0].inputs[1]].tolist() == [2, -1]


def test_sizes_before_and_after() -> None:
    _, (outcome,) = run_passes(load(shape_arithmetic()), [FoldConstants()])
    assert outcome.constant_bytes == (16, 8) and outcome.macs == (0, 0)


# --- The runner ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Breaks:
    """A pass that rewrites nodes by `change`."""

    change: Callable[[Graph], Graph]
    keeps: Keeps = Keeps.BITS
    name: str = "breaks"

    def run(self, graph: Graph) -> Result:
        return Result(self.change(graph), ("broken",))


def without_bias(graph: Graph) -> Graph:
    return graph.with_nodes([replace(n, inputs=(*n.inputs[:2], "")) for n in graph.nodes])


def biased() -> Graph:
    b, rng = ModelBuilder(), np.random.default_rng(0)
    x, y = b.tensor((2, 5), *Q), b.tensor((2, 4), *Q)
    weights = b.tensor((4, 5), "int8", 0.02, 0, rng.integers(-127, 128, (4, 5)))
    bias = b.tensor((4,), "int32", 0.002, 0, [0, 0, 100, 0])
    b.op("FULLY_CONNECTED", [x, weights, bias], [y], "FullyConnectedOptions")
    return load(b.finish([x], [y]))


def test_a_wrong_pass_is_caught_by_name() -> None:
    with pytest.raises(BrokenPassError, match="pass 'breaks' changed an output"):
        run_passes(biased(), [RemoveDead(), Breaks(without_bias), FoldTables()])


def test_a_pass_that_need_not_keep_bits_may_change_them() -> None:
    graph, _ = run_passes(biased(), [Breaks(without_bias, Keeps.ACCURACY), RemoveDead()])
    assert graph.nodes[0].inputs[2] == ""


def test_what_comes_after_such_a_pass_is_still_held() -> None:
    other = Breaks(lambda g: replace(g, constants={k: np.flip(v) for k, v in g.constants.items()}), name="other")
    with pytest.raises(BrokenPassError, match="pass 'other'"):
        run_passes(biased(), [Breaks(without_bias, Keeps.ACCURACY), other])


@pytest.mark.parametrize("change", ["fewer outputs", "another shape"])
def test_a_pass_that_changes_the_ports_is_caught(change: str) -> None:
    def changed(graph: Graph) -> Graph:
        if change == "fewer outputs":
            return replace(graph, outputs=graph.outputs[:1])
        (name, *_) = graph.outputs
        return replace(graph, types={**graph.types, name: replace(graph.types[name], shape=(3, 2))})

    graph = load(reshapes((6, 1), outputs=(-1, -2)))
    with pytest.raises(BrokenPassError, match="inputs or outputs"):
        run_passes(graph, [Breaks(changed)])

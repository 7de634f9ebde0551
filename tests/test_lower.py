# SPDX-License-Identifier: Apache-2.0
"""Graph → Program → Plan: shared buffers and constants, outputs of every kind, in-place steps, --optimize."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.laws import assert_equal, draw_inputs, load, run_c, tflm
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.emit.render import emit
from tinygen.emit.text import call_texts
from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph, Node
from tinygen.ir.program import Program
from tinygen.ir.types import DType, TensorType
from tinygen.kernels import Kernel, Launch, kernels_for
from tinygen.layout import laid_out
from tinygen.lower import Optimize, lower
from tinygen.ops import Call
from tinygen.plan.arena import demand, plan
from tinygen.plan.order import in_best_order
from tinygen.reference import run
from tinygen.selection import select
from tinygen.target import load_target

Q = ("int8", 0.1, -5)
HOST = load_target("host")


def lowered(graph: Graph, optimize: Optimize = "balanced") -> Program:
    return lower(graph, HOST, optimize)


def same_c(*files: bytes) -> None:
    """The C of each model computes what the reference does, and that is what TFLM does."""
    graphs = [load(data) for data in files]
    sets = [draw_inputs(graph, seed=5) for graph in graphs]
    for data, graph, inputs, answers in zip(files, graphs, sets, run_c(graphs, sets), strict=True):
        for values, got, expected in zip(inputs, answers, tflm(data, inputs), strict=True):
            assert_equal("reference against TFLM", run(graph, values), expected)
            assert_equal("C against reference", got, run(graph, values))


# --- Views and outputs --------------------------------------------------------------------------------------------


def reshape(b: ModelBuilder, source: int, target: int, shape: tuple[int, ...]) -> None:
    b.op("RESHAPE", [source, b.constant(shape)], [target], "ReshapeOptions", newShape=list(shape))


def views() -> bytes:
    """ELU of a reshaped input; out: the input's view, the ELU, a view of a view of it, and one of them twice."""
    b = ModelBuilder()
    x, v, e, r, s = (b.tensor(shape, *Q) for shape in ((1, 6), (2, 3), (2, 3), (3, 2), (6,)))
    reshape(b, x, v, (2, 3))
    b.op("ELU", [v], [e])
    reshape(b, e, r, (3, 2))
    reshape(b, r, s, (6,))
    return b.finish([x], [v, e, s, e])


def given_back() -> bytes:
    """Outputs: the input itself, a constant that a node reads too, twice, and that node's result."""
    b = ModelBuilder()
    x, c, y = b.tensor((1, 4), *Q), b.tensor((1, 4), *Q, [-128, -1, 0, 127]), b.tensor((1, 4), *Q)
    b.op("MAXIMUM", [x, c], [y], "MaximumMinimumOptions")
    return b.finish([x], [x, c, y, c])


def constant_only() -> bytes:
    b = ModelBuilder()
    x, c = b.tensor((1, 4), *Q), b.tensor((3,), "int32", data=[-(2**31), 0, 2**31 - 1])
    return b.finish([x], [c])


def unread_input() -> bytes:
    """The first input is read by nothing, the third is given out as it is."""
    b = ModelBuilder()
    x, y, z, e = (b.tensor((1, 4), *Q) for _ in range(4))
    b.op("ELU", [y], [e])
    return b.finish([x, y, z], [e, z])


def residual(shape: tuple[int, ...] = (2, 6)) -> bytes:
    """Each intermediate result is read again later: what overwrites its place too early shows."""
    b = ModelBuilder()
    x, a, c, d, e = (b.tensor(shape, *Q) for _ in range(5))
    b.op("ELU", [x], [a])
    b.op("ADD", [x, a], [c], "AddOptions")
    b.op("ELU", [c], [d])
    b.op("SUB", [a, d], [e], "SubOptions")
    f, g = b.tensor(shape, *Q), b.tensor(shape, *Q)
    b.op("MAXIMUM", [c, e], [f], "MaximumMinimumOptions")
    b.op("MUL", [f, f], [g], "MulOptions")
    return b.finish([x], [g])


def through_views() -> bytes:
    """An in-place operator on one view while another view of the same bytes is read later."""
    b = ModelBuilder()
    x, a, v, e, w, y = (b.tensor(s, *Q) for s in ((2, 3), (2, 3), (6,), (6,), (2, 3), (2, 3)))
    b.op("ELU", [x], [a])
    reshape(b, a, v, (6,))
    b.op("ELU", [v], [e])
    reshape(b, e, w, (2, 3))
    b.op("SUB", [w, a], [y], "SubOptions")
    return b.finish([x], [y])


def broadcast_in_place() -> bytes:
    """The larger operand of a broadcast may be overwritten, the smaller one not; then it is read again."""
    b = ModelBuilder()
    x, row, e, r, y, z = (b.tensor(s, *Q) for s in ((3, 4), (1, 4), (3, 4), (1, 4), (3, 4), (3, 4)))
    b.op("ELU", [x], [e])
    b.op("ELU", [row], [r])
    b.op("ADD", [r, e], [y], "AddOptions")
    b.op("MUL", [y, r], [z], "MulOptions")
    return b.finish([x, row], [z])


def last_value_is_output() -> bytes:
    """An output is read by a later node that could run in its place."""
    b = ModelBuilder()
    x, a, c = (b.tensor((2, 3), *Q) for _ in range(3))
    b.op("ELU", [x], [a])
    b.op("ELU", [a], [c])
    return b.finish([x], [a, c])


MODELS = (
    views,
    given_back,
    constant_only,
    unread_input,
    residual,
    through_views,
    broadcast_in_place,
    last_value_is_output,
)


def test_outputs_of_every_kind_and_in_place_steps() -> None:
    same_c(*(make() for make in MODELS))


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_what_build_makes_of_them(make: Any) -> None:
    """Passes and a better order on top: still the same answers."""
    graph = load(make())
    made = api.build(graph, "host")
    for inputs in draw_inputs(graph, seed=6):
        assert_equal("build", run(made.graph, inputs), run(graph, inputs))


def test_views_share_their_buffer() -> None:
    program = lowered(load(views()))
    assert len(program.steps) == 1 and [b.name for b in program.buffers] == ["t0", "t2"]
    assert [program.tensors[n] for n in program.outputs] == ["t0", "t2", "t2", "t2"]


def test_a_constant_output_is_copied_once_and_last() -> None:
    program = lowered(load(given_back()))
    assert [step.op for step in program.steps] == ["MAXIMUM", "COPY"]
    (read,), (written,) = program.steps[1].invocations[0].reads, program.steps[1].invocations[0].writes
    assert read.constant and not written.constant
    assert program.steps[0].invocations[0].reads[1].name == read.name, "both steps read one array"


def test_inputs_and_outputs_keep_their_bytes_to_the_end() -> None:
    program = lowered(load(given_back()))
    buffers = demand(program).buffers
    spans = {b.name: (b.first, b.last) for b in buffers}
    assert spans["t0"] == (-1, 2) and spans["t2"] == (0, 2)


# --- In place -----------------------------------------------------------------------------------------------------


def test_in_place_is_used_where_it_is_legal() -> None:
    """ELU of an ELU in one place; the first result is an output in the other model and must stay."""
    b = ModelBuilder()
    x, a, c = (b.tensor((64,), *Q) for _ in range(3))
    b.op("ELU", [x], [a])
    b.op("ELU", [a], [c])
    assert plan(lowered(load(b.finish([x], [c])))).bytes == 64
    assert plan(lowered(load(last_value_is_output()))).bytes == 16


def test_a_value_that_is_read_again_is_not_overwritten() -> None:
    program = lowered(load(residual((8, 8))))
    layout = plan(program)
    offsets = [layout.offsets[program.tensors[n]] for n in ("t0", "t1")]
    assert abs(offsets[0] - offsets[1]) >= 64, "t0 is read after t1 is written"
    assert layout.bytes == 3 * 64, "but three places are enough for seven tensors"


# --- Constants and copies -----------------------------------------------------------------------------------------


def dense(layers: int, size: int = 8, same_weights: bool = True) -> bytes:
    b, rng = ModelBuilder(), np.random.default_rng(0)
    tensors = [b.tensor((1, size), *Q)]
    weights = rng.integers(-127, 128, (size, size))
    for _ in range(layers):
        w = b.tensor((size, size), "int8", 0.01, 0, weights if same_weights else rng.integers(-127, 128, (size, size)))
        tensors.append(b.tensor((1, size), *Q))
        b.op("FULLY_CONNECTED", [tensors[-2], w, -1], [tensors[-1]], "FullyConnectedOptions")
    return b.finish([tensors[0]], [tensors[-1]])


def test_equal_constants_are_stored_once() -> None:
    shared, apart = lowered(load(dense(3))), lowered(load(dense(3, same_weights=False)))
    assert apart.constant_bytes - shared.constant_bytes >= 2 * 64
    sizes = [step.constant_bytes for step in shared.steps]
    assert sum(sizes) == shared.constant_bytes and sizes[1:] == [0, 0]
    same_c(dense(3))


@pytest.mark.parametrize("last, entries", [(0.01, 1), (0.02, 8)])
def test_requantization_that_is_the_same_for_all_channels_is_stored_once(last: float, entries: int) -> None:
    b, rng = ModelBuilder(), np.random.default_rng(0)
    x, y = b.tensor((1, 8), *Q), b.tensor((1, 8), *Q)
    weights = b.tensor((8, 8), "int8", [0.01] * 7 + [last], 0, rng.integers(-127, 128, (8, 8)))
    b.op("FULLY_CONNECTED", [x, weights, -1], [y], "FullyConnectedOptions")
    data = b.finish([x], [y])
    (step,) = lowered(load(data)).steps
    (call,) = step.invocations
    sizes = {c.name: c.values.size for c in lowered(load(data)).constants}
    assert {sizes[str(call.params[name])] for name in ("multipliers", "shifts")} == {entries}
    same_c(data)


def test_equal_bytes_of_another_type_are_not_shared() -> None:
    b = ModelBuilder()
    x = b.tensor((1, 4), *Q)
    outputs = [b.tensor((2,), "int32", data=[1, 2]), b.tensor((8,), "int8", data=[1, 0, 0, 0, 2, 0, 0, 0])]
    program = lowered(load(b.finish([x], outputs)))
    assert sorted(c.values.dtype.name for c in program.constants) == ["int32", "int8"]


@pytest.mark.parametrize("optimize, copies", [("speed", 3), ("size", 0), ("ram", 3), ("balanced", 3)])
def test_own_copies(optimize: Optimize, copies: int) -> None:
    program = lowered(load(dense(3, same_weights=False)), optimize)
    assert sum(c.own_copy for step in program.steps for c in step.invocations) == copies
    text = emit(program, plan(program), [])["m.c"]
    assert text.count("m_call_") == 2 * copies and (copies == 3) == ("_shared(" not in text)


@pytest.mark.parametrize(
    "optimize, size, copy", [("balanced", 100, False), ("speed", 100, True), ("speed", 400, False)]
)
def test_a_small_layer_gets_no_copy_of_its_own(optimize: Optimize, size: int, copy: bool) -> None:
    b, rng = ModelBuilder(), np.random.default_rng(0)
    x, y, z = b.tensor((1, size), *Q), b.tensor((1, size), *Q), b.tensor((1, 1), *Q)
    for source, target, n in ((x, y, size), (y, z, 1)):
        w = b.tensor((n, size), "int8", 0.01, 0, rng.integers(-127, 128, (n, size)))
        b.op("FULLY_CONNECTED", [source, w, -1], [target], "FullyConnectedOptions")
    program = lowered(load(b.finish([x], [z])), optimize)
    assert [c.own_copy for step in program.steps for c in step.invocations] == [True, copy]


# --- Scratch ------------------------------------------------------------------------------------------------------


def greedy_kernel(scratch: int, speed: float) -> Kernel:
    """A kernel for ELU that wants `scratch` bytes."""
    (table,) = kernels_for("ELU")

    def launch(call: Call[Any]) -> list[Launch]:
        return [replace(table.launch(call)[0], scratch=scratch)]

    return replace(table, launch=launch, speed=speed)


@pytest.fixture
def greedy_elu(monkeypatch: pytest.MonkeyPatch) -> Graph:
    """Two ELUs whose fastest kernel wants 100 bytes of scratch memory; the last tensor is called as that might be."""
    kernels = greedy_kernel(100, 1.0), greedy_kernel(10, 2.0)
    monkeypatch.setattr("tinygen.selection.kernels_for", lambda op: kernels)
    b = ModelBuilder()
    x, y, z = b.tensor((4,), *Q), b.tensor((4,), *Q, name="y"), b.tensor((4,), *Q, name="y:scratch0")
    b.op("ELU", [x], [y])
    b.op("ELU", [y], [z])
    return load(b.finish([x], [z]))


def test_scratch_lives_in_the_arena_during_its_step_only(greedy_elu: Graph) -> None:
    program = lowered(greedy_elu)
    buffers = demand(program).buffers
    names = [step.scratch[0].name for step in program.steps]
    assert [(b.bytes, b.first, b.last) for b in buffers if b.name in names] == [(100, 0, 0), (100, 1, 1)]
    assert not set(names) & set(greedy_elu.types), "no tensor has the name of scratch memory"
    layout = plan(program)
    assert layout.bytes < 200, "both steps' scratch memory is the same"
    pointers = [text.pointers for step in call_texts("m_", program, layout) for text in step]
    assert [p[-1] for p in pointers] == [f"a + {layout.offsets[name]}" for name in names]


def test_scratch_memory_is_taken_if_it_is_worth_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 bytes for 5 % fewer instructions: but under `ram`; 100 for half of them: always; a limit is kept."""
    b = ModelBuilder()
    x, y = b.tensor((64,), *Q), b.tensor((64,), *Q)
    b.op("ELU", [x], [y])
    graph = load(b.finish([x], [y]))
    for scratch, slower, expected in ((20, 1.05, (20, 20, 0)), (100, 2.0, (100, 100, 100))):
        kernels = greedy_kernel(scratch, 1.0), greedy_kernel(0, slower)
        monkeypatch.setattr("tinygen.selection.kernels_for", lambda op, kernels=kernels: kernels)
        chosen = [select(graph, HOST, optimize)["t1"].scratch for optimize in ("speed", "balanced", "ram")]
        assert tuple(chosen) == expected
        rooms = (0, 63 + scratch, 64 + scratch)
        assert [select(graph, HOST, "speed", room)["t1"].scratch for room in rooms] == [0, 0, scratch]


# --- Choosing kernels ---------------------------------------------------------------------------------------------


def test_what_no_kernel_computes_is_named() -> None:
    b = ModelBuilder()
    x, y = b.tensor((1, 4), *Q), b.tensor((1, 4), *Q)
    b.op("ELU", [x], [y])
    graph = load(b.finish([x], [y]))
    node = Node("strange", "SHAPE", graph.nodes[0].inputs, ("out",))
    strange = Graph("m", ("t0",), ("out",), (node,), {**graph.types, "out": TensorType((2,), DType.INT32)}, {})
    with pytest.raises(
        UnsupportedError, match=r"'strange' \(SHAPE\): no kernel computes int8\[1,4\] → int32\[2\] on host"
    ):
        select(strange, HOST, "balanced")


# --- Order --------------------------------------------------------------------------------------------------------


def branches(width: int = 64) -> Graph:
    """Four wide branches of a small input, each reduced to a small sum: best is one after the other."""
    b, rng = ModelBuilder(), np.random.default_rng(0)
    x = b.tensor((1, 4), *Q)
    wide, narrow = [], []
    for _ in range(4):
        wide.append(b.tensor((1, width), *Q))
        w = b.tensor((width, 4), "int8", 0.02, 0, rng.integers(-127, 128, (width, 4)))
        b.op("FULLY_CONNECTED", [x, w, -1], [wide[-1]], "FullyConnectedOptions")
    for source in wide:
        narrow.append(b.tensor((1, 2), *Q))
        w = b.tensor((2, width), "int8", 0.02, 0, rng.integers(-127, 128, (2, width)))
        b.op("FULLY_CONNECTED", [source, w, -1], [narrow[-1]], "FullyConnectedOptions")
    return load(b.finish([x], narrow))


def test_build_takes_the_better_order() -> None:
    graph = branches()
    given = plan(lowered(graph)).bytes
    made = api.build(graph, "host")
    assert made.plan.bytes <= 64 + 4 + 4 * 8 + 16 < given
    assert [n.name for n in made.graph.nodes] != [n.name for n in graph.nodes]
    for inputs in draw_inputs(graph, seed=7):
        assert_equal("reordered", run(made.graph, inputs), run(graph, inputs))


def test_an_order_that_only_seems_better_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler does not know how blocks can be packed: the arena decides."""
    graph = branches()
    best = in_best_order(graph)
    monkeypatch.setattr("tinygen.layout.in_best_order", lambda g, uses=None: graph if g is best else g)
    worse_offered, _, layout = laid_out(best, HOST, "balanced")
    assert worse_offered is best and layout.bytes == plan(lowered(best)).bytes
    monkeypatch.setattr("tinygen.layout.in_best_order", lambda g, uses=None: graph)
    assert laid_out(best, HOST, "balanced")[0] is best


def tangled(seed: int) -> Graph:
    """A network of six layers, some of which read what others read, too."""
    b, rng = ModelBuilder(), np.random.default_rng(seed)
    x = b.tensor((1, 16), *Q)
    known, read = [(x, 16)], set[int]()
    while len(known) < 7:
        (a, depth), (other, same) = (known[i] for i in rng.integers(len(known), size=2))
        kind = "ADD" if a != other and depth == same else str(rng.choice(["ELU", "FULLY_CONNECTED"]))
        units = int(rng.choice([8, 24, 48, 64])) if kind == "FULLY_CONNECTED" else depth
        output, inputs = b.tensor((1, units), *Q), [a, other] if kind == "ADD" else [a]
        if kind == "FULLY_CONNECTED":
            inputs += [b.tensor((units, depth), "int8", 0.02, 0, rng.integers(-127, 128, (units, depth))), -1]
        b.op(
            kind, inputs, [output], *{"FULLY_CONNECTED": ["FullyConnectedOptions"], "ADD": ["AddOptions"]}.get(kind, [])
        )
        known.append((output, units))
        read |= {a, other} if kind == "ADD" else {a}
    return load(b.finish([x], [t for t, _ in known[1:] if t not in read]))


def orders(nodes: Sequence[Node], known: frozenset[str]) -> Iterator[list[Node]]:
    """Every order in which `nodes` can run."""
    if not nodes:
        yield []
    for i, node in enumerate(nodes):
        if known.issuperset(node.inputs):
            for rest in orders([*nodes[:i], *nodes[i + 1 :]], known | set(node.outputs)):
                yield [node, *rest]


def test_no_order_gives_a_smaller_arena() -> None:
    """Of all orders in which small graphs can run, with what lies over what; tensors alone would tell another one."""
    for seed in (18, 54, 57):
        graph = tangled(seed)
        every = orders(graph.nodes, frozenset({*graph.inputs, *graph.constants, ""}))
        least = min(plan(lowered(graph.with_nodes(nodes))).bytes for nodes in every)
        assert laid_out(graph, HOST, "balanced")[2].bytes == least
        assert min(plan(lowered(one)).bytes for one in (graph, in_best_order(graph))) > least


def test_the_given_order_stays_where_nothing_is_gained() -> None:
    graph = load(residual())
    assert in_best_order(graph) is graph
    assert [n.name for n in api.build(graph, "host").graph.nodes] == [n.name for n in graph.nodes]

# SPDX-License-Identifier: Apache-2.0
"""Plans against a simulator that shares nothing with the planner, and against garbage in all dead bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests import zoo
from tests.laws import assert_equal, draw_inputs, load, run_texts
from tests.plan_simulator import dead_bytes, simulate
from tests.stripe_models import ALL, network, segment
from tests.tflite_builder import ModelBuilder
from tinygen import api
from tinygen.copies import Costs, with_copies
from tinygen.emit.render import emit
from tinygen.ir.graph import Graph
from tinygen.ir.program import Program
from tinygen.lower import Optimize, lower
from tinygen.passes import lossless, run_passes
from tinygen.placement import EVERYTHING_USUAL
from tinygen.plan.arena import Plan, plan
from tinygen.reference import run
from tinygen.stripes.choose import arrangements
from tinygen.stripes.segment import Segment
from tinygen.target import Bank, load_target

FEATURES = ("", "dsp", "v6m", "mve")
SIZES: tuple[Optimize, ...] = ("balanced", "ram", "speed", "size")
MODELS = ("ad01_int8", "ic01_int8", "kws01_int8", "vww01_int8")


def lowered(graph: Graph, feature: str, optimize: Optimize) -> Program:
    return lower(graph, replace(load_target("host"), features=frozenset({feature} - {""})), optimize)


def with_slow_flash(program: Program, layout: Plan, room: int | None = None) -> tuple[Program, Plan]:
    """`program` with copies of weights where that pays in a flash that is very slow."""
    banks = Bank("flash", "flash", None, 0, 1 << 30, 100.0), Bank("ram", "ram", None, 0, 1 << 30)
    costs = Costs(replace(load_target("host"), banks=banks), EVERYTHING_USUAL)
    return with_copies(program, layout, costs, None, room)


def joining(seed: int) -> Graph:
    """Pieces of an input that go different ways and are joined, some more than once, along the outermost axis."""
    rng, b, q = np.random.default_rng(seed), ModelBuilder(), ("int8", 0.1, 0)
    rows = 8
    x = b.tensor((rows, 4), *q)
    pieces = [b.tensor((rows // 2, 4), *q) for _ in range(2)]
    b.op("SPLIT", [b.constant(0), x], pieces, "SplitOptions", numSplits=2)
    known = [(p, rows // 2) for p in pieces] + [(x, rows)]
    for _ in range(5):
        kind, (source, count) = rng.integers(3), known[rng.integers(len(known))]
        if kind == 0:
            y = (b.tensor((count, 4), *q), count)
            b.op("ELU", [source], [y[0]])
        elif kind == 1:
            other, more = known[rng.integers(len(known))]
            y = (b.tensor((count + more, 4), *q), count + more)
            b.op("CONCATENATION", [source, other], [y[0]], "ConcatenationOptions", axis=0)
        else:
            y = (b.tensor((count // 2, 4), *q), count // 2)
            places = b.constant([count - count // 2, 0]), b.constant([count // 2, 4])
            b.op("SLICE", [source, *places], [y[0]], "SliceOptions")
        known.append(y)
    return load(b.finish([x], [known[-1][0], known[-2][0]]))


def graphs() -> list[Graph]:
    return [*(network(seed, 5) for seed in range(12)), *(joining(seed) for seed in range(12))]


@pytest.mark.parametrize("feature", FEATURES)
def test_random_networks(feature: str) -> None:
    used, copies = 0, 0
    for number, graph in enumerate(graphs()):
        program = lowered(graph, feature, SIZES[number % len(SIZES)])
        layout = plan(program)
        simulate(graph, program, layout)
        used += len(layout.overlaps) + len(layout.ties)
        copying, planned = with_slow_flash(program, layout)
        simulate(graph, copying, planned)
        copies += sum(len(step.copies) for step in copying.steps)
    assert used > 20 and copies > 10


def together(seed: int, pushed: bool = False) -> tuple[Graph, Program, Plan, tuple[Segment, ...]]:
    """A random network whose layers run together as under `ram`."""
    graph, target = network(seed, 6, ALL), replace(load_target("host"), features=frozenset({FEATURES[seed % 4]} - {""}))
    found = min(arrangements(graph, target, 1 << 20, pushed), key=lambda a: a.bytes)
    program = lower(graph, target, "ram", found.segments, found.choices)
    return graph, program, plan(program), found.segments


@pytest.mark.parametrize("pushed", [False, True])
def test_layers_that_run_together(pushed: bool) -> None:
    """Every row is where it is read, in networks of all kinds of layers, also if their input comes row by row."""
    copies = 0
    for seed in range(12):
        graph, program, layout, segments = together(seed, pushed)
        simulate(graph, program, layout, segments)
        copying, planned = with_slow_flash(program, layout)
        simulate(graph, copying, planned, segments)
        copies += sum(len(step.copies) for step in copying.steps if step.loop)
    assert pushed or copies > 5


@pytest.mark.parametrize("seed", [5016, 5003])
def test_layers_in_forced_bands(seed: int) -> None:
    """Also where a layer reads one map twice, at different rows: an image below itself."""
    graph = network(seed, 5, ALL)
    for band in (1, 3):
        some = segment(graph, load_target("host"), band, 0, len(graph.nodes))
        program = lower(graph, load_target("host"), "ram", [some])
        simulate(graph, program, plan(program), [some])


def test_simulator_finds_faults_in_rows() -> None:
    """Where rows move by too few bytes, or not at all; where the output lies too near to the input."""
    found, tried = 0, 0
    for seed in range(6):
        graph, program, layout, segments = together(seed)
        for number, step in enumerate(program.steps):
            for moves in (i for i, a in enumerate(step.loop.actions if step.loop else ()) if a.shift is not None):
                assert step.loop is not None
                actions = list(step.loop.actions)
                actions[moves] = replace(actions[moves], shift=replace(actions[moves].shift, bytes=1))  # type: ignore[type-var]
                steps = list(program.steps)
                steps[number] = replace(step, loop=replace(step.loop, actions=tuple(actions)))
                tried += 1
                found += _fails(graph, replace(program, steps=tuple(steps)), layout, segments)
        for name in sorted({o.output for o in layout.overlaps}):
            tried += 1
            near = replace(layout, offsets={**layout.offsets, name: layout.offsets[name] + 8})
            found += _fails(graph, program, near, segments)
    assert tried > 20 and found > 0.8 * tried


def _fails(graph: Graph, program: Program, layout: Plan, segments: tuple[Segment, ...]) -> bool:
    try:
        simulate(graph, program, layout, segments)
    except (AssertionError, IndexError):
        return True
    return False


@pytest.mark.skipif(not zoo.PRESENT, reason=zoo.ABSENT)
@pytest.mark.parametrize("name", MODELS)
def test_benchmarks(name: str) -> None:
    graph, _ = run_passes(api.load(zoo.path_of(f"mlperf_tiny/{name}")), lossless(()))
    for feature in ("dsp", "mve"):
        program = lowered(graph, feature, "balanced")
        layout = plan(program)
        simulate(graph, program, layout)
        simulate(graph, *with_slow_flash(program, layout, layout.bytes + 20_000))


def test_simulator_finds_faults() -> None:
    """Wherever an overlapping output lies nearer than it may, and where two buffers share a byte."""
    found, tried = 0, 0
    for graph in graphs():
        program = lowered(graph, "", "balanced")
        layout = plan(program)
        for name in sorted({o.output for o in layout.overlaps}):
            tried += 1
            try:
                simulate(graph, program, replace(layout, offsets={**layout.offsets, name: layout.offsets[name] + 8}))
            except (AssertionError, IndexError):
                found += 1
    assert tried > 20
    assert found > 0.5 * tried, "some outputs may lie anywhere in a piece of the arena"
    for graph in graphs()[:12]:
        program = lowered(graph, "", "balanced")
        program, layout = with_slow_flash(program, plan(program))
        for step in program.steps:
            for copy in step.copies:
                over = {**layout.offsets, copy.buffer: layout.offsets[step.writes[0]]}
                with pytest.raises((AssertionError, IndexError)):
                    simulate(graph, program, replace(layout, offsets=over))


def poison(program: Program, layout: Plan) -> str:
    """C that fills what is dead after each step with garbage, as the hook of `program`."""
    name = program.name
    lines = ["#include <string.h>", f"static void {name}_poison(unsigned char *a, int step) {{", "switch (step) {"]
    for step, dead in enumerate(dead_bytes(program, layout)):
        fills = " ".join(f"memset(a + {at}, {0x5A + step % 7}, {size});" for at, size in dead)
        lines.append(f"case {step}: {fills} break;")
    lines += ["default: break; } }", f"#define {name.upper()}_HOOK(step) {name}_poison(arena->bytes, step)", ""]
    return "\n".join(lines)


def test_dead_bytes_do_not_matter() -> None:
    """Under the sanitizers, with garbage in everything that no later step is to read."""
    made, sets, texts = graphs(), [], list[Mapping[str, str]]()
    for number, graph in enumerate(made):
        graph = replace(graph, name=f"m{number}")
        program = lowered(graph, FEATURES[number % 4], SIZES[number // 4 % 4])
        program, layout = with_slow_flash(program, plan(program))
        files = emit(program, layout, [])
        files[f"m{number}.c"] = poison(program, layout) + files[f"m{number}.c"]
        texts.append(files)
        sets.append(draw_inputs(graph, number, count=1))
    for seed in range(6):
        graph, program, layout, _ = together(seed)
        graph, program = replace(graph, name=f"m{len(made)}"), replace(program, name=f"m{len(made)}")
        files = emit(program, layout, [])
        files[f"{graph.name}.c"] = poison(program, layout) + files[f"{graph.name}.c"]
        texts.append(files)
        sets.append(draw_inputs(graph, seed, count=1))
        made.append(graph)
    for graph, some, answers in zip(made, sets, run_texts(made, texts, sets), strict=True):
        for inputs, got in zip(some, answers, strict=True):
            assert_equal("with garbage in dead bytes", got, run(graph, inputs))

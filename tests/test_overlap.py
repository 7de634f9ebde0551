# SPDX-License-Identifier: Apache-2.0
"""How far outputs may lie over inputs: the C computes the same at exactly that distance, and not one element nearer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convolutions import Spatial, spatials
from tests.forms import stored
from tests.laws import draw_inputs, load, run_c
from tests.operators import test_conv_2d, test_depthwise_conv_2d, test_fully_connected, test_wide
from tests.operators.pooling import pool_model
from tests.operators.test_dsp import FIVES, LEAN, LEANEST, RAW, doubled, preferred
from tests.strategies import FEW
from tests.tflite_builder import ModelBuilder
from tinygen.ir.graph import Graph
from tinygen.ir.program import Overlay, Program
from tinygen.lower import lower
from tinygen.plan.arena import Plan
from tinygen.reference import run
from tinygen.target import load_target

QUANT = (0.1, -3), [0.004], (0.3, 3)
#: Before and after everything, so that a distance that is too short stays inside the arena.
MARGIN = 64


def conv(s: Spatial, filters: int, groups: int = 1) -> bytes:
    return test_conv_2d.build(s, groups, filters, 5, *QUANT)


def depthwise(s: Spatial) -> bytes:
    return test_depthwise_conv_2d.build(s, 1, 5, *QUANT)


def dense(rows: int, depth: int, units: int) -> bytes:
    return test_fully_connected.simple((rows, depth), (units, depth))


def sized(op: str, *types: tuple[Any, ...]) -> bytes:
    """An operator without options, of the given inputs and, last, output: shape, element type, scale, zero point."""
    b = ModelBuilder()
    *inputs, output = (b.tensor(*t) for t in types)
    b.op(op, inputs, [output])
    return b.finish(inputs, [output])


def distance(rule: Overlay, size: int, excess: int) -> int | None:
    """Where the output begins after the input: as near as may be, and `excess` bytes nearer; None: `size` before."""
    if rule.below is None:
        return None
    near = rule.below // rule.step * rule.step + excess
    return near if near > -size else None


def placed(excess: Callable[[Program], int]) -> Callable[[Program], Plan]:
    """A planner for programs of one step whose output lies over its first input; everything else is apart."""

    def planned(program: Program) -> Plan:
        (step,), sizes = program.steps, {b.name: b.bytes for b in program.buffers}
        (output,), near = step.writes, 0
        if step.overlays:
            rule = step.overlays[0]
            gap = distance(rule, sizes[output], excess(program))
            near = 8 if gap is None else gap
            source = rule.buffer
        else:
            source = step.reads[0]
            near = sizes[source]
        base = MARGIN + (max(0, -near) + 7) // 8 * 8
        offsets, top = {source: base, output: base + near}, base + max(sizes[source], near + sizes[output]) + MARGIN
        for name, size in [*sizes.items(), *((s.name, s.bytes) for s in step.scratch)]:
            if name not in offsets:
                offsets[name] = top = -(-top // 8) * 8
                top += size
        return Plan(offsets, -(-top // 8) * 8, 0, 0)

    return planned


def offered(feature: str) -> AbstractContextManager[None]:
    """What makes selection take kernels of the feature."""
    if feature == "dsp, doubled":
        return doubled()
    return preferred(feature[:3], WITHOUT.get(feature, ""), OFFERED.get(feature, ())) if feature else nullcontext()


def correct(graphs: Sequence[Graph], feature: str, excess: Callable[[Program], int]) -> list[bool]:
    """Whether the C of each graph computes what the reference does on every input, placed so."""
    features = frozenset({feature[:3]}) if feature else frozenset[str]()
    sets = [draw_inputs(graph, 0) for graph in graphs]
    with offered(feature):
        outputs = run_c(graphs, sets, features=features, planned=placed(excess))
    return [
        all(got[0].tobytes() == run(graph, inputs)[0].tobytes() for inputs, got in zip(some, answers, strict=True))
        for graph, some, answers in zip(graphs, sets, outputs, strict=True)
    ]


def element(program: Program) -> int:
    """The bytes by which an output may not be nearer."""
    (step,) = program.steps
    return step.overlays[0].step if step.overlays[0].step > 1 else program.types[step.outputs[0]].dtype.bytes


NEAR = Spatial((1, 6, 5, 4), (3, 3))
ROW = (3, 7)
FOUR, FIVE, TWO = "dsp, four pixels", "dsp, five pixels", "dsp, two pixels"
#: Kernels that otherwise are only where memory counts most.
OFFERED = {FOUR: LEAN, FIVE: FIVES, TWO: LEANEST}
#: Templates that are left out, so that another kernel of the feature is chosen.
WITHOUT = {"dsp, in memory": RAW, "v6m, four": "fully_connected/v6m"}
#: (file, kernel, feature it requires): nodes whose kernels' distances are exact.
EXACT = [
    (conv(NEAR, 4), "conv_2d/portable", ""),
    (conv(Spatial((2, 7, 6, 3), (3, 2), (2, 1), same=False), 5), "conv_2d/portable", ""),
    (conv(Spatial((1, 4, 5, 8), (1, 1)), 8), "fully_connected/portable", ""),
    (conv(Spatial((1, 4, 5, 4), (1, 1)), 8), "fully_connected/portable", ""),
    (conv(Spatial((1, 9, 9, 2), (3, 3), dilation=(2, 2)), 2), "conv_2d/portable", ""),
    (depthwise(NEAR), "depthwise_conv_2d/portable", ""),
    (depthwise(Spatial((1, 6, 5, 6), (3, 3))), "depthwise_conv_2d/portable", ""),
    (dense(3, 11, 9), "fully_connected/portable", ""),
    (pool_model("MAX_POOL_2D", (1, 6, 5, 3), (3, 3)), "max_pool_2d/portable", ""),
    (pool_model("AVERAGE_POOL_2D", (1, 6, 5, 3), (3, 3)), "average_pool_2d/portable", ""),
    (pool_model("MAX_POOL_2D", (1, 6, 5, 6), (3, 3)), "max_pool_2d/four", ""),
    (pool_model("AVERAGE_POOL_2D", NEAR.shape, NEAR.kernel), "average_pool_2d/four", ""),
    (sized("ELU", (ROW, "int8", 0.1, 0), (ROW, "int8", 0.1, 0)), "lookup/table", ""),
    (sized("ADD", *[(ROW, "int8", 0.1, 0)] * 3), "add/line", ""),
    (sized("ADD", ((2, 1, 5), "int8", 0.1, 0), *[((2, 6, 5), "int8", 0.1, 0)] * 2), "add/portable", ""),
    (sized("MUL", ((2, 1, 5), "int8", 0.1, 0), *[((2, 6, 5), "int8", 1.0, 0)] * 2), "mul/narrow", ""),
    (sized("DEQUANTIZE", (ROW, "int8", 0.1, 0), (ROW, "float32")), "dequantize/portable", ""),
    (conv(Spatial((2, 30, 30, 4), (3, 3)), 4), "conv_2d/dsp", "dsp"),
    (conv(Spatial((1, 40, 60, 16), (1, 1)), 18), "conv_2d/dsp", "dsp"),
    (conv(Spatial((2, 30, 30, 4), (3, 3)), 4), "conv_2d/dsp_doubled", "dsp, doubled"),
    (conv(Spatial((2, 8, 8, 4), (3, 3)), 4), LEAN[0], FOUR),
    (conv(Spatial((1, 4, 8, 8), (1, 1)), 8), LEAN[0], FOUR),
    (conv(Spatial((2, 5, 7, 4), (3, 3)), 4), FIVES[0], FIVE),
    (conv(Spatial((1, 3, 5, 8), (1, 1)), 8), FIVES[0], FIVE),
    (conv(Spatial((2, 8, 9, 4), (3, 3)), 4), LEANEST[0], TWO),
    (conv(Spatial((1, 4, 6, 8), (1, 1)), 8), LEANEST[0], TWO),
    (dense(3, 11, 9), RAW, "dsp"),
    (dense(3, 16, 24), RAW, "dsp"),
    (dense(3, 11, 9), "fully_connected/dsp", "dsp, in memory"),
    (dense(3, 16, 24), "fully_connected/dsp", "dsp, in memory"),
    (depthwise(Spatial((1, 5, 30, 64), (1, 3))), "depthwise_conv_2d/dsp", "dsp"),
    (pool_model("MAX_POOL_2D", (1, 6, 5, 11), (3, 3)), "max_pool_2d/dsp", "dsp"),
    (pool_model("AVERAGE_POOL_2D", (1, 6, 5, 11), (3, 3)), "average_pool_2d/dsp", "dsp"),
    (conv(NEAR, 4), "conv_2d/v6m", "v6m"),
    (depthwise(Spatial((1, 5, 30, 6), (1, 3), activation=1)), "depthwise_conv_2d/v6m", "v6m"),
    (dense(3, 11, 19), "fully_connected/v6m", "v6m"),
    (dense(3, 11, 19), "fully_connected/v6m_four", "v6m, four"),
    (conv(Spatial((2, 30, 30, 4), (3, 3)), 4), "conv_2d/mve", "mve"),
    (dense(1, 11, 19), "fully_connected/mve", "mve"),
    (pool_model("AVERAGE_POOL_2D", (1, 6, 5, 11), (3, 3)), "average_pool_2d/mve", "mve"),
    (pool_model("MAX_POOL_2D", (1, 6, 5, 19), (3, 3)), "max_pool_2d/mve", "mve"),
]


@pytest.mark.parametrize(
    "feature", ["", "dsp", "dsp, doubled", "dsp, in memory", FOUR, FIVE, TWO, "v6m", "v6m, four", "mve"]
)
def test_exact_distances(feature: str) -> None:
    """At the distance, all is right; an element nearer, or a pixel where channels must meet, some values are wrong."""
    cases = [(load(data), kernel) for data, kernel, needs in EXACT if needs == feature]
    target = replace(load_target("host"), features=frozenset({feature[:3]} - {""}))
    with offered(feature):
        assert [lower(graph, target).steps[0].kernel for graph, _ in cases] == [kernel for _, kernel in cases]
    graphs = [graph for graph, _ in cases]
    assert all(correct(graphs, feature, lambda program: 0))
    assert not any(correct(graphs, feature, element))


def test_a_distance_counted_by_hand() -> None:
    """3x3 on rows of 5 pixels with 4 channels, to 4 filters. The first three channels of pixel 29, the last one (5, 4),
    are written when its window is read again for the fourth, from pixel (4, 3) = 23 on: 23 * 4 - (29 * 4 + 3) bytes."""
    (step,) = lower(load(conv(NEAR, 4)), load_target("host")).steps
    assert step.overlays == (Overlay(step.reads[0], -27),)


@pytest.mark.parametrize("feature", ["", "dsp", "v6m", "mve"])
@settings(FEW, max_examples=1)
@given(st.data())
def test_drawn_shapes(feature: str, data: st.DataObject) -> None:
    """Any shape at its distance, also with weights in forms."""
    drawn = [
        *(conv(data.draw(spatials(max_channels=17)), data.draw(st.integers(1, 7))) for _ in range(4)),
        *(depthwise(data.draw(spatials(channels=data.draw(st.integers(2, 40))))) for _ in range(4)),
        data.draw(test_fully_connected.models()),
        *(data.draw(test_wide.layers(op)) for op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")),
        data.draw(test_wide.pools("MAX_POOL_2D")),
    ]
    graphs = [graph for graph in map(load, drawn) if len(graph.inputs) == 1]
    rng = np.random.default_rng(0)
    forms = [stored(g, form, rng) for g in graphs[:9] for form in ("codebook", "packed")]
    assert all(correct([*graphs, *forms], feature, lambda program: 0))

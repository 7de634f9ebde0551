# SPDX-License-Identifier: Apache-2.0
"""The arena planner and the scheduler, against brute force on small cases and known results on real networks."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.plan.memory import Buffer, Overlap, Packing, Tie, check, pack
from tinygen.plan.schedule import Task, order, peak


@st.composite
def programs(
    draw: st.DrawFn, count: int, steps: int, largest: int, aligns: Sequence[int]
) -> tuple[list[Buffer], list[Overlap], list[Tie]]:
    """Buffers with random lifetimes, overlaps between any of them, legal or not, and ties of some."""
    buffers = []
    for i in range(draw(st.integers(0, count))):
        first, last = sorted((draw(st.integers(-1, steps)), draw(st.integers(-1, steps))))
        buffers.append(Buffer(f"b{i}", draw(st.integers(0, largest)), first, last, draw(st.sampled_from(aligns))))
    below = st.none() | st.integers(-largest, 0)
    pairs = [(a.name, b.name) for a in buffers for b in buffers if a.first == b.last and a is not b]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    overlaps = [Overlap(*pair, draw(below), draw(st.sampled_from((1, 1, 3)))) for pair in chosen]
    joined = [(a, b) for a in buffers for b in buffers if a is not b and a.bytes <= b.bytes]
    parts = draw(st.lists(st.sampled_from(joined), max_size=2, unique_by=lambda p: p[0].name)) if joined else []
    ties = [Tie(a.name, b.name, draw(st.integers(0, b.bytes - a.bytes))) for a, b in parts]
    return buffers, overlaps, ties


def may_share(a: Buffer, at: int, b: Buffer, bt: int, overlaps: Collection[Overlap]) -> bool:
    """Whether a at offset `at` and b at `bt` do each other no harm, but for ties."""
    if a.last < b.first or b.last < a.first or at + a.bytes <= bt or bt + b.bytes <= at:
        return True
    for output, source, distance in ((a, b, at - bt), (b, a, bt - at)):
        for o in overlaps:
            if (o.output, o.input) == (output.name, source.name) and source.first < output.first == source.last:
                return o.below is None or (distance <= o.below and distance % o.step == 0)
    return False


def fits(buffers: Sequence[Buffer], overlaps: Collection[Overlap], size: int) -> bool:
    """Whether `size` bytes are enough, by trying every offset of every buffer."""

    def place(rest: Sequence[Buffer], placed: tuple[tuple[Buffer, int], ...]) -> bool:
        if not rest:
            return True
        offsets = range(0, size - rest[0].bytes + 1, rest[0].align)
        able = (at for at in offsets if all(may_share(rest[0], at, b, bt, overlaps) for b, bt in placed))
        return any(place(rest[1:], (*placed, (rest[0], at))) for at in able)

    return place([b for b in buffers if b.bytes], ())


@settings(deadline=None, max_examples=100)
@given(programs(count=8, steps=7, largest=200, aligns=(1, 4, 8, 32)))
def test_packing_is_valid_and_between_its_bounds(program: tuple[list[Buffer], list[Overlap], list[Tie]]) -> None:
    buffers, overlaps, ties = program
    packing = pack(buffers, overlaps, ties)
    check(packing, buffers, overlaps, ties)
    apart = pack(buffers)
    assert packing.lower_bound <= packing.bytes <= apart.bytes <= apart.greedy == packing.greedy
    assert packing.lower_bound <= apart.lower_bound <= apart.bytes
    assert pack(buffers, overlaps, ties) == packing


@settings(deadline=None, max_examples=300)
@given(programs(count=5, steps=4, largest=6, aligns=(1, 2)))
def test_small_packings_are_optimal(program: tuple[list[Buffer], list[Overlap], list[Tie]]) -> None:
    """Of overlaps at any distance up to one, that is: others are tried at a few distances only."""
    buffers, overlaps, _ = program
    limited = [replace(o, below=-2 if o.below is None else o.below, step=1) for o in overlaps]
    size = pack(buffers, limited).bytes
    assert fits(buffers, limited, size)
    assert size == 0 or not fits(buffers, limited, size - 1)


def chain(sizes: Sequence[int]) -> list[Buffer]:
    """Tensors of a network without branches: each is computed from the one before."""
    last = len(sizes) - 2
    return [Buffer(f"t{i}", size, i - 1, min(i, last)) for i, size in enumerate(sizes)]


# VWW and KWS of MLPerf Tiny: MobileNet v1 (width 0.25, 96x96x3) and DS-CNN (49x10), activations in bytes.
VWW = (27648, 18432, 18432, 36864, 9216, 18432, 18432, 18432, 4608, 9216, 9216, 9216, 2304, *[4608] * 11, 1152)
VWW += (2304, 2304, 2304, 256, 2, 2)
KWS = (490, *[8000] * 9, 64, 12, 12)


@pytest.mark.parametrize(("sizes", "expected"), [(VWW, 55296), (KWS, 16000), ((640, 128, 128, 8, 128, 640), 768)])
def test_chains_reach_their_largest_pair(sizes: Sequence[int], expected: int) -> None:
    packing = pack(chain(sizes))
    assert packing.bytes == packing.lower_bound == expected


def test_residual_block_adds_in_place() -> None:
    """ResNet-8's first stack: three tensors live at its second convolution, and at the addition only if apart."""
    buffers = [
        Buffer("input", 3072, -1, 0),
        Buffer("stem", 16384, 0, 3),
        Buffer("conv1", 16384, 1, 2),
        Buffer("conv2", 16384, 2, 3),
        Buffer("sum", 16384, 3, 4),
        Buffer("down", 8192, 4, 4),
        Buffer("wide", 20480, 3, 3),
    ]
    overlaps = [Overlap("sum", "stem"), Overlap("sum", "conv2")]
    packing = pack(buffers, overlaps)
    assert pack(buffers).lower_bound == 3 * 16384 + 20480
    assert packing.bytes == packing.lower_bound == 2 * 16384 + 20480
    assert len(packing.overlaps) == 1
    assert packing.offsets["sum"] == packing.offsets[packing.overlaps[0].input]


def test_chain_of_steps_in_place() -> None:
    buffers = chain((1000, 1000, 1000, 600, 600))
    overlaps = [Overlap(f"t{i + 1}", f"t{i}") for i in range(4)]
    packing = pack(buffers, overlaps)
    assert packing.bytes == 1000
    assert set(packing.overlaps) == set(overlaps)
    assert set(packing.offsets.values()) == {0}


def test_what_meets_only_the_output_may_lie_where_the_input_was() -> None:
    buffers = [Buffer("head", 800, -1, 0), Buffer("tail", 80, 0, 2), Buffer("late", 720, 1, 2)]
    assert pack(buffers, [Overlap("tail", "head")]).bytes == 800


def test_overlap_is_used_only_where_lifetimes_allow() -> None:
    for buffers in (
        [Buffer("in", 8, -1, 1), Buffer("out", 8, 0, 1)],  # the input is read again later
        [Buffer("in", 8, 0, 0), Buffer("out", 8, 0, 0)],  # both are defined by the same step
    ):
        packing = pack(buffers, [Overlap("out", "in")])
        assert packing.overlaps == ()
        assert packing.bytes == sum(b.bytes for b in buffers)


@pytest.mark.parametrize(
    ("sizes", "below", "expected"),
    [
        ((800, 800), 0, 800),
        ((800, 800), -100, 904),  # rounded to the alignment
        ((800, 1600), -800, 1600),  # a larger output begins before the input and ends with it
        ((800, 1600), -900, 1704),
        ((1600, 800), -100, 1704),
        ((800, 80), None, 800),
        ((80, 800), None, 800),
        ((800, 800), -800, 1600),
    ],
)
def test_outputs_begin_as_far_before_inputs_as_they_must(
    sizes: tuple[int, int], below: int | None, expected: int
) -> None:
    buffers = [Buffer("in", sizes[0], -1, 0), Buffer("out", sizes[1], 0, 1)]
    packing = pack(buffers, [Overlap("out", "in", below)])
    assert packing.bytes == packing.lower_bound == expected


def test_steps_of_more_than_the_alignment() -> None:
    """An output may begin 24 bytes, 48 bytes … before its input, where both meet a third buffer."""
    buffers = [Buffer("in", 96, -1, 0), Buffer("out", 96, 0, 1), Buffer("scratch", 40, 0, 0)]
    for below, expected in ((0, 136), (-8, 160), (-24, 160), (-30, 184)):
        packing = pack(buffers, [Overlap("out", "in", below, 24)])
        assert packing.bytes == expected
        assert (packing.offsets["out"] - packing.offsets["in"]) % 24 == 0


def test_parts_of_a_whole() -> None:
    """Two inputs of a concatenation lie in its output from the start; a part that would not be aligned does not."""
    buffers = [Buffer("a", 40, -1, 2), Buffer("b", 24, 1, 2), Buffer("both", 64, 2, 3)]
    ties = [Tie("a", "both", 0), Tie("b", "both", 40)]
    packing = pack(buffers, (), ties)
    assert packing.bytes == packing.lower_bound == 64
    assert packing.ties == tuple(ties)
    assert packing.offsets["b"] == packing.offsets["both"] + 40
    assert pack(buffers, (), [Tie("b", "both", 36)]).ties == ()
    assert pack(buffers, (), [Tie("a", "both", 0), Tie("a", "both", 8)]).ties == (Tie("a", "both", 0),)


@pytest.mark.parametrize(
    ("sizes", "lifetimes", "expected"),
    [  # From TFLM's greedy_memory_planner_test.cc, times 16 to make its alignment exact.
        ((10, 20), ((0, 1), (2, 3)), 20),
        ((10, 20, 30, 40, 50), ((0, 1), (1, 2), (2, 3), (3, 4), (0, 1)), 90),
        ((100, 50, 20), ((0, 1), (2, 3), (1, 2)), 120),
    ],
)
def test_greedy_is_what_tflm_gets(sizes: Sequence[int], lifetimes: Sequence[tuple[int, int]], expected: int) -> None:
    buffers = [Buffer(f"b{i}", 16 * size, *lifetimes[i]) for i, size in enumerate(sizes)]
    assert pack(buffers).greedy == 16 * expected


def test_greedy_rounds_up_and_takes_the_later_of_equals_first() -> None:
    assert pack([Buffer("a", 1, 0, 0), Buffer("b", 17, 0, 0)]).greedy == 48
    # b lies at the bottom, a, then d and c above it; with a at the bottom, b would split the room for c and d.
    equal = [Buffer("a", 48, 2, 2), Buffer("b", 48, 2, 3), Buffer("c", 32, 3, 3), Buffer("d", 32, 3, 3)]
    assert pack(equal).greedy == 112


def test_search_beats_greedy() -> None:
    """Largest first is wrong here: both middle-sized buffers must lie on the same side."""
    buffers = [
        Buffer("a", 48, 0, 1, 16),
        Buffer("b", 48, 2, 3, 16),
        Buffer("c", 32, 1, 2, 16),
        Buffer("d", 64, 3, 4, 16),
        Buffer("e", 16, 0, 0, 16),
        Buffer("f", 32, 4, 4, 16),
        Buffer("g", 16, 2, 4, 16),
    ]
    packing = pack(buffers)
    assert packing.bytes == packing.lower_bound < packing.greedy


def test_nothing_empty_and_one() -> None:
    assert pack([]) == Packing({}, 0, 0, 0, (), ())
    assert pack([Buffer("none", 0, 0, 9), Buffer("one", 5, 0, 1)]).offsets == {"none": 0, "one": 0}
    assert pack([Buffer("one", 5, 0, 1)]).bytes == 5


def test_padding_counts_in_the_lower_bound() -> None:
    packing = pack([Buffer("a", 10, 0, 0), Buffer("b", 6, 0, 0)])
    assert packing.bytes == packing.lower_bound == 18


def test_hundreds_of_buffers_pack_quickly() -> None:
    buffers = [Buffer(f"b{i}", i * 7919 % 5000, i * 31 % 290, i * 31 % 290 + i * 17 % 12) for i in range(300)]
    overlaps = [Overlap(a.name, b.name) for a in buffers for b in buffers if a.first == b.last and a.bytes <= b.bytes]
    start = time.process_time()
    packing = pack(buffers, overlaps)
    assert time.process_time() - start < 5
    assert packing.bytes <= packing.lower_bound * 1.1


def test_bad_buffers_are_refused() -> None:
    for size, first, last, align in ((-1, 0, 0, 8), (1, 1, 0, 8), (1, 0, 0, 12), (1, 0, 0, 0)):
        with pytest.raises(ValueError, match="power of two"):
            Buffer("b", size, first, last, align)
    with pytest.raises(ValueError, match="same name"):
        pack([Buffer("b", 1, 0, 0), Buffer("b", 1, 0, 0)])


def test_check_finds_every_kind_of_fault() -> None:
    buffers = [Buffer("a", 16, -1, 0), Buffer("b", 16, 0, 1), Buffer("c", 8, 0, 0)]
    overlaps, ties = [Overlap("b", "a")], [Tie("c", "b", 8)]
    good = Packing({"a": 0, "b": 0, "c": 16}, 24, 24, 48, (), ())
    check(good, buffers, overlaps)
    faults = {
        "'b' and 'c'": replace(good, offsets={"a": 16, "b": 0, "c": 8}, bytes=32),
        "'a' and 'b'": replace(good, offsets={"a": 0, "b": 8, "c": 24}, bytes=32),
        "outside": replace(good, bytes=23),
        "misaligned": replace(good, offsets={"a": 0, "b": 0, "c": 20}, bytes=32),
    }
    for message, packing in faults.items():
        with pytest.raises(ValueError, match=message):
            check(packing, buffers, overlaps)
    check(faults["'b' and 'c'"], buffers, overlaps, ties)
    for rules in ([], [Overlap("b", "a", -8)]):
        with pytest.raises(ValueError, match="'a' and 'b'"):
            check(good, buffers, rules)
    check(good, buffers, [Overlap("b", "a", None)])
    with pytest.raises(ValueError, match="'a' and 'b'"):
        check(good, [replace(buffers[0], last=1), *buffers[1:]], overlaps)


@st.composite
def graphs(draw: st.DrawFn, count: int) -> tuple[list[Task], dict[str, int], frozenset[str]]:
    """Tasks in an order in which they can run, with sizes, and tensors to keep."""
    known = ["in0", "in1", "constant"]
    tasks = []
    for i in range(draw(st.integers(0, count))):
        reads = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
        writes = [f"t{i}.{j}" for j in range(draw(st.integers(1, 2)))]
        saved = {name: draw(st.integers(0, 12)) for name in reads if name != "constant" and draw(st.booleans())}
        tasks.append(Task(f"n{i}", tuple(reads), tuple(writes), draw(st.integers(12, 20)), saved))
        known += writes
    sizes = {name: draw(st.integers(0, 20)) for name in known if name != "constant"}
    return tasks, sizes, frozenset(draw(st.sets(st.sampled_from(known))))


def runs(tasks: Sequence[Task], sequence: Sequence[int]) -> bool:
    """Whether every task of `sequence` finds what it reads."""
    missing = {w for task in tasks for w in task.writes}
    for index in sequence:
        if missing & set(tasks[index].reads):
            return False
        missing -= set(tasks[index].writes)
    return not missing


def live_peak(tasks: Sequence[Task], sizes: Mapping[str, int], keep: Collection[str], sequence: Sequence[int]) -> int:
    """The most bytes alive, from the lifetime of each tensor."""
    written = {w: i for i, index in enumerate(sequence) for w in tasks[index].writes}
    read = {r: i for i, index in enumerate(sequence) for r in tasks[index].reads}
    lives = {n: (written.get(n, -1), len(sequence) if n in keep else read.get(n, written.get(n, -1))) for n in sizes}
    # A kept input that nothing reads is no business of the order's.
    lives = {n: life for n, life in lives.items() if n in written or n in read}
    most = sum(sizes[n] for n, (first, _) in lives.items() if first == -1)
    for i, index in enumerate(sequence):
        task = tasks[index]
        live = sum(sizes[n] for n, (first, last) in lives.items() if first <= i <= last) + task.scratch
        saved = [s for n, s in task.overlays.items() if n in lives and lives[n][1] == i]
        most = max(most, live - max(saved, default=0))
    return most


@settings(deadline=None, max_examples=200)
@given(graphs(count=6))
def test_small_schedules_are_optimal(graph: tuple[list[Task], dict[str, int], frozenset[str]]) -> None:
    tasks, sizes, keep = graph
    every = [p for p in permutations(range(len(tasks))) if runs(tasks, p)]
    least = min(live_peak(tasks, sizes, keep, p) for p in every)
    found = order(tasks, sizes, keep)
    assert found in every
    assert live_peak(tasks, sizes, keep, found) == peak(tasks, sizes, keep, found) == least
    if peak(tasks, sizes, keep) == least:
        assert found == tuple(range(len(tasks)))


@settings(deadline=None, max_examples=50)
@given(graphs(count=25))
def test_schedules_run_and_are_never_worse(graph: tuple[list[Task], dict[str, int], frozenset[str]]) -> None:
    tasks, sizes, keep = graph
    found = order(tasks, sizes, keep)
    assert runs(tasks, found)
    assert live_peak(tasks, sizes, keep, found) <= live_peak(tasks, sizes, keep, range(len(tasks)))


def test_branches_run_one_after_the_other() -> None:
    tasks = [
        Task("wide0", ("in",), ("w0",)),
        Task("wide1", ("in",), ("w1",)),
        Task("thin0", ("w0",), ("t0",)),
        Task("thin1", ("w1",), ("t1",)),
        Task("concat", ("t0", "t1"), ("out",)),
    ]
    sizes = {"in": 10, "w0": 100, "w1": 100, "t0": 1, "t1": 1, "out": 2}
    assert peak(tasks, sizes, {"out"}) == 210
    assert order(tasks, sizes, {"out"}) == (0, 2, 1, 3, 4)
    assert peak(tasks, sizes, {"out"}, (0, 2, 1, 3, 4)) == 111


def test_chain_keeps_its_order() -> None:
    tasks = [Task(f"n{i}", (f"t{i}",), (f"t{i + 1}",)) for i in range(len(VWW) - 1)]
    sizes = {f"t{i}": size for i, size in enumerate(VWW)}
    assert order(tasks, sizes, [f"t{len(tasks)}"]) == tuple(range(len(tasks)))
    assert peak(tasks, sizes) == 55296


def test_wide_graphs_are_scheduled_quickly() -> None:
    """Hundreds of branches, given breadth first: far too many sets of tasks to try all."""
    width = 100
    wide = [Task(f"w{i}", ("in",), (f"w{i}",)) for i in range(width)]
    thin = [Task(f"t{i}", (f"w{i}",), (f"t{i}",)) for i in range(width)]
    tasks = [*wide, *thin, Task("sum", tuple(f"t{i}" for i in range(width)), ("out",))]
    sizes = {
        "in": 50,
        "out": 1,
        **{f"w{i}": 90 + i for i in range(width)},
        **{f"t{i}": 1 + i % 5 for i in range(width)},
    }
    start = time.process_time()
    found = order(tasks, sizes, {"out"})
    assert time.process_time() - start < 10
    assert runs(tasks, found)
    assert peak(tasks, sizes, {"out"}, found) * 10 < peak(tasks, sizes, {"out"})


def test_tasks_that_cannot_run_are_refused() -> None:
    tasks = [Task("late", ("x",), ("y",)), Task("early", (), ("x",))]
    with pytest.raises(ValueError, match="'late'"):
        order(tasks, {"x": 1, "y": 1})
    with pytest.raises(ValueError, match="twice"):
        order([Task("a", (), ("x",)), Task("b", (), ("x",))], {"x": 1})

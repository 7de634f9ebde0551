# SPDX-License-Identifier: Apache-2.0
"""A graph's steps in the order that takes least memory, with kernels whose scratch memory fits between the tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.program import Program
from tinygen.lower import lower
from tinygen.plan.arena import Plan, holes, plan
from tinygen.plan.order import Use, in_best_order
from tinygen.room import Worth, savings
from tinygen.selection import WORTH, Choice, Optimize, select, variants
from tinygen.stripes.choose import arrangements, fitting
from tinygen.target import Target

#: Bytes by which an arena may grow for scratch memory, if that is worth it.
GROWTH = (0, *(step << power for power in range(7, 15) for step in (2, 3)))
#: What flash is worth where kernels for a node differ in it: 1 % more has to save so many % of instructions.
FLASH = 0.05
#: How many times the arena for an input as a whole that for its rows may be: tiny networks need more for these.
AMPLE = 8


def laid_out(
    graph: Graph, target: Target, optimize: Optimize, room: int | None = None, pushed: bool = False
) -> tuple[Graph, Program, Plan]:
    """`graph` lowered and planned in its own order, or one with the fewest live bytes: whichever arena is the smallest.

    One order knows what may lie over what, and how much scratch memory the kernels that are chosen for the graph's own
    order take at least; another counts tensors alone. `room` is as for `tinygen.selection.select`. `pushed`: the input
    comes row by row; raises `UnsupportedError` if the first layers cannot run so.
    """
    chosen = select(graph, target, optimize, room)
    orders = {
        _outputs(one): one for one in (in_best_order(graph, _uses(chosen, target, optimize)), in_best_order(graph))
    }
    candidates = [_planned(graph, chosen, target, optimize, room)]
    for ordered in orders.values():
        if _outputs(ordered) != _outputs(graph):
            candidates.append(_planned(ordered, select(ordered, target, optimize, room), target, optimize, room))
    usual = min(candidates, key=lambda candidate: candidate[2].bytes)
    if not pushed and (optimize != "ram" or room is not None):
        return usual
    limit = AMPLE * usual[2].bytes if pushed else usual[2].bytes
    together = _together(usual[0], limit, target, pushed)
    if pushed and together is None:
        raise UnsupportedError(
            f"--push-rows: '{graph.name}' cannot take its input row by row: expected a single image, which "
            "layers read that can work on a few rows, such as convolutions"
        )
    return together or usual


def fitted(graph: Graph, target: Target, room: int) -> tuple[Graph, Program, Plan] | None:
    """`graph` in at most `room` bytes of arena, with layers that run together if need be; None if that cannot be."""
    for found in fitting(graph, target, room):
        program = lower(graph, target, "balanced", found.segments, found.choices)
        layout = plan(program)
        if layout.bytes <= room:
            return graph, program, layout
    return None


def _together(graph: Graph, limit: int, target: Target, pushed: bool) -> tuple[Graph, Program, Plan] | None:
    """`graph` with layers that run together a few rows at a time, in at most `limit` bytes; None if that cannot be.

    Arrangements are planned until none is left that could be better than the best so far.
    """
    best, least = None, inf
    for found in arrangements(graph, target, limit, pushed):
        if found.price(found.bytes) >= least:
            break
        rows = lower(graph, target, "ram", found.segments, found.choices)
        planned = plan(rows)
        if planned.bytes <= limit and found.price(planned.bytes) < least:
            best, least = (graph, rows, planned), found.price(planned.bytes)
    return best


def _outputs(graph: Graph) -> tuple[str, ...]:
    """What tells one order of a graph's nodes from another."""
    return tuple(node.outputs[0] for node in graph.nodes)


def _uses(chosen: Mapping[str, Choice], target: Target, optimize: Optimize) -> dict[str, Use]:
    """What nodes need besides their tensors, with the leanest variants of the kernels `chosen`."""
    lean = {name: variants(choice, target, optimize)[0] for name, choice in chosen.items()}
    return {name: Use(o.scratch, savings(o.kernel, o.call, o.launches)) for name, o in lean.items()}


def _planned(
    graph: Graph, chosen: Mapping[str, Choice], target: Target, optimize: Optimize, room: int | None
) -> tuple[Graph, Program, Plan]:
    """First with as little scratch memory as the kernels can do with, then with what fits between the tensors."""
    options = {name: variants(choice, target, optimize) for name, choice in chosen.items()}
    lean = lower(graph, target, optimize, choices={name: some[0] for name, some in options.items()})
    layout = plan(lean)
    if all(len(some) == 1 for some in options.values()):
        return graph, lean, layout
    worth = WORTH[optimize] if room is None else Worth(0)
    sizes = [layout.bytes + more for more in GROWTH if room is None or more == 0 or layout.bytes + more <= room]
    fitting, known = _grown(lean, layout, options, worth, sizes)
    program = lower(graph, target, optimize, choices=fitting)
    return graph, program, plan(program, known=known)


def _grown(
    program: Program, layout: Plan, options: Mapping[str, Sequence[Choice]], worth: Worth, sizes: Sequence[int]
) -> tuple[dict[str, Choice], dict[str, int]]:
    """The variants for the best of the `sizes` that the arena may have, and where all lies then."""
    rate = _rate(options)
    tried = [_filled(program, layout, options, size, rate) for size in sizes]
    works = [sum(_price(fitting[name], some, rate) for name, some in options.items()) for fitting, _ in tried]
    taken = [_top(program, layout, fitting, free) for fitting, free in tried]
    fitting, free = tried[worth.best(list(zip(taken, works, strict=True)))]
    known = dict(layout.offsets)
    for step, (offset, _) in zip(program.steps, free, strict=True):
        known.update({b.name: offset for b in step.scratch if fitting[step.outputs[0]].scratch != b.bytes})
    return fitting, known


def _top(program: Program, layout: Plan, fitting: Mapping[str, Choice], free: Sequence[tuple[int, int]]) -> int:
    """The bytes of an arena with the tensors as they lie, and the scratch memory of `fitting` where there is room."""
    ends = (
        at + fitting[s.outputs[0]].scratch
        for s, (at, _) in zip(program.steps, free, strict=True)
        if s.outputs[0] in fitting
    )
    return max([layout.bytes, *ends])


def _rate(options: Mapping[str, Sequence[Choice]]) -> float:
    """Instructions that a byte of constants is worth."""
    leanest = [some[0] for some in options.values()]
    return FLASH * sum(o.work for o in leanest) / max(1, sum(o.bytes for o in leanest))


def _price(choice: Choice, options: Sequence[Choice], rate: float) -> float:
    """The instructions of `choice`, and those that its flash is worth beyond what the smallest of `options` takes."""
    return choice.work + rate * (choice.bytes - min(o.bytes for o in options))


def _filled(
    program: Program, layout: Plan, options: Mapping[str, Sequence[Choice]], limit: int, rate: float
) -> tuple[dict[str, Choice], list[tuple[int, int]]]:
    """For each node the best variant whose scratch memory finds room in `limit` bytes, and each step's free room."""
    free = holes(program, layout, limit)
    by_output = {s.outputs[0]: size for s, (_, size) in zip(program.steps, free, strict=True)}
    return {name: _fastest(some, by_output[name], rate) for name, some in options.items()}, free


def _fastest(options: Sequence[Choice], free: int, rate: float) -> Choice:
    """The best of `options` (the leanest first) that takes at most `free` bytes of scratch memory, or the first."""
    fitting = [options[0], *(o for o in options if o.scratch <= free)]
    return min(fitting, key=lambda o: (_price(o, options, rate), o.scratch))

"""A graph's steps in the order that takes least memory."""

from __future__ import annotations

from math import inf

from tinygen.ir.graph import Graph
from tinygen.ir.program import Program
from tinygen.lower import lower
from tinygen.plan.arena import Plan, plan
from tinygen.plan.order import in_best_order
from tinygen.selection import Optimize
from tinygen.stripes.choose import arrangements, price
from tinygen.target import Target


def laid_out(graph: Graph, target: Target, optimize: Optimize) -> tuple[Graph, Program, Plan]:
    """`graph` lowered and planned, in its own order or in that with the fewest live bytes: whichever arena is smaller.

    The order is found before kernels are chosen, so it knows neither their scratch memory nor what runs in place.
    """
    best = in_best_order(graph)
    candidates = []
    for ordered in (graph,) if best is graph else (graph, best):
        program = lower(ordered, target, optimize)
        candidates.append((ordered, program, plan(program)))
    usual = min(candidates, key=lambda candidate: candidate[2].bytes)
    return _together(*usual, target) if optimize == "ram" else usual


def _together(graph: Graph, program: Program, layout: Plan, target: Target) -> tuple[Graph, Program, Plan]:
    """`graph` with layers that run together a few rows at a time, where that takes no more memory than `layout`.

    Arrangements are planned until none is left that could be better than the best so far.
    """
    best, least = (graph, program, layout), inf
    for found in arrangements(graph, target, layout.bytes):
        if price(found.bytes, found.work) >= least:
            break
        rows = lower(graph, target, "ram", found.segments, found.choices)
        planned = plan(rows)
        if planned.bytes <= layout.bytes and price(planned.bytes, found.work) < least:
            best, least = (graph, rows, planned), price(planned.bytes, found.work)
    return best

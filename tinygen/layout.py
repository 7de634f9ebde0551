"""A graph's steps in the order that takes least memory."""

from __future__ import annotations

from tinygen.ir.graph import Graph
from tinygen.ir.program import Program
from tinygen.lower import lower
from tinygen.plan.arena import Plan, plan
from tinygen.plan.order import in_best_order
from tinygen.selection import Optimize
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
    return min(candidates, key=lambda candidate: candidate[2].bytes)

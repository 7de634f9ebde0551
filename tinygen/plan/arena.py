"""Program → Plan: when each buffer is alive, and where in the arena it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.ir.program import Program
from tinygen.plan.memory import Buffer, Overlap, pack

#: The alignment of ``<name>_arena_t``, and so a factor of its size.
ALIGN = 8


@dataclass(frozen=True)
class Plan:
    """Offsets of all buffers of a program in its arena, in bytes.

    `bytes` is what the C type of the arena takes: a multiple of `ALIGN`, and not 0. `lower_bound` is the most that is
    ever alive at once; `greedy` what TFLM's planner needs for the same buffers.
    """

    offsets: Mapping[str, int]
    bytes: int
    lower_bound: int
    greedy: int


def lifetimes(program: Program) -> tuple[list[Buffer], list[Overlap]]:
    """Buffers with the first and last step (inclusive) at which they hold something; inputs are there from -1."""
    end = len(program.steps)
    first: dict[str, int] = {program.tensors[name]: -1 for name in program.inputs}
    last: dict[str, int] = dict(first)
    sizes = {buffer.name: buffer.bytes for buffer in program.buffers}
    overlaps = []
    for index, step in enumerate(program.steps):
        for scratch in step.scratch:
            sizes[scratch.name], first[scratch.name], last[scratch.name] = scratch.bytes, index, index
        for name in step.writes:
            first.setdefault(name, index)
        last.update(dict.fromkeys((*step.reads, *step.writes), index))
        overlaps += [(step.writes[0], name, index) for name in step.overlays]
    last.update({program.tensors[name]: end for name in program.outputs})
    buffers = [Buffer(name, size, first[name], last[name]) for name, size in sizes.items()]
    allowed = [Overlap(o, i) for o, i, at in overlaps if last[i] == at and sizes[o] <= sizes[i] and o != i]
    return buffers, allowed


def plan(program: Program) -> Plan:
    """Pack the arena of `program`; `pack` checks its result by brute force before it returns it."""
    buffers, overlaps = lifetimes(program)
    packing = pack(buffers, overlaps)
    whole = max(-(-packing.bytes // ALIGN), 1) * ALIGN
    return Plan(packing.offsets, whole, packing.lower_bound, packing.greedy)

# SPDX-License-Identifier: Apache-2.0
"""Program → Plan: when each buffer is alive, and where in the arena it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from tinygen.ir.program import Program
from tinygen.plan.memory import Buffer, Overlap, Tie, pack

#: The alignment of ``<name>_arena_t``, and so a factor of its size.
ALIGN = 8
#: The least alignment of a buffer that is a part of another one: as much as cores want that read four bytes at once.
PART_ALIGN = 4


@dataclass(frozen=True)
class Plan:
    """Offsets of all buffers of a program in its arena, in bytes.

    `bytes` is what the C type of the arena takes: a multiple of `ALIGN`, and not 0. No arena of these buffers takes
    fewer than `lower_bound`; `greedy` is what TFLM's planner needs for them. `overlaps` and `ties` are those in use.
    """

    offsets: Mapping[str, int]
    bytes: int
    lower_bound: int
    greedy: int
    overlaps: tuple[Overlap, ...] = ()
    ties: tuple[Tie, ...] = ()


@dataclass(frozen=True)
class Demand:
    """The buffers of a program with the first and last step (inclusive) at which they hold something, and the rules."""

    buffers: Sequence[Buffer]
    overlaps: Sequence[Overlap]
    ties: Sequence[Tie]


def demand(program: Program) -> Demand:
    """What a program asks of the planner; its inputs are there from step -1 on."""
    end = len(program.steps)
    first: dict[str, int] = {program.tensors[name]: -1 for name in program.inputs if name in program.tensors}
    last: dict[str, int] = dict(first)
    sizes = {buffer.name: buffer.bytes for buffer in program.buffers}
    for index, step in enumerate(program.steps):
        for scratch in step.scratch:
            sizes[scratch.name], first[scratch.name], last[scratch.name] = scratch.bytes, index, index
        for name in step.writes:
            first.setdefault(name, index)
        last.update(dict.fromkeys((*step.reads, *step.writes), index))
    last.update({program.tensors[name]: end for name in program.outputs})
    ties = [Tie(j.part, j.whole, j.offset) for step in program.steps for j in step.joins]
    aligns = _aligns(ties)
    buffers = [Buffer(name, size, first[name], last[name], aligns.get(name, ALIGN)) for name, size in sizes.items()]
    overlaps = [
        Overlap(step.writes[0], over.buffer, over.below, over.step)
        for index, step in enumerate(program.steps)
        for over in step.overlays
        if last[over.buffer] == index and over.buffer not in step.writes
    ]
    return Demand(buffers, overlaps, [tie for tie in ties if tie.offset % PART_ALIGN == 0])


def holes(program: Program, plan: Plan, limit: int) -> list[tuple[int, int]]:
    """For each step the largest interval (offset, bytes) of an arena of `limit` bytes without tensors."""
    buffers = [b for b in demand(program).buffers if b.bytes]
    scratch = {b.name for step in program.steps for b in step.scratch}
    result = []
    for number in range(len(program.steps)):
        live = [b for b in buffers if b.first <= number <= b.last and b.name not in scratch]
        at, best = 0, (0, 0)
        for start, end in sorted((plan.offsets[b.name], plan.offsets[b.name] + b.bytes) for b in live):
            best, at = max(best, (at, start - at), key=lambda hole: hole[1]), max(at, -(-end // ALIGN) * ALIGN)
        result.append(max(best, (at, limit - at), key=lambda hole: hole[1]))
    return result


def _aligns(ties: Sequence[Tie]) -> dict[str, int]:
    """The alignments of parts that may lie between the multiples of `ALIGN`."""
    found: dict[str, int] = {}
    for tie in ties:
        if tie.offset % PART_ALIGN == 0:
            found[tie.part] = gcd(found.get(tie.part, ALIGN), tie.offset)
    return found


def plan(program: Program, overlap: bool = True, known: Mapping[str, int] | None = None) -> Plan:
    """Pack the arena of `program`; `pack` checks its result by brute force before it returns it.

    Without `overlap`, no two live buffers share a byte. `known` are offsets that may do, too.
    """
    asked = demand(program)
    packing = pack(asked.buffers, asked.overlaps, asked.ties, known) if overlap else pack(asked.buffers)
    whole = max(-(-packing.bytes // ALIGN), 1) * ALIGN
    return Plan(packing.offsets, whole, packing.lower_bound, packing.greedy, packing.overlaps, packing.ties)

# SPDX-License-Identifier: Apache-2.0
"""Weights that are copied from slow memory into the arena while their layer runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tinygen.ir.program import Action, Buffer, Copy, Invocation, Program, Step
from tinygen.placement import Placement
from tinygen.plan.arena import ALIGN, Plan, plan
from tinygen.reads import WEIGHTS, reads
from tinygen.target import Bank, Target

#: Cycles of a read of 32 bits, beyond those of fast memory, where nothing is known: 8 clocks of a flash with 4 lines.
UNKNOWN = 8.0
#: Cycles in which a word is copied between memories without wait states; those of a call that takes a copy, and of
#: each read there, as the compiler knows less of where it is: at worst, on Cortex-M55.
WORD, CALL, READ = 2.0, 200.0, 0.4


@dataclass(frozen=True)
class Costs:
    """Cycles that reads from slow memory take on a target, as far as they are beyond those of fast memory."""

    target: Target
    placement: Placement

    def of(self, constant: str) -> float:
        """A read of 32 bits of an array."""
        return self._bank(constant).cost

    @property
    def arena(self) -> float:
        """A read of 32 bits of the arena."""
        banks = [b for b in self.target.banks if b.kind == "ram" and b.section == self.placement.arena]
        return banks[0].cost if banks else 0.0

    def waits(self, sizes: Mapping[str, int], read: Mapping[str, int]) -> dict[str, float]:
        """What the arrays that one step reads cost; of what a cache holds together, only the first time counts."""
        together = Counter[Bank]()
        for name in read:
            together[self._bank(name)] += sizes[name]
        found = {}
        for name, times in read.items():
            bank, words = self._bank(name), -(-sizes[name] // 4)
            found[name] = bank.cost * (min(times, words) if together[bank] <= bank.cache else times)
        return found

    def _bank(self, constant: str) -> Bank:
        section = self.placement.constants.get(constant)
        for bank in self.target.banks:
            if bank.kind == "flash" and bank.section == section:
                return bank
        return Bank("", "flash", section, 0, 0, UNKNOWN if section is not None else 0.0)


@dataclass(frozen=True)
class _Candidate:
    """The weights of step number `step`, and the cycles that a copy saves."""

    step: int
    constant: str
    bytes: int
    gain: float


def waits(program: Program, costs: Costs) -> list[float]:
    """For each step the cycles by which reads of constants are slower than from fast memory, roughly.

    Of arrays that are copied: those of the copy, and of reads from there.
    """
    sizes = {constant.name: constant.bytes for constant in program.constants}
    found = []
    for step, read in zip(program.steps, reads(program), strict=True):
        copied = {copy.constant for copy in step.copies}
        slow = costs.waits(sizes, {name: times for name, times in read.items() if name not in copied})
        moved = (_copying(sizes[name], read.get(name, 0), costs.of(name), costs.arena) for name in copied)
        found.append(sum(slow.values()) + sum(moved))
    return found


def _copying(size: int, times: int, cost: float, arena: float) -> float:
    words = -(-size // 4)
    return CALL + words * (WORD + cost + arena) + times * (READ + arena)


def with_copies(
    program: Program, layout: Plan, costs: Costs, most: int | None, room: int | None
) -> tuple[Program, Plan]:
    """`program` with copies of weights where these save cycles, in an arena of at most `room` bytes.

    A layer's weights are copied as a whole, at most `most` bytes. None: no limit. Where the room does not suffice for
    all of them, those that save most come first.
    """
    worth = sorted(_worth(program, costs, most), key=lambda one: -one.gain)
    best, taken = (program, layout), list[_Candidate]()
    for some in [worth, *([one] for one in worth)]:
        made = _copied(program, [*taken, *some])
        found = plan(made, known={**layout.offsets, **_behind(made, layout.bytes)})
        if room is None or found.bytes <= max(room, layout.bytes):
            best, taken = (made, found), [*taken, *some]
        if len(taken) == len(worth):
            break
    return best


def _behind(program: Program, end: int) -> dict[str, int]:
    """The copies of each step one after the other, from `end` on."""
    found = {}
    for step in program.steps:
        at = end
        for copy in step.copies:
            found[copy.buffer] = at
            at += -(-copy.bytes // ALIGN) * ALIGN
    return found


def _worth(program: Program, costs: Costs, most: int | None) -> list[_Candidate]:
    """The weights that are read so often that a copy pays, in layers whose input does not come row by row."""
    sizes = {constant.name: constant.bytes for constant in program.constants}
    found = []
    for number, (step, read) in enumerate(zip(program.steps, reads(program), strict=True)):
        slow = costs.waits(sizes, read)
        for name in _weights(step) if step.loop is None or not step.loop.rows else ():
            gain = slow[name] - _copying(sizes[name], read[name], costs.of(name), costs.arena)
            if gain > 0 and (most is None or sizes[name] <= most):
                found.append(_Candidate(number, name, sizes[name], gain))
    return found


def _weights(step: Step) -> list[str]:
    fields = (item for call in step.invocations for item in call.params.items())
    return list(dict.fromkeys(v for k, v in fields if isinstance(v, str) and k.rpartition(".")[2] == WEIGHTS))


def _copied(program: Program, taken: Sequence[_Candidate]) -> Program:
    """`program` with these copies."""
    steps = list(program.steps)
    for number in {one.step for one in taken}:
        buffers = {
            one.constant: Buffer(f"{steps[number].name}:{one.constant}", one.bytes)
            for one in taken
            if one.step == number
        }
        steps[number] = _step(steps[number], buffers)
    return replace(program, steps=tuple(steps))


def _step(step: Step, buffers: Mapping[str, Buffer]) -> Step:
    made = {id(call): _call(call, buffers) for call in step.invocations}

    def action(one: Action) -> Action:
        return replace(one, calls=tuple(made[id(call)] for call in one.calls))

    loop = step.loop and replace(
        step.loop,
        actions=tuple(map(action, step.loop.actions)),
        layers=tuple(
            replace(layer, invocations=tuple(made[id(call)] for call in layer.invocations))
            for layer in step.loop.layers
        ),
    )
    return replace(
        step,
        invocations=tuple(made[id(call)] for call in step.invocations),
        scratch=(*step.scratch, *buffers.values()),
        copies=tuple(Copy(constant, buffer.name, buffer.bytes) for constant, buffer in buffers.items()),
        loop=loop,
    )


def _call(call: Invocation, buffers: Mapping[str, Buffer]) -> Invocation:
    copied = {k: buffers[v].name for k, v in call.params.items() if isinstance(v, str) and v in buffers}
    return replace(call, copied=copied)

# SPDX-License-Identifier: Apache-2.0
"""Several programs that never run at once as one C file: one copy of each kernel and of each array of constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygen.emit import text
from tinygen.emit.items import StepText
from tinygen.emit.render import context, environment, named, program_context
from tinygen.emit.steps import step_text
from tinygen.ir.program import Action, Constant, Invocation, Loop, Operand, Program, Step
from tinygen.narrow import narrowed, widened
from tinygen.plan.arena import Plan

Part = tuple[Program, Plan]


@dataclass(frozen=True)
class _Names:
    """New names for what a program calls its constants and buffers."""

    constants: Mapping[str, str]
    buffers: str

    def operand(self, o: Operand) -> Operand:
        return replace(o, name=self.constants[o.name] if o.constant else self.buffers + o.name)

    def call(self, c: Invocation) -> Invocation:
        return replace(
            c,
            params={k: self.constants[v] if isinstance(v, str) else v for k, v in c.params.items()},
            reads=tuple(map(self.operand, c.reads)),
            writes=tuple(map(self.operand, c.writes)),
            scratch=None if c.scratch is None else self.buffers + c.scratch,
        )

    def action(self, a: Action) -> Action:
        shift = None if a.shift is None else replace(a.shift, buffer=self.buffers + a.shift.buffer)
        awaits = None if a.awaits is None else self.operand(a.awaits)
        return replace(a, shift=shift, calls=tuple(map(self.call, a.calls)), awaits=awaits)

    def loop(self, one: Loop) -> Loop:
        actions, cursors = tuple(map(self.action, one.actions)), tuple(map(self.operand, one.cursors))
        return replace(one, actions=actions, cursors=cursors)

    def step(self, s: Step) -> Step:
        loop = None if s.loop is None else self.loop(s.loop)
        return replace(s, invocations=tuple(map(self.call, s.invocations)), loop=loop)


def united(name: str, parts: Sequence[Part]) -> Part:
    """The steps of all programs one after the other, each with buffers under names of its own.

    Biases of all of them have one type, as kernels are shared.
    """
    narrow = any(program.narrow for program, _ in parts)
    parts = [(widened(program), plan) for program, plan in parts]
    arrays: dict[tuple[str, bytes], Constant] = {}
    steps: list[Step] = []
    offsets: dict[str, int] = {}
    for number, (program, plan) in enumerate(parts):
        keys = {c.name: (c.values.dtype.name, c.values.tobytes()) for c in program.constants}
        for c in program.constants:
            arrays.setdefault(keys[c.name], Constant(f"c{len(arrays)}", c.values))
        names = _Names({old: arrays[key].name for old, key in keys.items()}, f"{number}:")
        steps += map(names.step, program.steps)
        offsets |= {f"{number}:{buffer}": at for buffer, at in plan.offsets.items()}
    templates = dict.fromkeys(template for program, _ in parts for template in program.templates)
    first, most = parts[0], max(plan.bytes for _, plan in parts)
    constants = tuple(arrays.values())
    program = replace(first[0], name=name, steps=tuple(steps), constants=constants, templates=tuple(templates))
    return narrowed(program) if narrow else program, replace(first[1], offsets=offsets, bytes=most)


def emit_shared(name: str, parts: Sequence[Part], provenance: Sequence[str]) -> dict[str, str]:
    """One C file for all `parts`, its header with the arena that they share, and a header for each of them."""
    p, (program, plan) = f"{name}_", united(name, parts)
    labels = [f"step {i} of {one.name}" for one, _ in parts for i in range(len(one.steps))]
    calls = text.call_texts(p, program, plan, labels, across=True)
    models, files, every_step, at = [], {}, list[StepText](), 0
    for one, own in parts:
        steps = [
            step_text(p, at + i, i, replace(step, loop=program.steps[at + i].loop), one, calls[at + i], plan)
            for i, step in enumerate(one.steps)
        ]
        any_calls = any(step.calls for step in steps)
        models.append({**named(one.name), "steps": steps, "calls": any_calls})
        files[f"{one.name}.h"] = environment().get_template("model.h.j2").render(context(one, own, provenance))
        every_step += steps
        at += len(one.steps)
    shared: dict[str, Any] = {
        **program_context(program, plan, provenance, [call for some in calls for call in some]),
        "title": ", ".join(one.name for one, _ in parts),
        "models": models,
        "arena_section": None,
        "constants": text.constant_texts(program, program.constants, labels),
        "steps": every_step,
    }
    files |= {f"{name}.{kind}": environment().get_template(f"shared.{kind}.j2").render(shared) for kind in "hc"}
    return files

# SPDX-License-Identifier: Apache-2.0
"""Steps, and loops over the rows of several layers, as the items that the templates print."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.emit.comments import plain, step_comment
from tinygen.emit.items import ActionText, AdvanceText, CallText, CopyText, CursorText, LoopText, ShiftText, StepText
from tinygen.emit.text import constant_text, pointer
from tinygen.ir.program import Action, Constant, Loop, Program, Shift, Step
from tinygen.plan.arena import Plan


def step_text(
    p: str, number: int, index: int, step: Step, program: Program, calls: Sequence[CallText], plan: Plan
) -> StepText:
    """Step `index` of its own `program`, which is number `number` of the C file; `plan` is that of the file."""
    loop = loop_text(p, number, step.loop, calls, plan) if step.loop else None
    copies = tuple(CopyText(f"a + {plan.offsets[c.buffer]}", p + c.constant, c.bytes) for c in step.copies)
    return StepText(index, step_comment(index, step, program, program.types), tuple(calls), loop, copies)


def loop_text(p: str, index: int, loop: Loop, calls: Sequence[CallText], plan: Plan) -> LoopText:
    """The loop of step `index`, whose `calls` come in the order of its actions."""
    left = iter(calls)
    actions = tuple(_action(i, a, tuple(next(left) for _ in a.calls), plan) for i, a in enumerate(loop.actions))
    few = len(actions) <= 256
    order = constant_text(Constant("order", np.asarray(loop.order, np.uint8 if few else np.uint16)))
    return LoopText(
        name=f"{p}rows_{index}",
        ctype=order.ctype,
        length=order.length,
        order=order.text,
        cursors=tuple(CursorText(i + 1, f"c{i}", pointer(p, o, plan)) for i, o in enumerate(loop.cursors)),
        actions=actions,
        layers=tuple(plain(f"{layer.op} {layer.name}") for layer in loop.layers),
        rows=loop.rows,
        state=pointer(p, loop.state, plan) if loop.state else "",
        state_words=1 + len(loop.cursors),
        state_bytes=4 * (1 + len(loop.cursors)),
        awaits=next((i for i, action in enumerate(loop.actions) if action.awaits), -1),
    )


def _action(index: int, action: Action, calls: tuple[CallText, ...], plan: Plan) -> ActionText:
    advances = tuple(AdvanceText(f"c{cursor}", by) for cursor, by in action.advances)
    shift = _shift(action.shift, plan) if action.shift else None
    return ActionText(index, shift, calls, advances, action.awaits is not None)


def _shift(shift: Shift, plan: Plan) -> ShiftText:
    at = plan.offsets[shift.buffer]
    target, source = at + shift.target, at + shift.source
    words = not (target % 4 or source % 4 or shift.bytes % 4)
    return ShiftText(f"a + {target}", f"a + {source}", shift.bytes, words)

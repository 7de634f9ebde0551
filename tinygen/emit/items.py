# SPDX-License-Identifier: Apache-2.0
"""What the templates print of calls, and of loops over the rows of several layers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldText:
    name: str
    value: str


@dataclass(frozen=True)
class CallText:
    """One kernel call, which the steps in `comment` make; `formals` and `actuals` are those of what wraps it."""

    index: int
    function: str
    fields: tuple[FieldText, ...]
    own_copy: bool
    formals: tuple[str, ...]
    actuals: tuple[str, ...]
    pointers: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class ShiftText:
    """A move of `bytes` from `source` to `target` (pointers as text); `words`: in whole words of the arena."""

    target: str
    source: str
    bytes: int
    words: bool


@dataclass(frozen=True)
class AdvanceText:
    cursor: str
    bytes: int


@dataclass(frozen=True)
class ActionText:
    index: int
    shift: ShiftText | None
    calls: tuple[CallText, ...]
    advances: tuple[AdvanceText, ...]
    awaits: bool


@dataclass(frozen=True)
class CursorText:
    index: int
    name: str
    start: str


@dataclass(frozen=True)
class LoopText:
    """`order`: numbers of actions, as the initialiser of an array of `ctype`; `layers`: comments.

    With `rows`, the loop is left where it awaits each of these, and `state` points to where it keeps words meanwhile.
    """

    name: str
    ctype: str
    length: int
    order: str
    cursors: tuple[CursorText, ...]
    actions: tuple[ActionText, ...]
    layers: tuple[str, ...]
    rows: int
    state: str
    state_words: int
    state_bytes: int
    awaits: int

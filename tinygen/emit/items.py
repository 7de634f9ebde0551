# SPDX-License-Identifier: Apache-2.0
"""What the templates print, item by item: constants, sections, ports, calls, steps, loops over rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConstantText:
    """An array as C; `where` is the macro that says where it lies, by the end of its name; `comment`: who needs it."""

    name: str
    ctype: str
    length: int
    text: str
    comment: str = ""
    where: str = "CONST"


@dataclass(frozen=True)
class SectionText:
    """A section of constants, and the end of its macro's name."""

    name: str
    macro: str


@dataclass(frozen=True)
class RegionText:
    """A memory as a linker script has it, and the section that belongs there; `empty`: without contents."""

    label: str
    access: str
    origin: int
    size: int
    section: str
    empty: bool


@dataclass(frozen=True)
class PortText:
    """A graph input or output as the header shows it. `narrow`: quantized to at most 16 bits, from `low` to `high`.

    `rows`: that it comes row by row, each of `row_elements`; 0 if it is there as a whole.
    """

    ctype: str
    elements: int
    bytes: int
    offset: int
    quant: bool
    scale: str
    zero_point: str
    narrow: bool
    low: str
    high: str
    comment: str
    prefixes: tuple[str, ...]
    functions: tuple[str, ...]
    rows: int
    row_elements: int


@dataclass(frozen=True)
class FieldText:
    name: str
    value: str


@dataclass(frozen=True)
class CallText:
    """One kernel call, which the steps in `comment` make; `formals` and `actuals` are those of what wraps it.

    `copied`: fields of the parameters that it replaces by further pointers.
    """

    index: int
    function: str
    fields: tuple[FieldText, ...]
    own_copy: bool
    formals: tuple[str, ...]
    actuals: tuple[str, ...]
    pointers: tuple[str, ...]
    comment: str
    copied: tuple[FieldText, ...] = ()

    @property
    def wrapped(self) -> bool:
        """Whether a function of its own makes the call."""
        return self.own_copy or bool(self.copied)


@dataclass(frozen=True)
class ShiftText:
    """A move of `bytes` from `source` to `target` (pointers as text); `words`: in whole words of the arena."""

    target: str
    source: str
    bytes: int
    words: bool


@dataclass(frozen=True)
class CopyText:
    """A copy of `bytes` of a constant to `target`."""

    target: str
    source: str
    bytes: int


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


@dataclass(frozen=True)
class StepText:
    index: int
    comment: str
    calls: tuple[CallText, ...]
    loop: LoopText | None = None
    copies: tuple[CopyText, ...] = ()

# SPDX-License-Identifier: Apache-2.0
"""Which memory of a board the arena and each array of constants lie in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tinygen.errors import BudgetError, UsageError
from tinygen.ir.program import Constant, Program, Step
from tinygen.reads import reads
from tinygen.target import SECTION, Bank, Target

#: What rules call the arena; names of constants have a dot.
ARENA = "arena"


@dataclass(frozen=True)
class Placement:
    """The sections of constants, by array, and of the arena; what has none lies where the linker puts it."""

    constants: Mapping[str, str] = field(default_factory=dict)
    arena: str | None = None

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of constants, each once."""
        return tuple(dict.fromkeys(self.constants.values()))


EVERYTHING_USUAL = Placement()


@dataclass(frozen=True)
class Needs:
    """Bytes of a program: `code`, everything constant, `arena` and `stack`."""

    code: int
    constants: int
    arena: int
    stack: int


@dataclass(frozen=True)
class Usage:
    """A memory of the target, or a section that the user named, and how many bytes of what lie there.

    `size` None: not known.
    """

    name: str
    kind: str
    section: str | None
    origin: int | None
    size: int | None
    cost: float
    holds: Mapping[str, int]

    @property
    def used(self) -> int:
        return sum(self.holds.values())

    def check(self, target: str) -> None:
        """Raise `BudgetError` if more lies here than there is room for."""
        if self.size is None or self.used <= self.size:
            return
        what = ", ".join(f"{size} of {word}" for word, size in self.holds.items() if size)
        raise BudgetError(
            f"memory '{self.name}' of {target}: {self.used} bytes needed ({what}), it has {self.size}: "
            f"{self.used - self.size} too many. Put less there with --section, or use smaller layers"
        )


def names(program: Program) -> dict[str, tuple[str, ...]]:
    """What rules may call each array of constants: the layers that read it, each with the kernel's word for it."""
    found: dict[str, dict[str, None]] = {constant.name: {} for constant in program.constants}
    for layer in program.layers:
        for constant, word in _read_by(layer):
            found[constant][f"{layer.name}.{word}"] = None
    return {constant: tuple(words) for constant, words in found.items()}


def density(program: Program) -> dict[str, float]:
    """How often each byte of an array of constants is read in one inference, roughly."""
    total = Counter[str]()
    for read in reads(program):
        total.update(read)
    return {c.name: total[c.name] / max(1, c.bytes) for c in program.constants}


def _read_by(layer: Step) -> Iterator[tuple[str, str]]:
    """The arrays that a layer reads, each with the last part of the field's name, or ``constant``."""
    for call in layer.invocations:
        yield from ((v, k.rpartition(".")[2]) for k, v in call.params.items() if isinstance(v, str))
        yield from ((operand.name, "constant") for operand in call.reads if operand.constant)


def taken(constant: Constant) -> int:
    """The bytes of flash that an array takes, with those up to the next one."""
    unit = max(4, constant.values.itemsize)
    return -(-max(constant.bytes, 1) // unit) * unit


def place(program: Program, needs: Needs, target: Target, rules: Mapping[str, str], whole: bool = False) -> Placement:
    """Where everything lies on `target`, if `rules` leave the choice.

    Constants that are read most lie in the fastest memory; the arena lies in the fastest one that it fits into. Rules
    say for patterns of names (and for `ARENA`) which memory or section it is; the last one that fits counts. `whole`:
    constants are one block, which rules cannot take apart.
    """
    ruled = _ruled(program, target, rules, whole)
    constants = {name: where for name, where in ruled.items() if name != ARENA}
    if not whole:
        constants |= _spread(program, needs, target, constants)
    arena = ruled[ARENA] if ARENA in ruled else _fastest(needs, target)
    found = Placement({name: where for name, where in constants.items() if where is not None}, arena)
    if arena in found.sections:
        raise UsageError(f"--section: {arena} cannot hold both constants and the arena; choose two sections")
    macros = [macro(section) for section in found.sections]
    if len(set(macros)) < len(macros):
        raise UsageError(f"--section: {', '.join(found.sections)} differ in nothing that a macro's name can tell")
    return found


def _ruled(program: Program, target: Target, rules: Mapping[str, str], whole: bool) -> dict[str, str | None]:
    known = names(program)
    found: dict[str, str | None] = {}
    for pattern, where in rules.items():
        section = _section(pattern, where, target)
        if pattern == ARENA:
            found[ARENA] = section
            continue
        if whole:
            raise UsageError(
                f"--section {pattern}={where}: under --weights blob, all constants are one block: leave it out"
            )
        if section is not None and section.startswith(".bss"):
            raise UsageError(
                f"--section {pattern}={where}: what begins with .bss has no contents; expected another name"
            )
        fitting = [constant for constant, words in known.items() if any(fnmatchcase(w, pattern) for w in words)]
        if not fitting:
            some = ", ".join(f"'{word}'" for words in list(known.values())[:4] for word in words[:1])
            raise UsageError(f"--section {pattern}={where}: no constants are called so; there are {some} …")
        found |= dict.fromkeys(fitting, section)
    return found


def _section(pattern: str, where: str, target: Target) -> str | None:
    """The section that a rule names, itself or by a memory of the board."""
    if SECTION.fullmatch(where):
        return where
    for bank in target.banks:
        if bank.name == where and bank.kind == ("ram" if pattern == ARENA else "flash"):
            return bank.section
    known = ", ".join(bank.name for bank in target.banks) or "none"
    raise UsageError(
        f"--section {pattern}={where}: expected a section such as .external, or a memory of {target.name} that can "
        f"hold it (known are {known})"
    )


def _spread(program: Program, needs: Needs, target: Target, ruled: Mapping[str, str | None]) -> dict[str, str | None]:
    """Sections for the constants that no rule names: those read most first, each into the fastest memory with room."""
    banks = sorted((bank for bank in target.banks if bank.kind == "flash"), key=lambda bank: bank.cost)
    sizes, often = {c.name: taken(c) for c in program.constants}, density(program)
    room = {bank.section: bank.size for bank in banks}
    if len(room) < 2:
        return {}
    room[None] -= needs.code + max(needs.constants - sum(sizes.values()), 0)
    for name, section in ruled.items():
        room[section] = room.get(section, 0) - sizes[name]
    found: dict[str, str | None] = {}
    for name in sorted(sizes, key=lambda name: -often[name]):
        if name not in ruled:
            section = next((bank.section for bank in banks if sizes[name] <= room[bank.section]), None)
            found[name] = section
            room[section] -= sizes[name]
    return found


def _fastest(needs: Needs, target: Target) -> str | None:
    """The section of the fastest RAM that has room for the arena; the stack is where the linker puts it."""
    for bank in sorted((bank for bank in target.banks if bank.kind == "ram"), key=lambda bank: bank.cost):
        if needs.arena + (0 if bank.section else needs.stack) <= bank.size:
            return bank.section
    return None


def usage(program: Program, needs: Needs, target: Target, placement: Placement) -> list[Usage]:
    """Every memory of the target, then the sections that it does not know."""
    sizes = {c.name: taken(c) for c in program.constants}
    apart = {s: sum(sizes[c] for c, where in placement.constants.items() if where == s) for s in placement.sections}
    usual = {"code": needs.code, "constants": max(needs.constants - sum(apart.values()), 0)}
    stack = {"arena": 0 if placement.arena else needs.arena, "stack": needs.stack}
    found = []
    for bank in target.banks or _plain(target):
        holds = usual if bank.kind == "flash" else stack
        if bank.section is not None:
            arena = needs.arena if bank.section == placement.arena else 0
            holds = {"constants": apart.pop(bank.section, 0)} if bank.kind == "flash" else {"arena": arena}
        found.append(Usage(bank.name, bank.kind, bank.section, bank.origin, bank.size or None, bank.cost, holds))
    others = [("flash", section, {"constants": size}) for section, size in apart.items()]
    if placement.arena and placement.arena not in {bank.section for bank in target.banks}:
        others.append(("ram", placement.arena, {"arena": needs.arena}))
    return found + [Usage(section, kind, section, None, None, 0.0, holds) for kind, section, holds in others]


def _plain(target: Target) -> Sequence[Bank]:
    return [Bank(kind, kind, None, 0, size or 0) for kind, size in (("flash", target.flash), ("ram", target.ram))]


def macro(section: str) -> str:
    """How the macro for constants in `section` ends: ``.rodata.qspi`` is QSPI, ``.my.table`` is MY_TABLE."""
    return re.sub(r"\W", "_", section.removeprefix(".rodata").removeprefix(".bss").lstrip(".")).upper()

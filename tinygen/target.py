# SPDX-License-Identifier: Apache-2.0
"""Targets: the cores and boards under ``targets/``, read and checked."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from tinygen.errors import UsageError
from tinygen.resources import read_text, targets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What a kernel may require of a core: Armv6-M and no more, SIMD32 and saturation, vectors, float in hardware.
FEATURES = frozenset({"v6m", "dsp", "mve", "fpu"})

#: The keys of each table, with their types; those in `_OPTIONAL` may be absent.
_CORE = {
    "description": str, "features": list, "cflags": list, "zig": str, "floor": float, "cycles": float, "emulator": str,
    "timing": dict,
}  # fmt: skip
_BOARD = {"description": str, "core": str, "ram": int, "flash": int, "clock": int, "energy": dict, "memory": list}
_TIMING = {"source": str, "table": bool, "cycles": dict}
_ENERGY = {"picojoules": float, "source": str}
_QEMU_BOARD = {"description": str, "core": str, "qemu": dict, "memory": list}
_BANK = {
    "name": str, "kind": str, "section": str, "origin": int, "size": int, "cost": float, "cache": int, "source": str,
}  # fmt: skip
_QEMU = {"machine": str, "cpu": str, "options": list, "tick_ns": float, "flash": dict, "ram": dict}
_REGION = {"origin": int, "size": int}
_KINDS = ("ram", "flash")
_OPTIONAL = frozenset(
    {"zig", "floor", "cycles", "timing", "energy", "emulator", "cpu", "options", "tick_ns"}
    | {"memory", "section", "cost", "cache", "source"}
)
#: What a section may be called: as it is written in C, in a linker script and in its listings.
SECTION = re.compile(r"\.[A-Za-z_]\w*(\.\w+)*", re.ASCII)


@dataclass(frozen=True)
class Region:
    """A block of memory, in bytes."""

    origin: int
    size: int


@dataclass(frozen=True)
class Bank:
    """One of the memories of a board: `size` bytes from address `origin` on, of `kind` ``ram`` or ``flash``.

    `section`: where C puts what shall lie there; None: it is where the linker puts everything of that kind.
    `cost` is the cycles of the core that a read of 32 bits takes beyond those of a memory without wait states, in a
    sequence of reads; `cache` is the bytes of a data cache in front of it, which hold what is read again.
    """

    name: str
    kind: str
    section: str | None
    origin: int
    size: int
    cost: float = 0.0
    cache: int = 0


@dataclass(frozen=True)
class Emulator:
    """A QEMU machine: `board` is its file in ``targets/boards``, `core` what it emulates.

    `cpu` is the value of QEMU's ``-cpu`` where the machine's own is another, `options` are further arguments of QEMU;
    `tick_ns` is the period of one SysTick tick, None where SysTick is missing and instructions cannot be counted.
    `banks` are its memories besides `flash` and `ram`.
    """

    board: str
    core: str
    machine: str
    cpu: str | None
    options: tuple[str, ...]
    tick_ns: float | None
    flash: Region
    ram: Region
    banks: tuple[Bank, ...] = ()


@dataclass(frozen=True)
class Timing:
    """What instructions take on a core, without wait states: `cycles` by class (tinygen/verify/instructions.py).

    `table`: whether Arm publishes them; else they are assumed, as `source` says.
    """

    source: str
    table: bool
    cycles: Mapping[str, float] = field(hash=False)


@dataclass(frozen=True)
class Target:
    """A core, or a board with its core's data: what code is generated, compiled and measured for.

    `ram` and `flash` are bytes (None: no limit known), `clock` is Hz. `cflags` suit gcc and clang alike; `zig` is the
    ``-mcpu`` of ``zig cc``. `emulator` runs the core's code; None where the code runs on this computer. `floor` is the
    instructions per MAC that multiply and add int8, with nothing loaded: what no kernel falls below; None: not known.
    `cycles` are those that an instruction takes on average, `energy` the picojoules of one of the board's cycles; both
    are estimates, and None where nobody has measured them. `timing` is what each class of instructions takes, None
    where nothing is known. `banks` are the board's memories, if it has several or their speed is known: one of each
    kind without a section.
    """

    name: str
    description: str
    core: str
    features: frozenset[str]
    cflags: tuple[str, ...]
    zig: str | None
    emulator: Emulator | None
    ram: int | None = None
    flash: int | None = None
    clock: int | None = None
    floor: float | None = None
    cycles: float | None = None
    timing: Timing | None = None
    energy: float | None = None
    banks: tuple[Bank, ...] = ()

    @property
    def is_host(self) -> bool:
        """Whether code for this target is compiled for, and runs on, this computer."""
        return self.core == "host"

    @property
    def is_core(self) -> bool:
        """Whether this is a core by itself, not a board."""
        return self.name == self.core


def load_target(name: str) -> Target:
    """The core or board called `name`; `UsageError` with the names that come close if there is none."""
    known = _names()
    if name not in known:
        wanted = name.lower().replace("_", "-")
        close = sorted(n for n in known if wanted and wanted in n) or get_close_matches(wanted, known)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        raise UsageError(f"unknown target '{name}': {hint}")
    return _core(name) if known[name] == "cores" else _board(name)


@cache
def all_targets() -> tuple[Target, ...]:
    """Every core, then every board, each in the order of their names."""
    return tuple(load_target(name) for name in _names())


@cache
def _names() -> dict[str, str]:
    """The folder (``cores`` or ``boards``) in which each target's file lies."""
    found = {}
    for folder in ("cores", "boards"):
        for name in sorted(entry.name for entry in targets().joinpath(folder).iterdir()):
            if name.endswith(".toml"):
                found[name.removesuffix(".toml")] = folder
    return found


def _core(name: str) -> Target:
    where, table = _read(f"cores/{name}.toml")
    _check(where, table, _CORE)
    features = frozenset(table["features"])
    if not features <= FEATURES:
        raise UsageError(f"{where}: features must be among {', '.join(sorted(FEATURES))}")
    return Target(
        name=name,
        description=table["description"],
        core=name,
        features=features,
        cflags=tuple(table["cflags"]),
        zig=table.get("zig"),
        emulator=_emulator(table["emulator"]) if "emulator" in table else None,
        floor=table.get("floor"),
        cycles=table.get("cycles"),
        timing=_timing(f"{where} [timing]", table["timing"]) if "timing" in table else None,
    )


def _timing(where: str, table: Mapping[str, Any]) -> Timing:
    _check(where, table, _TIMING)
    return Timing(table["source"], table["table"], {name: float(value) for name, value in table["cycles"].items()})


def _board(name: str) -> Target:
    where, table = _read(f"boards/{name}.toml")
    _check(where, table, _QEMU_BOARD if "qemu" in table else _BOARD)
    core = replace(_core(_core_of(where, table)), name=name, description=table["description"])
    if "qemu" in table:
        emulator = _emulator(name)
        usual = [
            Bank(kind, kind, None, region.origin, region.size)
            for kind, region in (("flash", emulator.flash), ("ram", emulator.ram))
        ]
        banks = (*usual, *emulator.banks) if emulator.banks else ()
        return replace(core, emulator=emulator, ram=emulator.ram.size, flash=emulator.flash.size, banks=banks)
    energy = table.get("energy")
    if energy is not None:
        _check(f"{where} [energy]", energy, _ENERGY)
        energy = energy["picojoules"]
    banks = _banks(where, table)
    if banks:
        sizes = {kind: [bank.size for bank in banks if bank.kind == kind and not bank.section] for kind in _KINDS}
        if sizes != {kind: [table[kind]] for kind in _KINDS}:
            raise UsageError(f"{where}: [[memory]] needs one 'ram' and one 'flash' without section, as large as above")
    return replace(core, ram=table["ram"], flash=table["flash"], clock=table["clock"], energy=energy, banks=banks)


def _banks(where: str, board: Mapping[str, Any]) -> tuple[Bank, ...]:
    """The memories of a board file's ``[[memory]]`` tables."""
    banks = []
    for table in board.get("memory", ()):
        named = f"{where} [[memory]] {table.get('name')}"
        _check(named, table, _BANK)
        section = table.get("section")
        if table["kind"] not in _KINDS or (section is not None and not SECTION.fullmatch(section)):
            raise UsageError(f'{named}: expected kind = "ram" or "flash", and a section such as ".rodata.qspi"')
        given = {key: value for key, value in table.items() if key != "source"}
        banks.append(Bank(**{"section": None, **given}))
    return tuple(banks)


def _emulator(board: str) -> Emulator:
    """The machine that the board file's ``[qemu]`` table describes."""
    where, table = _read(f"boards/{board}.toml")
    _check(where, table, _QEMU_BOARD)
    qemu = table["qemu"]
    _check(f"{where} [qemu]", qemu, _QEMU)
    return Emulator(
        board=board,
        core=_core_of(where, table),
        machine=qemu["machine"],
        cpu=qemu.get("cpu"),
        options=tuple(qemu.get("options", ())),
        tick_ns=qemu.get("tick_ns"),
        flash=_region(f"{where} [qemu] flash", qemu["flash"]),
        ram=_region(f"{where} [qemu] ram", qemu["ram"]),
        banks=_banks(where, table),
    )


def _region(where: str, table: Mapping[str, Any]) -> Region:
    _check(where, table, _REGION)
    return Region(table["origin"], table["size"])


def _core_of(where: str, board: Mapping[str, Any]) -> str:
    core = str(board["core"])
    if _names().get(core) != "cores":
        raise UsageError(f"{where}: core '{core}' has no file in targets/cores")
    return core


def _read(path: str) -> tuple[str, dict[str, Any]]:
    """The parsed file at `path` under ``targets``, with the name that messages call it by."""
    where = f"targets/{path}"
    try:
        return where, tomllib.loads(read_text(targets(), path))
    except FileNotFoundError:
        raise UsageError(f"{where} does not exist, though another target names it") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from None


def _check(where: str, table: Mapping[str, Any], keys: Mapping[str, type]) -> None:
    """Raise `UsageError` unless `table` has exactly `keys`, with values of their types."""
    for key, value in table.items():
        if key not in keys:
            raise UsageError(f"{where}: unknown key '{key}'; expected {', '.join(keys)}")
        if type(value) is not keys[key]:
            raise UsageError(f"{where}: '{key}' must be of type {keys[key].__name__}, not {type(value).__name__}")
        items = dict if key == "memory" else str
        if isinstance(value, list) and not all(isinstance(item, items) for item in value):
            raise UsageError(f"{where}: '{key}' must be a list of {'tables' if items is dict else 'strings'}")
    for key in keys:
        if key not in table and key not in _OPTIONAL:
            raise UsageError(f"{where}: '{key}' is missing")

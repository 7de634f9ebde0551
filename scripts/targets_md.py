# SPDX-License-Identifier: Apache-2.0
"""Writes docs/targets.md from the files under targets/ (``make docs``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tinygen.target import Bank, Target, all_targets

PAGE = Path(__file__).parents[1] / "docs" / "targets.md"

HEAD = """\
# Targets

<!-- Made from targets/ by `make docs`; change the data, not this page. -->

A target is a core, or a board with its core's data. A core has no limits; a board's RAM and flash are a budget that
`tinygen build` keeps to. To add one, add a file to `targets/cores` or `targets/boards`. The floor of a core is the
instructions per MAC that multiply and add int8 values, with nothing loaded or stored: `tinygen profile` shows it beside
what layers take. Cycles per instruction and the energy of a cycle, where they are known, turn counted instructions into
estimates of time and energy: see [search](search.md).
"""

CORE_HEAD = ["Name", "Features", "Floor", "Cycles", "Runs on", "Compiler flags", "Description"]
MEMORIES = """\
Where a board has several, or reading takes long; [what lies in which](integration.md#several-memories) is up to you.
The cost is how many cycles a read of 32 bits takes beyond those of memory without wait states, in a sequence of reads
that no cache holds; it follows from the data sheets' clocks and widths, which the board's file names.
"""
MEMORY_HEAD = ["Board", "Memory", "Kind", "Address", "Size", "Cost", "Cache", "Section"]
BOARD_HEAD = ["Name", "Core", "RAM", "Flash", "Clock", "Energy", "Description"]


def page() -> str:
    """The whole page."""
    targets = all_targets()
    cores = [t for t in targets if t.is_core]
    boards = [t for t in targets if not t.is_core]
    real = [t for t in boards if not is_emulated(t)]
    return "\n".join(
        [
            HEAD,
            "## Cores\n",
            *table(CORE_HEAD, map(core_row, cores)),
            "\n## Boards\n",
            *table(BOARD_HEAD, map(board_row, real)),
            "\n### Their memories\n",
            MEMORIES,
            *table(MEMORY_HEAD, (memory_row(board, bank) for board in boards for bank in board.banks)),
            "\n## Machines of QEMU\n",
            "Instructions are counted by SysTick where the machine has one. QEMU models no timing: a count of",
            "instructions is not a count of cycles.\n",
            *table(
                ["Name", "Core", "RAM", "Flash", "Counts instructions", "Description"],
                map(machine_row, filter(is_emulated, boards)),
            ),
            "",
        ]
    )


def is_emulated(board: Target) -> bool:
    """Whether the board is itself a machine of QEMU."""
    return board.emulator is not None and board.emulator.board == board.name


def core_row(core: Target) -> list[str]:
    runs_on = f"`{core.emulator.board}` ({core.emulator.core})" if core.emulator else "this computer"
    flags = f"`{' '.join(core.cflags)}`" if core.cflags else "none"
    floor, cycles = (f"{value:g}" if value else "" for value in (core.floor, core.cycles))
    features = ", ".join(sorted(core.features)) or "none"
    return [f"`{core.name}`", features, floor, cycles, runs_on, flags, core.description]


def board_row(board: Target) -> list[str]:
    clock = f"{(board.clock or 0) / 1e6:g} MHz"
    energy = f"{board.energy:g} pJ" if board.energy else ""
    return [f"`{board.name}`", board.core, kib(board.ram), kib(board.flash), clock, energy, board.description]


def memory_row(board: Target, bank: Bank) -> list[str]:
    cache = kib(bank.cache) if bank.cache else ""
    section = f"`{bank.section}`" if bank.section else ""
    return [
        f"`{board.name}`",
        bank.name,
        bank.kind,
        f"0x{bank.origin:08X}",
        kib(bank.size),
        f"{bank.cost:g}",
        cache,
        section,
    ]


def machine_row(board: Target) -> list[str]:
    counts = "yes" if board.emulator and board.emulator.tick_ns else "no"
    return [f"`{board.name}`", board.core, kib(board.ram), kib(board.flash), counts, board.description]


def kib(size: int | None) -> str:
    return f"{(size or 0) // 1024} KiB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, a string for each line."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

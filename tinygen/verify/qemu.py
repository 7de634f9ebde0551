# SPDX-License-Identifier: Apache-2.0
"""Run the generated C on an emulated Cortex-M and count its instructions.

QEMU models no timing: under ``-icount`` every instruction takes 2^shift ns of the guest's time, which SysTick measures.
So these are instructions, never cycles, and they repeat exactly.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinygen import toolchain
from tinygen.clang import compiler_for
from tinygen.emit.render import linker_script
from tinygen.errors import ToolError, UsageError, VerificationError
from tinygen.ir.types import Array
from tinygen.placement import Usage
from tinygen.target import Emulator, Region, Target, all_targets
from tinygen.verify import harness
from tinygen.verify.blocks import Blocks, run_logged
from tinygen.verify.build_dir import BuildDir
from tinygen.verify.execution import Execution, Finished, execute
from tinygen.verify.faults import describe
from tinygen.verify.harness import Exit, Mode
from tinygen.verify.instructions import Instruction, disassemble

#: Every instruction takes 2^SHIFT ns: more than two ticks on all machines, so that a difference of two counts, which
#: may be off by almost one tick, rounds to the right number of instructions.
SHIFT = 8
#: What the SysTick interrupt of templates/harness/measure.c executes at each wrap of the 24-bit counter.
WRAP_INSTRUCTIONS = 5
#: Bytes of stack, at least; and what the harness itself may need of it beyond the model.
STACK, HARNESS_STACK = 4096, 512
#: Bytes that the harness has around the arena, at most.
HARNESS_ARENA = 256

STATIC = ("startup.c", "semihosting.c", "measure.c", "machine.h")
LINK = ("--specs=nano.specs", "-nostartfiles", "-Wl,--gc-sections")


def run_qemu(
    build: BuildDir,
    vectors: Sequence[Sequence[Array]],
    target: Target,
    trace: bool = False,
    opt: str | None = None,
    timeout: float = 300.0,
    compiler: str = "gcc",
) -> Execution:
    """Compile `build` for `target` and run it on `vectors` (sets of arrays in input order) in one start of QEMU.

    `opt` defaults to the level that the build's size was measured with. Where the program does not fit the target's
    machine, a larger one with the same core is taken. Tracing counts neither instructions nor stack. `compiler` is one
    of `clang.COMPILERS`.

    `VerificationError` if the program faults, hangs for `timeout` seconds or writes outside its arena; `UsageError` if
    an array does not fit its input or the target has no emulator; `ToolError` if a tool or a large enough machine is
    missing.
    """
    mode = Mode.TRACED if trace else Mode.COUNTED
    with tempfile.TemporaryDirectory(prefix="tinygen-") as temporary:
        folder = Path(temporary).resolve()
        machine, warnings = _run(build, vectors, target, mode, opt, timeout, folder, compiler)
        counts, stack = (None, None) if trace else read_stats((folder / "stats.txt").read_text(), machine.tick_ns)
        return Execution(
            where=machine.board,
            outputs=harness.read_outputs(build, len(vectors), folder),
            trace=harness.read_trace(build, len(vectors), folder) if trace else None,
            counts=counts,
            stack=stack,
            warnings=warnings,
        )


def profile_qemu(
    build: BuildDir,
    vector: Sequence[Array],
    target: Target,
    opt: str | None = None,
    timeout: float = 300.0,
    compiler: str = "gcc",
) -> tuple[str, tuple[int, ...]]:
    """The machine, and the instructions that each step of `build` takes for one input set; raises as `run_qemu`."""
    with tempfile.TemporaryDirectory(prefix="tinygen-") as temporary:
        folder = Path(temporary).resolve()
        machine, _ = _run(build, [vector], target, Mode.PROFILED, opt, timeout, folder, compiler)
        if machine.tick_ns is None:
            raise UsageError(f"{machine.board} has no SysTick to count instructions with: choose another core")
        return machine.board, read_profile((folder / "stats.txt").read_text(), machine.tick_ns)


def blocks_qemu(
    build: BuildDir,
    vector: Sequence[Array],
    target: Target,
    opt: str | None = None,
    timeout: float = 900.0,
    compiler: str = "gcc",
) -> tuple[Blocks, dict[int, Instruction]]:
    """The blocks that each step of `build` executes for one input set, and the program; raises as `run_qemu`."""
    with tempfile.TemporaryDirectory(prefix="tinygen-") as temporary:
        folder = Path(temporary).resolve()
        machine, _ = _make(build, [vector], target, Mode.PROFILED, opt, folder, compiler)
        elf, what = folder / "program.elf", f"{build.name}_run on {machine.board}"
        command = [*_command(toolchain.find_qemu(), machine)]
        done, blocks = run_logged(command, folder, timeout, elf, what)
        _check(done, what, machine.ram)
        return blocks, disassemble(elf, "mve" in target.features)


def _run(
    build: BuildDir,
    vectors: Sequence[Sequence[Array]],
    target: Target,
    mode: Mode,
    opt: str | None,
    timeout: float,
    folder: Path,
    compiler: str,
) -> tuple[Emulator, str]:
    """Compile and run in `folder`; the machine, and the compiler's warnings."""
    machine, warnings = _make(build, vectors, target, mode, opt, folder, compiler)
    what = f"{build.name}_run on {machine.board}"
    done = execute([*_command(toolchain.find_qemu(), machine)], folder, timeout, what, dict(os.environ))
    _check(done, what, machine.ram)
    return machine, warnings


def _make(
    build: BuildDir,
    vectors: Sequence[Sequence[Array]],
    target: Target,
    mode: Mode,
    opt: str | None,
    folder: Path,
    compiler: str,
) -> tuple[Emulator, str]:
    """Compile and link ``program.elf`` in `folder`; the machine that it is for, and the compiler's warnings."""
    if target.emulator is None:
        raise UsageError(f"target {target.name} has no emulator: choose a Cortex-M core or board")
    toolchain.find_qemu()
    gcc, own = compiler_for(target), compiler_for(target, compiler)
    harness.write_inputs(build, vectors, folder)
    sources = harness.write_sources(build, folder, mode, STATIC)
    level = opt or build.report.get("flash", {}).get("optimization", "-O2")
    objects, warnings = harness.compile_all(build, sources, folder, gcc, level, mode, own)
    return _link(build, objects, folder, gcc, target.emulator), warnings


def _command(qemu: str, machine: Emulator) -> Iterator[str]:
    yield from (qemu, "-machine", machine.machine)
    if machine.cpu:
        yield from ("-cpu", machine.cpu)
    yield from machine.options
    yield from ("-nographic", "-monitor", "none", "-serial", "none")
    # A character device of its own: without it the guest's text goes to stderr, among QEMU's messages.
    yield from ("-chardev", "stdio,id=sh", "-semihosting-config", "enable=on,target=native,chardev=sh")
    yield from ("-icount", f"shift={SHIFT},sleep=off", "-kernel", "program.elf")


def _link(
    build: BuildDir, objects: Sequence[Path], folder: Path, compiler: Sequence[str], preferred: Emulator
) -> Emulator:
    """Link ``program.elf`` for the first machine whose memory it fits, and return the machine."""
    overflow = ""
    for machine in _machines(preferred):
        context = {"flash": machine.flash, "ram": machine.ram, "stack": stack_size(build)}
        harness.render(folder, "link.ld", context)
        (folder / "sections.ld").write_text(linker_script(build.name, _elsewhere(build, machine)), encoding="utf-8")
        scripts = ("-T", folder / "sections.ld", "-T", folder / "link.ld")
        try:
            toolchain.run([*compiler, *LINK, *scripts, *objects, "-o", folder / "program.elf"])
            return machine
        except ToolError as error:
            found = re.search(r"region `(\w+)' overflowed by (\d+) bytes", str(error))
            if not found:
                raise
            overflow = f"{int(found[2]):,} bytes more {found[1].replace('FLASH', 'flash')} than {machine.board} has"
    raise ToolError(f"'{build.name}' cannot be emulated: it needs {overflow}, the largest machine with this core")


def _elsewhere(build: BuildDir, machine: Emulator) -> list[Usage]:
    """The build's sections, one after the other in those memories of the machine that a program does without."""
    at = {bank.kind: bank.origin for bank in machine.banks}
    found = list[Usage]()
    for memory in build.report.get("memories", ()):
        kind, size = memory["kind"], -(-(sum(memory["holds"].values()) + HARNESS_ARENA) // 8) * 8
        if memory["section"] is not None and any(memory["holds"].values()) and kind in at:
            found.append(Usage(memory["name"], kind, memory["section"], at[kind], size, 0.0, memory["holds"]))
            at[kind] += size
    return found


def _machines(preferred: Emulator) -> list[Emulator]:
    """`preferred`, then the other machines with its core that have more memory, the smallest first."""
    others = {t.emulator for t in all_targets() if t.emulator and t.emulator.core == preferred.core}
    larger = [m for m in others if m.ram.size > preferred.ram.size or m.flash.size > preferred.flash.size]
    return [preferred, *sorted(larger, key=lambda m: (m.ram.size, m.flash.size, m.board))]


def stack_size(build: BuildDir) -> int:
    """Bytes of stack for the program: more than `STACK` only where the report says that the model needs it."""
    needed = build.report["ram"].get("stack") or 0
    return int(max(STACK, -(-(needed + HARNESS_STACK) // 8) * 8))


def _check(done: Finished, what: str, ram: Region) -> None:
    """Raise unless the program ended well: `VerificationError` if it misbehaved, `ToolError` if QEMU did."""
    if done.code == Exit.DONE:
        return
    harness.check_exit(done.code, what)
    if done.code == Exit.FAULT:
        raise VerificationError(f"{what} stopped with a {describe(done.stdout, ram)}")
    last = "".join(done.stderr.strip().splitlines()[:1])
    if "Lockup" in done.stderr:
        raise VerificationError(f"{what} locked up the core: {last}")
    raise ToolError(f"qemu-system-arm failed with exit code {done.code}: {last}")


def read_stats(text: str, tick_ns: float | None) -> tuple[tuple[int, ...] | None, int]:
    """Instructions of each inference (None without `tick_ns`), and bytes of stack, from what the harness wrote."""
    rows = [(label, int(first, 16), int(second, 16)) for label, first, second in map(str.split, text.splitlines())]
    (stack,) = (first for label, first, _ in rows if label == "stack")
    if tick_ns is None:
        return None, stack
    (empty,) = (_ticks(first, second) for label, first, second in rows if label == "empty")
    return tuple(
        # The empty function, too, has one instruction: its return.
        round((_ticks(wraps, ticks) - empty) * tick_ns / (1 << SHIFT)) - wraps * WRAP_INSTRUCTIONS + 1
        for label, wraps, ticks in rows
        if label == "run"
    ), stack


def read_profile(text: str, tick_ns: float) -> tuple[int, ...]:
    """Instructions of each step, from what the harness wrote; the first line is what counting costs."""
    rows = [(int(first, 16), int(second, 16)) for _, first, second in map(str.split, text.splitlines())]
    empty = _ticks(*rows[0])
    return tuple(
        round((_ticks(wraps, ticks) - empty) * tick_ns / (1 << SHIFT)) - wraps * WRAP_INSTRUCTIONS
        for wraps, ticks in rows[1:]
    )


def _ticks(wraps: int, ticks: int) -> int:
    """Ticks from start to stop of the counter; `ticks` is an int32, as two's complement."""
    return (wraps << 24) + (ticks - 2**32 if ticks >= 2**31 else ticks)

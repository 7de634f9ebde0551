# SPDX-License-Identifier: Apache-2.0
"""Compilers and emulators: finding them, running them, and measuring what they make of generated code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinygen.errors import ToolError
from tinygen.target import Target

#: Warnings that generated code is free of, with gcc and clang alike.
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wcast-align")
#: How generated code is compiled, besides the target's flags and the optimisation level.
CFLAGS = ("-std=c99", "-ffunction-sections", "-fdata-sections", *WARNINGS)

#: Seconds after which a compiler is given up.
COMPILE_TIMEOUT = 300.0


def find_cross() -> str:
    """The Arm cross compiler: ``TINYGEN_CC`` if set, else ``arm-none-eabi-gcc``.

    `ToolError` if it is not there, or comes without the C library's headers and newlib-nano.
    """
    gcc = find_cross_gcc()
    if not has_newlib(gcc):
        raise ToolError(f"{gcc} has no C library: install libnewlib-arm-none-eabi")
    return gcc


def find_cross_gcc() -> str:
    """The Arm cross compiler by itself, with or without a C library. `ToolError` if it is not there."""
    return _find(
        (os.environ.get("TINYGEN_CC") or "arm-none-eabi-gcc",),
        "install gcc-arm-none-eabi and libnewlib-arm-none-eabi, or set TINYGEN_CC to the compiler's path",
    )


@cache
def has_newlib(gcc: str) -> bool:
    """Whether `gcc` finds newlib-nano."""
    specs = run([gcc, "-print-file-name=nano.specs"], timeout=30).stdout.strip()
    # gcc prints the bare name of a file that it does not find
    return Path(specs).is_absolute()


def find_host() -> str:
    """The compiler of this computer: gcc, else clang, else cc. `ToolError` if there is none."""
    return _find(("gcc", "clang", "cc"), "install gcc or clang")


def find_clang() -> str:
    """clang, for checks with a second compiler. `ToolError` if it is not there."""
    return _find(("clang",), "install clang")


def find_qemu() -> str:
    """The emulator of Arm machines. `ToolError` if it is not there."""
    return _find(("qemu-system-arm",), "install qemu-system-arm")


def find_size() -> str:
    """The ``size`` that belongs to `find_cross`. `ToolError` if it is not there."""
    return find_beside("size")


def find_beside(tool: str) -> str:
    """The ``size``, ``nm`` or ``objdump`` that belongs to `find_cross`. `ToolError` if it is not there."""
    beside = find_cross().removesuffix("gcc") + tool
    return _find((beside, f"arm-none-eabi-{tool}"), "install binutils-arm-none-eabi")


def find_compiler(target: Target) -> str:
    """The compiler for `target`: the host's or the cross compiler."""
    return find_host() if target.is_host else find_cross()


def _find(names: Sequence[str], advice: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise ToolError(f"{' or '.join(names)} was not found: {advice}")


@cache
def version(tool: str) -> str:
    """The version that ``tool --version`` states, such as ``12.2.1``."""
    text = run([tool, "--version"], timeout=30).stdout
    found = re.search(r"\b\d+\.\d+\.\d+\b", text) or re.search(r"\b\d+\.\d+\b", text)
    if not found:
        raise ToolError(f"{tool} --version names no version: is it the program it is taken for?")
    return found.group()


def run(
    cmd: Sequence[str | Path], timeout: float = COMPILE_TIMEOUT, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `cmd` and return its output. `ToolError` if it cannot start, fails or takes over `timeout` seconds."""
    words = [str(word) for word in cmd]
    name = Path(words[0]).name
    try:
        # Bytes that are not UTF-8 may come from a compiler's quotes or from a guest gone wrong.
        done = subprocess.run(
            words, cwd=cwd, timeout=timeout, capture_output=True, text=True, encoding="utf-8", errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} was stopped after {timeout:g} seconds: {' '.join(words)}") from None
    except OSError as error:
        raise ToolError(f"{name} could not be started: {error.strerror}") from None
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise ToolError(f"{name} failed with exit code {done.returncode}\n{last}".rstrip())
    return done


def compile_object(
    source: Path,
    out: Path,
    target: Target,
    opt: str = "-O2",
    extra: Sequence[str] = (),
    compiler: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Compile one C file to the object `out` for `target`; warnings are in the result's ``stderr``.

    `compiler`: another one than the usual, with its flags for the target.
    """
    command = compiler or (find_compiler(target), *target.cflags)
    return run([*command, *CFLAGS, opt, *extra, "-c", source, "-o", out])


@dataclass(frozen=True)
class StackUsage:
    """The most stack a function can use: `bytes` along the call chain `path`.

    `assumed` names what it may call besides, of unknown stack and counted as 0: compiler helpers such as
    ``__aeabi_ldivmod``, memcpy, memset.
    """

    bytes: int
    path: tuple[str, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class FlashSize:
    """Bytes that a library adds to a firmware: machine code, read-only data, initial values of variables."""

    code: int
    constants: int
    data: int

    @property
    def bytes(self) -> int:
        return self.code + self.constants + self.data


def stack_usage(folder: Path, name: str, target: Target, opt: str = "-O2", model: str = "") -> StackUsage:
    """Worst-case stack of ``<model>_run`` (default: `name`) in ``<folder>/<name>.c``, from gcc's call graph.

    On the host, the 128 bytes below the stack pointer that x86-64 leaf functions may use are not counted.
    `ToolError` if the compiler is not gcc 10 or later, or the stack has no bound (recursion, dynamic arrays).
    """
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / f"{name}.o"
        # Without folding: the call graph has no node for a function that gcc makes an alias of an identical one.
        flags = ("-fstack-usage", "-fcallgraph-info=su", "-fno-ipa-icf")
        compile_object(folder / f"{name}.c", out, target, opt, flags)
        graph = out.with_suffix(".ci")
        if not graph.is_file():
            raise ToolError(f"{find_compiler(target)} writes no call graph: measuring the stack needs gcc 10 or later")
        return deepest(graph.read_text(encoding="utf-8"), f"{model or name}_run")


def deepest(callgraph: str, function: str) -> StackUsage:
    """The deepest call chain from `function` in a ``.ci`` file of gcc's ``-fcallgraph-info=su``."""
    frames: dict[str, int | None] = {}
    for title, label in re.findall(r'^node: \{ title: "([^"]*)" label: "([^"]*)"', callgraph, re.MULTILINE):
        frame = re.search(r"\\n(\d+) bytes \(([a-z,]+)\)", label)
        if frame and frame[2] == "dynamic":
            raise ToolError(f"the stack of '{title}' has no bound: it holds an array of variable length")
        frames[title] = int(frame[1]) if frame else None
    if frames.get(function) is None:
        raise ToolError(f"the compiled file does not define '{function}'")
    calls: dict[str, set[str]] = {title: set() for title in frames}
    for caller, callee in re.findall(r'^edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', callgraph, re.MULTILINE):
        calls[caller].add(callee)
    chain = _longest(function, frames, calls, ())
    assumed = {title for title in _reachable(function, calls) if frames[title] is None}
    # A function of the file itself is titled "path/file.c:function".
    path = tuple(title.rpartition(":")[2] for title in chain)
    return StackUsage(_depth(chain, frames), path, tuple(sorted(assumed)))


def _longest(
    title: str, frames: Mapping[str, int | None], calls: Mapping[str, set[str]], above: tuple[str, ...]
) -> tuple[str, ...]:
    """The chain of defined functions from `title` down that takes most stack; `above` are its callers."""
    if title in above:
        raise ToolError(f"the stack has no bound: '{title}' calls itself")
    known = (callee for callee in sorted(calls[title]) if frames[callee] is not None)
    below = [_longest(callee, frames, calls, (*above, title)) for callee in known]
    return (title, *max(below, key=lambda chain: _depth(chain, frames), default=()))


def _depth(chain: Sequence[str], frames: Mapping[str, int | None]) -> int:
    return sum(frames[title] or 0 for title in chain)


def _reachable(title: str, calls: Mapping[str, set[str]]) -> set[str]:
    seen, todo = set[str](), [title]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo.extend(calls[here])
    return seen


#: A firmware without startup code or vector table, which would be the same with and without the library.
_FIRMWARE = """\
#include "{name}.h"
void start(void);
void start(void)
{{
#ifdef WITH_LIBRARY
    static {name}_arena_t arena;
{calls}
#endif
    for (;;) {{
    }}
}}
"""


def flash_size(
    folder: Path,
    name: str,
    target: Target,
    opt: str = "-O2",
    compiler: Sequence[str] = (),
    models: Sequence[str] = (),
    sections: Sequence[str] = (),
) -> FlashSize:
    """What ``<folder>/<name>.c`` adds to a firmware that calls ``<name>_run``, with all it draws from libraries.

    With several `models` in the file, the firmware calls each. `sections` hold constants, too.

    Two firmwares are linked with newlib-nano and ``--gc-sections``, with and without the call; the sizes are the
    difference. `ToolError` for the host, whose programs have no flash.
    """
    if target.is_host:
        raise ToolError("flash is measured for Cortex-M targets only: choose one with --target")
    calls = [f"    {model}_run(&arena.{model});" for model in models] or [f"    {name}_run(&arena);"]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "firmware.c").write_text(_FIRMWARE.format(name=name, calls="\n".join(calls)), encoding="utf-8")
        compile_object(folder / f"{name}.c", work / "library.o", target, opt, compiler=compiler)
        full = _linked_sections(work, target, opt, (f"-I{folder}", "-DWITH_LIBRARY"))
        empty = _linked_sections(work, target, opt, (f"-I{folder}",))
    grown = {section: full[section] - empty.get(section, 0) for section in full}
    constants = sum(grown.get(section, 0) for section in (".rodata", ".ARM.exidx", ".ARM.extab", *sections))
    return FlashSize(grown[".text"], constants, grown.get(".data", 0))


def _linked_sections(work: Path, target: Target, opt: str, defines: Sequence[str]) -> dict[str, int]:
    """Link ``firmware.c`` and ``library.o`` in `work`; the bytes of each section."""
    compile_object(work / "firmware.c", work / "firmware.o", target, opt, defines)
    link = ("--specs=nano.specs", "-nostartfiles", "-Wl,--gc-sections", "-Wl,--entry=start")
    elf = work / "firmware.elf"
    run([find_cross(), *target.cflags, *link, work / "firmware.o", work / "library.o", "-o", elf])
    table = run([find_size(), "-A", elf]).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", table, re.MULTILINE)}

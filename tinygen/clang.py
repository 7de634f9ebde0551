# SPDX-License-Identifier: Apache-2.0
"""clang as a second compiler for Cortex-M: that of the PyPI package ziglang, which pip installs, or the system's."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from tinygen import toolchain
from tinygen.errors import ToolError
from tinygen.target import Target

#: What compiles generated code for a Cortex-M; harness and libraries are gcc's in any case.
COMPILERS = ("gcc", "clang")
#: What makes clang's objects like those of gcc that they are linked with: the sizes of enums, no tables for exceptions.
LINKABLE = ("-fshort-enums", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")


def compiler_for(target: Target, name: str = "gcc") -> list[str]:
    """The command of compiler `name` with the flags of `target`; `ToolError` if it is not there."""
    if target.is_host or name == "gcc":
        return [toolchain.find_compiler(target), *target.cflags]
    return [*_clang(target), *LINKABLE, "-isystem", str(newlib_headers())]


def _clang(target: Target) -> list[str]:
    """clang, made to compile for `target` and nothing else: zig's checks undefined behaviour unless told not to."""
    if target.zig is not None and find_spec("ziglang") is not None:
        abi = "eabihf" if "-mfloat-abi=hard" in target.cflags else "eabi"
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"thumb-freestanding-{abi}", f"-mcpu={target.zig}"]
        return [*zig, "-g0", "-fno-sanitize=all"]
    try:
        return [toolchain.find_clang(), "--target=arm-none-eabi", *target.cflags]
    except ToolError:
        raise ToolError("clang was not found: pip install ziglang, or install clang") from None


def newlib_headers() -> Path:
    """The folder of the C library's headers, which neither clang brings for a Cortex-M."""
    specs = toolchain.run([toolchain.find_cross(), "-print-file-name=nano.specs"], timeout=30).stdout.strip()
    return Path(specs).resolve().parent.parent / "include"


def version_of(name: str) -> str:
    """The compiler's name and version, as pages show them."""
    if name == "gcc":
        gcc = toolchain.find_cross()
        return f"{Path(gcc).name} {toolchain.version(gcc)}"
    zig = find_spec("ziglang") is not None
    command = [sys.executable, "-m", "ziglang", "cc"] if zig else [toolchain.find_clang()]
    words = toolchain.run([*command, "--version"], timeout=60).stdout.split()
    return f"clang {words[words.index('version') + 1]}" + (" (ziglang)" if zig else "")

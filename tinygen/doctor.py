# SPDX-License-Identifier: Apache-2.0
"""What tinygen finds on this machine, what each find is needed for, and how to install what is missing."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata

from tinygen import toolchain
from tinygen.errors import ToolError
from tinygen.target import all_targets

#: Python packages: name, what it is needed for, the extra of tinygen that brings it (None: tinygen itself).
_PACKAGES = (
    ("numpy", "all computation", None),
    ("jinja2", "C templates", None),
    ("click", "the command line", None),
    ("rich", "tables on the terminal", None),
    ("tflite", "reading .tflite files", None),
    ("flatbuffers", "reading .tflite files", None),
    ("tflite-micro", "comparing with TFLM's own interpreter", "test"),
    ("tensorflow", "training and making models", "train"),
)


@dataclass(frozen=True)
class Check:
    """One thing looked for: `found` is its version or None; `debian` and `elsewhere` say how to install it."""

    name: str
    found: str | None
    needed_for: str
    debian: str
    elsewhere: str
    required: bool = False


def diagnose() -> tuple[Check, ...]:
    """Look for everything that tinygen can use. Runs each tool once, changes nothing."""
    return (*_python(), *_tools())


def render(checks: Sequence[Check]) -> str:
    """`checks` as plain text: a line for each, with the command that installs it under those not found."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.name:<{width}}  {check.found or 'not found':<12}  {check.needed_for}")
        if check.found is None:
            lines += [
                f"{'':<{width}}    Debian, Ubuntu: {check.debian}",
                f"{'':<{width}}    elsewhere: {check.elsewhere}",
            ]
    return "\n".join(lines) + "\n"


def missing(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Those of `checks` without which tinygen does not work at all."""
    return tuple(check for check in checks if check.required and check.found is None)


def _python() -> tuple[Check, ...]:
    here = Check("Python", platform.python_version(), "tinygen itself (3.10 or later)", "", "", required=True)
    return (here, *(_package(*row) for row in _PACKAGES))


def _package(name: str, needed_for: str, extra: str | None) -> Check:
    try:
        found: str | None = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = None
    install = f"pip install 'tinygen[{extra}]'" if extra else f"pip install {name}"
    return Check(name, found, needed_for, install, "the same command", required=extra is None)


def _tools() -> tuple[Check, ...]:
    return (
        _tool(
            "C compiler",
            toolchain.find_host,
            "verifying on this computer",
            "apt-get install gcc",
            "the Xcode command line tools, or gcc of your distribution",
        ),
        _tool(
            "clang",
            toolchain.find_clang,
            "checks with a second compiler",
            "apt-get install clang",
            "clang of your distribution, or llvm.org",
        ),
        _tool(
            "arm-none-eabi-gcc",
            toolchain.find_cross_gcc,
            "Cortex-M code; measuring flash and stack",
            "apt-get install gcc-arm-none-eabi",
            "the Arm GNU Toolchain from developer.arm.com, on PATH or as TINYGEN_CC",
        ),
        Check(
            "newlib-nano",
            _probe(_newlib),
            "linking Cortex-M firmware",
            "apt-get install libnewlib-arm-none-eabi",
            "part of the Arm GNU Toolchain from developer.arm.com",
        ),
        Check(
            "qemu-system-arm",
            _probe(_qemu),
            "verifying on emulated Cortex-M",
            "apt-get install qemu-system-arm",
            "QEMU 7.2 or later, from qemu.org or your distribution",
        ),
    )


def _tool(name: str, find: Callable[[], str], needed_for: str, debian: str, elsewhere: str) -> Check:
    return Check(name, _probe(lambda: toolchain.version(find())), needed_for, debian, elsewhere)


def _probe(look: Callable[[], str]) -> str | None:
    """What `look` finds, or None where the tool is missing or does not work."""
    try:
        return look()
    except ToolError:
        return None


def _newlib() -> str:
    """That gcc finds newlib-nano, which has no version of its own."""
    toolchain.find_cross()
    return "found"


def _qemu() -> str:
    """QEMU's version, if it has every machine that a target names."""
    qemu = toolchain.find_qemu()
    listed = toolchain.run([qemu, "-machine", "help"], timeout=30).stdout.split()
    lacking = sorted({t.emulator.machine for t in all_targets() if t.emulator}.difference(listed))
    if lacking:
        raise ToolError(f"{qemu} lacks the machines {', '.join(lacking)}: QEMU 7.2 or later has them")
    return toolchain.version(qemu)

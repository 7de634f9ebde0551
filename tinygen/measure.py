"""What the emitted C costs: from the compiler where there is one, else a labelled estimate."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinygen import toolchain
from tinygen.errors import ToolError
from tinygen.ir.program import Program
from tinygen.plan.arena import Plan
from tinygen.report import Memory
from tinygen.target import Target

#: For the estimate: machine code of a kernel, of a call's own copy of it, and of a shared call, in bytes (Cortex-M4, -O2).
_KERNEL, _COPY, _CALL = 350, 350, 24


def optimization(optimize: str) -> str:
    """The compiler's level that suits an ``--optimize`` choice, and that sizes are measured with."""
    return "-Os" if optimize in ("size", "ram") else "-O2"


def measure(files: Mapping[str, bytes], program: Program, plan: Plan, target: Target, optimize: str) -> Memory:
    """RAM and flash of `files` (the header and the source) for `target`.

    Stack comes from gcc's call graph and flash from a linked firmware; without a compiler, stack is None and flash an
    estimate. For the host, the size of constants and an estimate stand for flash.
    """
    opt = optimization(optimize)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        stack, compiler = _stack(folder, program.name, target, opt)
        flash = _flash(folder, program.name, target, opt)
    return Memory(
        arena=plan.bytes,
        stack=stack.bytes if stack else None,
        stack_path=stack.path if stack else (),
        stack_assumed=stack.assumed if stack else (),
        code=flash.code if flash else estimate(program),
        constants=flash.constants + flash.data if flash else program.constant_bytes + parameter_bytes(program),
        measured=flash is not None,
        opt=opt,
        compiler=compiler,
    )


def _stack(folder: Path, name: str, target: Target, opt: str) -> tuple[toolchain.StackUsage | None, str | None]:
    try:
        compiler = toolchain.find_compiler(target)
    except ToolError:
        return None, None
    label = f"{Path(compiler).name} {toolchain.version(compiler)}"
    try:
        return toolchain.stack_usage(folder, name, target, opt), label
    except ToolError as error:
        if "call graph" in str(error):  # clang as the host's compiler writes none
            return None, label
        raise


def _flash(folder: Path, name: str, target: Target, opt: str) -> toolchain.FlashSize | None:
    if target.is_host:
        return None
    try:
        toolchain.find_cross()
    except ToolError:
        return None
    return toolchain.flash_size(folder, name, target, opt)


def parameter_bytes(program: Program) -> int:
    """Bytes of all parameter structs: four for each field."""
    return sum(4 * len(call.params) for step in program.steps for call in step.invocations)


def estimate(program: Program) -> int:
    """A rough size of the machine code, from the number of kernels and calls."""
    calls = [call for step in program.steps for call in step.invocations]
    copies = sum(call.own_copy for call in calls)
    return _KERNEL * len(program.templates) + _COPY * copies + _CALL * len(calls)

# SPDX-License-Identifier: Apache-2.0
"""What the emitted C costs: from the compiler where there is one, else a labelled estimate."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import starmap
from pathlib import Path

from tinygen import toolchain
from tinygen.errors import ToolError
from tinygen.ir.program import Invocation, Program, Step
from tinygen.kernels.base import PLAIN
from tinygen.ops.convolution import OPERANDS
from tinygen.plan.arena import Plan
from tinygen.report import Memory
from tinygen.resources import read_text, templates
from tinygen.target import Target

#: For the estimate, in bytes of machine code: a character of a kernel's source (without comments) where the kernel is
#: specialised for its call, and where calls share it; one of what several kernels use; and a call. Fitted to networks
#: on Cortex-M0 and M4 at -O2.
_SPECIALISED, _SHARED, _COMMON, _CALL = 0.15, 0.3, 0.1, 36


#: Fields of kernels' parameters that scale a layer's sums to its output.
_SCALES = frozenset({"multipliers", "shifts", "doubled", "halving"})


def optimization(optimize: str) -> str:
    """The compiler's level that suits an ``--optimize`` choice, and that sizes are measured with."""
    return "-Os" if optimize == "size" else "-O2"


def measure(
    files: Mapping[str, bytes],
    program: Program,
    plan: Plan,
    target: Target,
    optimize: str,
    sections: Sequence[str] = (),
) -> Memory:
    """RAM and flash of `files` (the header and the source) for `target`; constants lie in `sections`, too.

    Stack comes from gcc's call graph and flash from a linked firmware; without a compiler, stack is None and flash an
    estimate. For the host, the size of constants and an estimate stand for flash.
    """
    opt = optimization(optimize)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        stack, compiler = _stack(folder, program.name, target, opt)
        flash = _flash(folder, program.name, target, opt, sections)
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


def weight_bytes(program: Program) -> int:
    """Bytes of weights and biases, in whatever form: what layers with weights have beside multipliers and shifts."""
    names = {
        value
        for step in program.layers
        if step.op in OPERANDS
        for call in step.invocations
        for field, value in call.params.items()
        if isinstance(value, str) and field.rpartition(".")[2] not in _SCALES
    }
    return sum(constant.bytes for constant in program.constants if constant.name in names)


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


def _flash(folder: Path, name: str, target: Target, opt: str, sections: Sequence[str]) -> toolchain.FlashSize | None:
    if target.is_host:
        return None
    try:
        toolchain.find_cross()
    except ToolError:
        return None
    return toolchain.flash_size(folder, name, target, opt, sections=sections)


def parameter_bytes(program: Program) -> int:
    """Bytes of the parameter structs that shared functions read: four for each field."""
    uses = Counter(call.function for step in program.steps for call in step.invocations)
    return sum(
        4 * len(call.params)
        for step, call, own in _calls(program)
        if not own or (_is_vector(step.kernel) and uses[call.function] > 1)
    )


def _is_vector(kernel: str) -> bool:
    """Whether a kernel keeps its loops in functions that read the parameters, also where a call has its own copy."""
    return kernel.rpartition("/")[2] in ("dsp", "mve")


def estimate(program: Program) -> int:
    """A rough size of the machine code, within a factor of about two, from the length of the kernels' sources."""
    calls = list(_calls(program))
    specialised = [(step.kernel, step.form) for step, _, own in calls if own]
    shared = {(step.kernel, step.form) for step, _, own in calls if not own}
    return round(
        _SPECIALISED * sum(starmap(_characters, specialised))
        + _SHARED * sum(starmap(_characters, shared))
        + _COMMON * sum(_characters(name, PLAIN) for name in program.templates if name.startswith("common/"))
        + _CALL * len(calls)
    )


def _calls(program: Program) -> Iterator[tuple[Step, Invocation, bool]]:
    """Each call with its step, and whether it has a copy of the kernel to itself."""
    uses = Counter(call.function for step in program.steps for call in step.invocations)
    for step in program.layers:
        for call in step.invocations:
            yield step, call, call.own_copy or uses[call.function] == 1


@cache
def _characters(kernel: str, form: str) -> int:
    """Characters of a kernel's source; where it has a form of weights, with what it imports, and the plain kernel."""
    text = _source(f"{kernel}.c.j2")
    if form != PLAIN:
        text += "".join(map(_source, re.findall(r'import "kernels/(\S+)"', text)))
        plain = f"{kernel.partition('/')[0]}/portable.c.j2"
        text += _source(plain) if (templates() / "kernels" / plain).is_file() else ""
    return len(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))


def _source(name: str) -> str:
    return read_text(templates(), f"kernels/{name}")

# SPDX-License-Identifier: Apache-2.0
"""The machine-readable report of a build. Schema: docs/report-schema.md."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir.program import Program, Step
from tinygen.ir.types import TensorType
from tinygen.passes import Outcome
from tinygen.placement import EVERYTHING_USUAL, Needs, Placement, names, usage
from tinygen.plan.arena import Plan, demand
from tinygen.plan.memory import Buffer
from tinygen.target import Target
from tinygen.version import VERSION

SCHEMA = 1


@dataclass(frozen=True)
class ModelInfo:
    """Where the graph came from: file name without folder, format, SHA-256 of the file."""

    file: str
    format: str
    sha256: str


@dataclass(frozen=True)
class Memory:
    """Bytes that the program needs. `stack` is None where no compiler could tell.

    `code` and `constants` add up to `flash`; `measured` tells whether they were, or are an estimate. `opt` is the
    compiler's optimisation level, `compiler` its name and version.
    """

    arena: int
    stack: int | None
    stack_path: tuple[str, ...]
    stack_assumed: tuple[str, ...]
    code: int
    constants: int
    measured: bool
    opt: str
    compiler: str | None

    @property
    def needs(self) -> Needs:
        """What has to lie somewhere."""
        return Needs(self.code, self.constants, self.arena, self.stack or 0)

    @property
    def ram(self) -> int:
        return self.arena + (self.stack or 0)

    @property
    def flash(self) -> int:
        return self.code + self.constants


def report(
    program: Program,
    plan: Plan,
    memory: Memory,
    target: Target,
    model: ModelInfo,
    outcomes: Sequence[Outcome],
    files: Mapping[str, bytes],
    command: str,
    placement: Placement = EVERYTHING_USUAL,
    waits: Sequence[float] = (),
) -> dict[str, Any]:
    """The report as plain JSON values; `waits` are those of each step (see `tinygen.copies`)."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "tinygen", "version": VERSION},
        "command": command,
        "model": {"name": program.name, "file": model.file, "format": model.format, "sha256": model.sha256},
        "target": {"name": target.name, "core": target.core, "ram": target.ram, "flash": target.flash},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "ram": {
            "total": memory.ram,
            "arena": memory.arena,
            "arena_lower_bound": plan.lower_bound,
            "arena_greedy": plan.greedy,
            "stack": memory.stack,
            "stack_path": list(memory.stack_path),
            "stack_assumed_zero": list(memory.stack_assumed),
        },
        "flash": {
            "total": memory.flash,
            "code": memory.code,
            "constants": memory.constants,
            "measured": memory.measured,
            "optimization": memory.opt,
            "compiler": memory.compiler,
        },
        "macs": program.macs,
        "memories": [vars(one) | {"used": one.used} for one in usage(program, memory.needs, target, placement)],
        "constants": _constants(program, placement),
        "memory": [_span(buffer, program, plan) for buffer in demand(program).buffers],
        "inputs": [_port(i, name, program, plan) for i, name in enumerate(program.inputs)],
        "outputs": [_port(i, name, program, plan) for i, name in enumerate(program.outputs)],
        "layers": [_layer(i, step, program, plan, waits[i] if waits else 0) for i, step in enumerate(program.steps)],
        "passes": [
            {"name": o.name, "done": list(o.done), "declined": list(o.declined),
             "constant_bytes": list(o.constant_bytes), "macs": list(o.macs)}
            for o in outcomes
        ],
    }  # fmt: skip


def _constants(program: Program, placement: Placement) -> list[dict[str, Any]]:
    """The arrays of constants: their names in C and for ``--section``, and where they lie."""
    words = names(program)
    return [
        {"name": c.name, "uses": list(words[c.name]), "bytes": c.bytes, "section": placement.constants.get(c.name)}
        for c in program.constants
    ]


def _span(buffer: Buffer, program: Program, plan: Plan) -> dict[str, Any]:
    """A buffer of the arena: where it lies, and the steps (first and last) between which it holds something."""
    scratch = {made.name for step in program.steps for made in step.scratch}
    return {
        "buffer": buffer.name,
        "kind": "scratch" if buffer.name in scratch else "tensor",
        "offset": plan.offsets[buffer.name],
        "bytes": buffer.bytes,
        "first": buffer.first,
        "last": buffer.last,
    }


def _port(index: int, name: str, program: Program, plan: Plan) -> dict[str, Any]:
    tensor = program.types[name]
    single = tensor.quant is not None and len(tensor.quant.scales) == 1
    return {
        "index": index,
        **_tensor(name, tensor, plan.offsets[program.place(name).name] + program.place(name).offset),
        "rows": program.pushed.rows if program.pushed and name not in program.tensors else None,
        "scale": tensor.q.scale if single else None,
        "zero_point": tensor.q.zero_point if single else None,
    }


def _tensor(name: str, tensor: TensorType, offset: int) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.value,
        "offset": offset,
        "bytes": tensor.bytes,
    }


def _layer(index: int, step: Step, program: Program, plan: Plan, wait: float) -> dict[str, Any]:
    outputs = [_tensor(name, program.types[name], plan.offsets[program.tensors[name]]) for name in step.outputs]
    return {
        "step": index,
        "name": step.name,
        "op": step.op,
        "kernel": step.kernel,
        "form": step.form,
        "output_shape": outputs[0]["shape"],
        "macs": step.macs,
        "constant_bytes": step.constant_bytes,
        "copied_bytes": sum(copy.bytes for copy in step.copies),
        "waits": round(wait),
        "inputs": [program.tensors[name] for name in step.inputs if name in program.tensors],
        "outputs": outputs,
        "together": [{"name": s.name, "op": s.op, "kernel": s.kernel, "form": s.form} for s in step.loop.layers]
        if step.loop
        else [],
    }

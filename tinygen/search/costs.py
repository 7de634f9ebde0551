# SPDX-License-Identifier: Apache-2.0
"""What a candidate costs: constants and arena exactly, code and stack by the compiler, once for every kind of program.

Programs that call the same kernels in the same way differ in their code by a few bytes. So a candidate's code is what
the linker said of the first program of its kind, and `exact` asks the linker again.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tinygen.emit.render import emit
from tinygen.errors import TinygenError
from tinygen.files import write_files
from tinygen.ir.graph import Graph
from tinygen.ir.program import Program, Step
from tinygen.layout import laid_out
from tinygen.measure import measure, weight_bytes
from tinygen.passes.base import random_inputs
from tinygen.plan.arena import Plan
from tinygen.quantize import with_float_ports
from tinygen.report import Memory, ModelInfo, report
from tinygen.search.base import Cost, Problem
from tinygen.selection import select
from tinygen.verify.build_dir import read_build
from tinygen.verify.profile import profile_on

#: What the instructions and the code of a step depend on, beside values of weights.
Kind = tuple[object, ...]


@dataclass
class Costs:
    """The costs of a problem's candidates; remembers what compiler and emulator said.

    `pace`: instructions as they are counted, for each one that kernels are said to take: those of the first program.
    """

    problem: Problem
    code: dict[Kind, tuple[int, int]] = field(default_factory=dict)
    counted: dict[Kind, int] = field(default_factory=dict)
    pace: float = 1.0

    def of(self, graph: Graph) -> Cost:
        """The cost of `graph`, with the code and the stack of programs of its kind."""
        _, program, layout = self._program(graph)
        kind = _code(program)
        if kind not in self.code:
            memory = self._memory(program, layout)
            self.code[kind] = (memory.flash - program.constant_bytes, memory.stack or 0)
        code, stack = self.code[kind]
        return self._cost(graph, program, program.constant_bytes + code, layout.bytes + stack)

    def exact(self, graph: Graph, count: bool = False) -> Cost:
        """The cost of `graph` by the linker; `count` instructions under the emulator, if there is one."""
        whole, program, layout = self._program(graph)
        memory = self._memory(program, layout)
        self.code[_code(program)] = (memory.flash - program.constant_bytes, memory.stack or 0)
        if count:
            with suppress(TinygenError):  # no emulator, or none for this target: the estimate stands
                first = not self.counted
                self._count(whole, program, layout, memory)
                if first:
                    self.pace = sum(self.counted[_work(step)] for step in program.steps) / self._estimated(graph)
        return self._cost(graph, program, memory.flash, memory.ram)

    def _cost(self, graph: Graph, program: Program, flash: int, ram: int) -> Cost:
        known = [self.counted.get(_work(step)) for step in program.steps]
        counts = [count for count in known if count is not None]
        counted = len(counts) == len(known)
        instructions = sum(counts) if counted else self._estimated(graph)
        return Cost(flash, ram, instructions, program.constant_bytes, weight_bytes(program), counted)

    def _estimated(self, graph: Graph) -> int:
        """The instructions that the kernels are said to take, at the pace of what was counted."""
        choices = select(graph, self.problem.target, self.problem.optimize).values()
        return max(round(self.pace * sum(choice.work for choice in choices)), 1)

    def _program(self, graph: Graph) -> tuple[Graph, Program, Plan]:
        whole = with_float_ports(graph) if self.problem.float_io else graph
        return laid_out(replace(whole, name="m"), self.problem.target, self.problem.optimize)

    def _memory(self, program: Program, layout: Plan) -> Memory:
        return measure(_sources(program, layout), program, layout, self.problem.target, self.problem.optimize)

    def _count(self, graph: Graph, program: Program, layout: Plan, memory: Memory) -> None:
        """Run `program` once under the emulator, and remember what its steps took."""
        sources, target = _sources(program, layout), self.problem.target
        told = report(program, layout, memory, target, ModelInfo("m", "graph", ""), (), sources, "")
        with tempfile.TemporaryDirectory(prefix="tinygen-") as temporary:
            folder = write_files(Path(temporary), {**sources, "report.json": json.dumps(told).encode()})
            layers = profile_on(read_build(folder), random_inputs(graph, 0), target).layers
        self.counted |= {_work(step): layer.instructions for step, layer in zip(program.steps, layers, strict=True)}


def _sources(program: Program, layout: Plan) -> dict[str, bytes]:
    return {name: text.encode() for name, text in emit(program, layout, ()).items()}


def _code(program: Program) -> Kind:
    """What the code of `program` depends on: its kernels, and which calls have them to themselves."""
    return tuple((step.kernel, tuple(call.own_copy for call in step.invocations)) for step in program.steps)


def _work(step: Step) -> Kind:
    """What the instructions of `step` depend on: its calls, with all but the values of their arrays."""
    calls = (
        (call.function, call.own_copy, tuple((k, v) for k, v in call.params.items() if not isinstance(v, str)))
        for call in step.invocations
    )
    return (step.kernel, *calls)

"""Graph + target → Program: picks a kernel for each node, packs constants, names memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.ir.graph import ABSENT, Graph, Node
from tinygen.ir.program import Buffer, Constant, Invocation, Operand, Program, Step
from tinygen.ir.types import Array
from tinygen.kernels import Kernel, Launch, kernels_for
from tinygen.ops import call_of, check_node, op_of
from tinygen.ops.base import Call
from tinygen.selection import Choice, Optimize, select
from tinygen.target import Target

__all__ = ["Optimize", "lower"]

#: Under `balanced`, a node with more than this share of the program's instructions gets its own copy of the kernel.
WORTH_A_COPY = 0.02


def lower(graph: Graph, target: Target, optimize: Optimize = "balanced") -> Program:
    """Choose kernels for `target` and lay out what runs. Raises `UnsupportedError` for a node no kernel accepts."""
    return _Lowering(graph, target, optimize).program()


@dataclass
class _Lowering:
    """The state of one lowering: constants shared by content, buffers shared by views."""

    graph: Graph
    target: Target
    optimize: Optimize
    constants: dict[tuple[str, bytes], Constant] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    templates: dict[str, None] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    total_work: float = 0.0

    def program(self) -> Program:
        for name in self.graph.inputs:
            self._allocate(name)
        for node in self.graph.nodes:
            check_node(self.graph, node)
        self.choices = select(self.graph, self.target, self.optimize)
        self.total_work = sum(choice.work for choice in self.choices.values())
        steps = [step for node in self.graph.nodes for step in self._node(node)]
        steps += [step for name in self.graph.outputs for step in self._constant_output(name)]
        return Program(
            name=self.graph.name,
            inputs=self.graph.inputs,
            outputs=self.graph.outputs,
            types={name: self.graph.types[name] for name in self.tensors},
            tensors=self.tensors,
            buffers=tuple(self.buffers.values()),
            steps=tuple(steps),
            constants=tuple(self.constants.values()),
            templates=tuple(self.templates),
        )

    def _allocate(self, tensor: str) -> str:
        buffer = Buffer(tensor, self.graph.types[tensor].bytes)
        self.tensors[tensor] = buffer.name
        self.buffers[buffer.name] = buffer
        return buffer.name

    def _node(self, node: Node) -> Iterator[Step]:
        choice = self.choices.get(node.outputs[0])
        if choice is None:
            self.tensors[node.outputs[0]] = self.tensors[node.inputs[0]]
            return
        for output in node.outputs:
            self._allocate(output)
        yield self._step(node, choice, choice.work)

    def _constant_output(self, tensor: str) -> Iterator[Step]:
        """A graph output whose value is known at build time is copied from flash."""
        if tensor in self.tensors or tensor not in self.graph.constants:
            return
        self._allocate(tensor)
        node = Node(tensor, "COPY", (tensor,), (tensor,))
        yield self._step(node, Choice(kernels_for("COPY")[0], call_of(self.graph, node)), 0)

    def _step(self, node: Node, choice: Choice, work: float) -> Step:
        call, kernel = choice.call, choice.kernel
        for template in (*kernel.uses, kernel.template):
            self.templates[template] = None
        macs = 0 if node.op == "COPY" else op_of(node).macs(call)
        before = set(self.constants)
        own_copy = self._deserves_copy(work)
        scratch: list[Buffer] = []
        calls = tuple(self._invoke(node, kernel, launch, own_copy, scratch) for launch in choice.launches)
        return Step(
            name=node.name,
            op=node.op,
            kernel=kernel.template,
            form=kernel.form,
            inputs=tuple(n for n in node.inputs if n),
            outputs=node.outputs,
            invocations=calls,
            reads=tuple(dict.fromkeys(o.name for c in calls for o in c.reads if not o.constant)),
            writes=tuple(dict.fromkeys(self.tensors[n] for n in node.outputs)),
            scratch=tuple(scratch),
            overlays=self._overlays(node, call, kernel),
            macs=macs,
            constant_bytes=sum(c.bytes for key, c in self.constants.items() if key not in before),
        )

    def _deserves_copy(self, work: float) -> bool:
        if self.optimize == "speed":
            return True
        return self.optimize == "balanced" and work > WORTH_A_COPY * self.total_work

    def _overlays(self, node: Node, call: Call[Any], kernel: Kernel) -> tuple[str, ...]:
        names = [node.inputs[i] for i in kernel.in_place(call)]
        return tuple(dict.fromkeys(self.tensors[n] for n in names if n in self.tensors))

    def _invoke(self, node: Node, kernel: Kernel, launch: Launch, own_copy: bool, scratch: list[Buffer]) -> Invocation:
        if launch.scratch:
            scratch.append(Buffer(self._scratch_name(node, len(scratch)), launch.scratch))
        return Invocation(
            function=kernel.function,
            params={k: self._constant(v) if isinstance(v, np.ndarray) else v for k, v in launch.params.items()},
            reads=tuple(self._read(node.inputs[i]) for i in launch.reads),
            writes=tuple(self._place(node.outputs[i]) for i in launch.writes),
            scratch=scratch[-1].name if launch.scratch else None,
            own_copy=own_copy,
        )

    def _scratch_name(self, node: Node, number: int) -> str:
        """A name that no tensor has."""
        name = f"{node.outputs[0]}:scratch{number}"
        while name in self.graph.types:
            name += "'"
        return name

    def _read(self, tensor: str) -> Operand:
        assert tensor != ABSENT, "kernels read only inputs that are given"
        if tensor not in self.graph.constants:
            return self._place(tensor)
        return Operand(self._constant(self.graph.constants[tensor].ravel()), self.graph.types[tensor], constant=True)

    def _place(self, tensor: str) -> Operand:
        return Operand(self.tensors[tensor], self.graph.types[tensor])

    def _constant(self, values: Array) -> str:
        """The name of the array with these values, shared with every other use of the same bytes."""
        key = (values.dtype.name, values.tobytes())
        if key not in self.constants:
            self.constants[key] = Constant(f"c{len(self.constants)}", values)
        return self.constants[key].name

# SPDX-License-Identifier: Apache-2.0
"""Graph + target → Program: picks a kernel for each node, packs constants, names memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.ir.graph import ABSENT, Graph, Node
from tinygen.ir.program import Action, Buffer, Constant, Invocation, Loop, Operand, Overlay, Program, Step
from tinygen.ir.program import Shift as Move
from tinygen.ir.types import Array, DType, TensorType
from tinygen.kernels import Kernel, Launch, kernels_for
from tinygen.kernels.base import NARROW, PLAIN
from tinygen.narrow import narrowed
from tinygen.ops import call_of, check_node, op_of
from tinygen.overlays import joins, overlays
from tinygen.room import runs
from tinygen.selection import Choice, Optimize, select
from tinygen.stripes.parts import Layer
from tinygen.stripes.schedule import Fire, Place, Row, Shift
from tinygen.stripes.segment import STATE, Segment, most
from tinygen.target import Target

__all__ = ["Optimize", "lower"]

#: A node with more than this share of the program's instructions gets its own copy of the kernel.
WORTH_A_COPY = {"speed": 0.005, "balanced": 0.02, "ram": 0.02}


def lower(
    graph: Graph,
    target: Target,
    optimize: Optimize = "balanced",
    segments: Sequence[Segment] = (),
    choices: Mapping[str, Choice] | None = None,
) -> Program:
    """Choose kernels for `target` and lay out what runs. Raises `UnsupportedError` for a node no kernel accepts.

    The layers of each of `segments`, which stand one after the other in `graph`, run together as one step. `choices`
    are the kernels of the others (by default, those that `select` gives). Biases take fewer bits where they fit them,
    if the graph asks for that, or flash counts most.
    """
    program = _Lowering(graph, target, optimize, tuple(segments), choices or {}).program()
    return narrowed(program) if optimize == "size" or NARROW in graph.storage.values() else program


@dataclass
class _Lowering:
    """The state of one lowering: constants shared by content, buffers shared by views."""

    graph: Graph
    target: Target
    optimize: Optimize
    segments: tuple[Segment, ...] = ()
    given: Mapping[str, Choice] = field(default_factory=dict)
    constants: dict[tuple[str, bytes], Constant] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    templates: dict[str, None] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    total_work: float = 0.0

    def program(self) -> Program:
        pushed = {name for s in self.segments if s.chain.pushed for name in s.chain.sources}
        for name in self.graph.inputs:
            if name not in pushed:
                self._allocate(name)
        for node in self.graph.nodes:
            check_node(self.graph, node)
        given = all(not runs(self.graph, node) or node.outputs[0] in self.given for node in self.graph.nodes)
        self.choices = ({} if given else select(self.graph, self.target, self.optimize)) | dict(self.given)
        self.total_work = sum(choice.work for choice in self.choices.values())
        steps = [step for node in self.graph.nodes for step in self._node_or_segment(node)]
        steps += [step for name in self.graph.outputs for step in self._constant_output(name)]
        return Program(
            name=self.graph.name,
            inputs=self.graph.inputs,
            outputs=self.graph.outputs,
            types={name: self.graph.types[name] for name in (*self.graph.inputs, *self.tensors)},
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

    def _node_or_segment(self, node: Node) -> Iterator[Step]:
        inside = next((s for s in self.segments for layer in s.chain.layers if layer.node is node), None)
        if inside is None:
            yield from self._node(node)
        elif inside.chain.layers[0].node is node:
            self._allocate(inside.chain.target)
            yield _Together(self, inside).step()

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
        own_copy = self.deserves_copy(work)
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
            overlays=overlays(node, choice, self.tensors),
            joins=joins(node, choice, self.tensors),
            macs=macs,
            constant_bytes=sum(c.bytes for key, c in self.constants.items() if key not in before),
        )

    def deserves_copy(self, work: float) -> bool:
        return self.optimize in WORTH_A_COPY and work > WORTH_A_COPY[self.optimize] * self.total_work

    def _invoke(self, node: Node, kernel: Kernel, launch: Launch, own_copy: bool, scratch: list[Buffer]) -> Invocation:
        if launch.scratch:
            scratch.append(Buffer(self.scratch_name(node, len(scratch)), launch.scratch))
        return Invocation(
            function=kernel.function,
            params=self.params(launch),
            reads=tuple(self.read(node.inputs[i]) for i in launch.reads),
            writes=tuple(self.place(node.outputs[i]) for i in launch.writes),
            scratch=scratch[-1].name if launch.scratch else None,
            own_copy=own_copy,
        )

    def params(self, launch: Launch) -> dict[str, int | float | str]:
        """The parameters of a call, with names in the place of arrays."""
        return {k: self._constant(v) if isinstance(v, np.ndarray) else v for k, v in launch.params.items()}

    def scratch_name(self, node: Node, number: int) -> str:
        """A name that no tensor has."""
        name = f"{node.outputs[0]}:scratch{number}"
        while name in self.graph.types:
            name += "'"
        return name

    def read(self, tensor: str) -> Operand:
        assert tensor != ABSENT, "kernels read only inputs that are given"
        if tensor not in self.graph.constants:
            return self.place(tensor)
        return Operand(self._constant(self.graph.constants[tensor].ravel()), self.graph.types[tensor], constant=True)

    def place(self, tensor: str) -> Operand:
        return Operand(self.tensors[tensor], self.graph.types[tensor])

    def _constant(self, values: Array) -> str:
        """The name of the array with these values, shared with every other use of the same bytes."""
        key = (values.dtype.name, values.tobytes())
        if key not in self.constants:
            self.constants[key] = Constant(f"c{len(self.constants)}", values)
        return self.constants[key].name


@dataclass
class _Together:
    """The lowering of a segment: one step that runs its layers a few rows at a time."""

    lowering: _Lowering
    segment: Segment
    calls: dict[int, list[Invocation]] = field(default_factory=dict)
    fresh: dict[int, int] = field(default_factory=dict)

    def step(self) -> Step:
        lowering, segment = self.lowering, self.segment
        chain, schedule = segment.chain, segment.flow.schedule
        self.memory = lowering.scratch_name(chain.layers[-1].node, 0)
        actions = tuple(self._action(action) for action in schedule.actions)
        layers = tuple(self._layer(number) for number in range(len(chain.layers)))
        target = lowering.tensors[chain.target]
        cursors = tuple(lowering.place(name) for name in schedule.cursors)
        last, distances = chain.layers[-1].node, segment.flow.distances
        reads = dict[str, int]()  # buffer → how many bytes after it the output may begin
        for name in chain.whole:
            reads[lowering.tensors[name]] = min(reads.get(lowering.tensors[name], 0), -distances[name])
        return Step(
            name=last.name,
            op="ROWS",
            kernel="rows",
            form=PLAIN,
            inputs=chain.sources,
            outputs=(chain.target,),
            invocations=tuple(call for action in actions for call in action.calls),
            reads=tuple(reads),
            writes=(target,),
            scratch=(Buffer(self.memory, segment.bytes),) if segment.bytes else (),
            overlays=tuple(Overlay(source, below) for source, below in reads.items()),
            joins=(),
            macs=sum(layer.macs for layer in layers),
            constant_bytes=sum(layer.constant_bytes for layer in layers),
            loop=Loop(
                actions, schedule.order, cursors, layers, self._state(), chain.pushed * chain.heights[chain.sources[0]]
            ),
        )

    def _state(self) -> Operand | None:
        chain, words = self.segment.chain, len(self.segment.flow.schedule.cursors) + 1
        t = TensorType((words,), DType.INT32)
        return Operand(self.memory, t, offset=self.segment.offsets[STATE]) if chain.pushed else None

    def _action(self, action: Shift | Fire | Row) -> Action:
        if isinstance(action, Row):
            return Action(awaits=self._operand(action.write, self.segment.chain.sources[0]))
        if isinstance(action, Shift):
            at = self.segment.offsets[action.window]
            if not (at + action.source) % 4 and not (at + action.target) % 4 and not action.bytes % 4:
                self.lowering.templates["common/move"] = None
            return Action(shift=Move(self.memory, at + action.target, at + action.source, action.bytes))
        return Action(calls=self._fire(action), advances=tuple(step for step in action.steps if step[1]))

    def _fire(self, fire: Fire) -> tuple[Invocation, ...]:
        lowering, number = self.lowering, fire.layer
        layer, kernel = self.segment.chain.layers[number], self.segment.kernels[number]
        before = set(lowering.constants)
        choice = self.segment.choices(number)[fire.kind]
        own = lowering.deserves_copy(self.segment.works[number]) and fire.kind == most(layer)
        calls = tuple(
            Invocation(
                function=kernel.function,
                params=lowering.params(launch),
                reads=tuple(self._read(layer, fire, i) for i in launch.reads),
                writes=tuple(self._operand(fire.write, layer.output) for _ in launch.writes),
                scratch=self.memory if launch.scratch else None,
                scratch_offset=self.segment.offsets[f":{number}"] if launch.scratch else 0,
                own_copy=own,
            )
            for launch in choice.launches
        )
        self.calls.setdefault(number, []).extend(calls)
        fresh = sum(c.bytes for key, c in lowering.constants.items() if key not in before)
        self.fresh[number] = self.fresh.get(number, 0) + fresh
        return calls

    def _read(self, layer: Layer, fire: Fire, index: int) -> Operand:
        if index not in layer.indices:
            return self.lowering.read(layer.node.inputs[index])
        place = layer.indices.index(index)
        return self._operand(fire.reads[place], layer.maps[place])

    def _operand(self, place: Place, name: str) -> Operand:
        t = self.lowering.graph.types[name]
        if place.cursor is not None:
            return Operand(name, t, cursor=place.cursor)
        return Operand(self.memory, t, offset=self.segment.offsets[place.window] + place.offset)

    def _layer(self, number: int) -> Step:
        layer, kernel = self.segment.chain.layers[number], self.segment.kernels[number]
        for template in (*kernel.uses, kernel.template):
            self.lowering.templates[template] = None
        return Step(
            name=layer.node.name,
            op=layer.node.op,
            kernel=kernel.template,
            form=kernel.form,
            inputs=tuple(n for n in layer.node.inputs if n),
            outputs=layer.node.outputs,
            invocations=tuple(self.calls[number]),
            reads=(),
            writes=(),
            scratch=(),
            overlays=(),
            joins=(),
            macs=op_of(layer.node).macs(layer.call),
            constant_bytes=self.fresh[number],
        )

# SPDX-License-Identifier: Apache-2.0
"""Layers that run together, run on names of bytes: a second opinion on which rows are where and when.

Which rows of its inputs a layer's row depends on is found by trying: the operator's reference tells which outputs
change where an input row does. What a call reads must be there before and after it writes; what it has as scratch
memory is garbage afterwards, but for sums that a later call of the same layer goes on with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tinygen.ir.program import Invocation, Operand, Program, Step
from tinygen.ir.types import Array
from tinygen.kernels import Launch
from tinygen.ops import op_of
from tinygen.plan.arena import Plan
from tinygen.stripes.parts import Layer, Part
from tinygen.stripes.schedule import Fire
from tinygen.stripes.segment import Segment


def needs(layer: Layer) -> list[list[set[int]]]:
    """For each row of the output (one if the layer gathers), the rows of each map on which it depends."""
    rng, call = np.random.default_rng(0), layer.call
    rows = layer.rows[0]

    def run(values: Mapping[int, Array]) -> Array:
        inputs = [values.get(i, constant) for i, constant in enumerate(call.constants)]
        return op_of(layer.node).reference(call, inputs)[0].reshape(rows, -1)

    found: list[list[set[int]]] = [[set() for _ in layer.indices] for _ in range(rows)]
    for _ in range(2):
        values = {i: rng.integers(-128, 128, call.input(i).shape) for i in layer.indices}
        before = run(values)
        for number, i in enumerate(layer.indices):
            for row in range(call.input(i).shape[1]):
                other = values[i].copy()
                other[:, row] = rng.integers(-128, 128, other[:, row].shape)
                for changed in np.flatnonzero((run({**values, i: other}) != before).any(axis=1)):
                    found[changed][number].add(row)
    return found


@dataclass
class Together:
    """One step of `program` that runs `segment`; `held` has the names of the bytes of whole buffers."""

    program: Program
    step: Step
    segment: Segment
    plan: Plan
    arena: Array
    held: dict[str, Array]
    fresh: Iterator[int]
    rows: dict[str, list[Array]] = field(default_factory=dict)

    def run(self) -> None:
        """Do all that the loop does; afterwards the target's names are those which its rows were given."""
        loop, chain = self.step.loop, self.segment.chain
        assert loop is not None
        for name in chain.heights:
            whole = self.program.tensors.get(name) if name in chain.whole else None
            names = self.held[whole] if whole is not None else self._names(chain.heights[name] * chain.rows[name])
            self.rows[name] = np.split(names, chain.heights[name])
        self.known = dict.fromkeys(chain.heights, 0) | {name: chain.heights[name] for name in chain.whole}
        self.needs = [needs(layer) for layer in chain.layers]
        self.ran = [0] * len(chain.layers)
        self.cursors = [self._address(cursor) for cursor in loop.cursors]
        self.sums: dict[int, tuple[slice, Array]] = {}
        state = slice(0, 0) if loop.state is None else self._slice(self._address(loop.state), loop.state.type.bytes)
        self.arena[state] = kept = self._names(state.stop - state.start)
        for number in loop.order:
            action = loop.actions[number]
            if action.shift is not None:
                base, size = self.plan.offsets[action.shift.buffer], action.shift.bytes
                moved = self.arena[self._slice(base + action.shift.source, size)].copy()
                self.arena[self._slice(base + action.shift.target, size)] = moved
            elif action.awaits is not None:
                assert (self.arena[state] == kept).all(), "the state of the loop does not last"
                self._write(chain.sources[0], 1, self._address(action.awaits))
            else:
                fire = self.segment.flow.schedule.actions[number]
                assert isinstance(fire, Fire)
                self._fire(fire.layer, action.calls)
                for cursor, bytes_ in action.advances:
                    self.cursors[cursor] += bytes_
        assert all(self.known[name] == chain.heights[name] for name in (*chain.sources, chain.target)), (
            "rows are missing"
        )
        self.held[self.program.tensors[chain.target]] = np.concatenate(self.rows[chain.target])

    def _fire(self, number: int, calls: tuple[Invocation, ...]) -> None:
        """The next part of layer `number`."""
        layer = self.segment.chain.layers[number]
        part = layer.parts[self.ran[number]]
        self.ran[number] += 1
        if layer.gathers:
            assert part.spans[0][0] == (layer.parts[self.ran[number] - 2].spans[0][1] if self.ran[number] > 1 else 0)
        else:
            self._check_needs(number, layer, part)
        if number in self.sums:
            where, names = self.sums[number]
            assert (self.arena[where] == names).all(), f"sums of '{layer.output}' are lost"
        launched = list(zip(calls, self.segment.choices(number)[part.kind].launches, strict=True))
        for call, launch in launched:
            self._read(layer, part, call, launch)
            if call.scratch is not None:
                where = self._slice(self.plan.offsets[call.scratch] + call.scratch_offset, launch.scratch)
                self.arena[where] = self._names(launch.scratch)
                self.sums |= {number: (where, self.arena[where].copy())} if layer.gathers else {}
            self._read(layer, part, call, launch)
        self._write(layer.output, part.made, self._address(calls[0].writes[0]))
        for call, launch in launched if not layer.over else ():
            self._read(layer, part, call, launch)

    def _check_needs(self, number: int, layer: Layer, part: Part) -> None:
        """Every row on which the part's rows depend is among those that it reads."""
        first = self.known[layer.output]
        for row in range(first, first + part.made):
            for wanted, (top, bottom) in zip(self.needs[number][row], part.spans, strict=True):
                assert wanted <= set(range(top, bottom)), f"row {row} of '{layer.output}' needs other rows"

    def _read(self, layer: Layer, part: Part, call: Invocation, launch: Launch) -> None:
        """What the call reads lies where it reads it."""
        for index, operand in zip(launch.reads, call.reads, strict=True):
            if index not in layer.indices:
                continue
            name, (top, bottom) = layer.maps[layer.indices.index(index)], part.spans[layer.indices.index(index)]
            for number, names in enumerate(self.rows[name][top:bottom]):
                there = self.arena[self._slice(self._address(operand) + number * len(names), len(names))]
                assert (there == names).all(), f"'{layer.output}' reads row {top + number} of '{name}', which is lost"

    def _write(self, name: str, made: int, at: int) -> None:
        for row in self.rows[name][self.known[name] : self.known[name] + made]:
            self.arena[self._slice(at, len(row))] = row
            at += len(row)
        self.known[name] += made

    def _names(self, count: int) -> Array:
        begin = next(self.fresh) << 32
        return begin + np.arange(count, dtype=np.int64)

    def _address(self, operand: Operand) -> int:
        if operand.cursor is not None:
            return self.cursors[operand.cursor]
        return self.plan.offsets[operand.name] + operand.offset

    def _slice(self, at: int, size: int) -> slice:
        assert at >= 0 and at + size <= len(self.arena), "outside the arena"
        return slice(at, at + size)
